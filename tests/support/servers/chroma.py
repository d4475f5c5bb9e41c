"""A Chroma server, from the package that the client is in."""

import subprocess
import sys
from pathlib import Path

import httpx

from modelcache.testing.waiting import wait_until
from tests.support.servers import ServerAbsentError, free_port, freeze


class ChromaServer:
    """A server in a folder of its own; it can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start the process and return when it answers."""
        program = Path(sys.executable).parent / "chroma"
        if not program.exists():
            raise ServerAbsentError("the package chromadb is not installed")
        command = [str(program), "run", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--path", str(self.folder)]
        with (self.folder / "chroma.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        try:
            wait_until(self.answers, "Chroma answering")
        except BaseException:
            self.stop()
            raise

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "chroma.log").read_text()
        try:
            return httpx.get(f"{self.url}/api/v2/heartbeat", timeout=5).is_success
        except httpx.TransportError:
            return False

    def freeze(self) -> None:
        """Make the server stop answering, with its connections open."""
        freeze(self.process)

    def stop(self) -> None:
        """End the process, frozen or not; harmless when repeated."""
        self.process.kill()
        self.process.wait()
