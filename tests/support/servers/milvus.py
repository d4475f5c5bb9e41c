"""A Milvus 2.3 server, started from the package ``milvus``, which holds its binary."""

import importlib.util
import os
import signal
import subprocess
from pathlib import Path

from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from modelcache.testing.waiting import wait_until
from tests.support.servers import ServerAbsentError, free_port, freeze

# It seldom ends by itself; what was written is in its log by then, as after a power cut.
STOP_SECONDS = 3.0
PORTS = (
    *("etcd", "root_coord", "proxy", "proxy_internal", "query_coord"),
    *("query_node", "index_coord", "index_node", "data_coord", "data_node"),
)


class MilvusServer:
    """A server in its own folder; ``stop`` and ``start`` keep folder and ports."""

    def __init__(self, folder: Path, **options: object) -> None:
        if importlib.util.find_spec("milvus") is None:
            raise ServerAbsentError("the Python package milvus is not installed")
        self.folder = folder
        self.options = options
        self.ports = {f"{name}_port": free_port() for name in PORTS}
        self.metrics_port, self.peer_port = free_port(), free_port()
        self.uri = f"http://127.0.0.1:{self.ports['proxy_port']}"
        self.process: subprocess.Popen[bytes] | None = None
        self._install()

    def start(self, token: str = "") -> "MilvusServer":
        """Start it and return when it answers."""
        with (self.folder / "stdout.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.folder / "bin" / "milvus", "run", "standalone"],
                cwd=self.folder,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self._answers(token), "the start of Milvus", 120)
        return self

    def stop(self) -> None:
        """Stop it; harmless when it is stopped."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it as a power cut would; ``start`` may follow."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Make it stop answering; the kernel still accepts connections."""
        assert self.process is not None
        freeze(self.process)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _install(self) -> None:
        """Unpack the binary and write the configuration."""
        from milvus import MilvusServerConfig, _initialize_data_files

        config = MilvusServerConfig(data_dir=str(self.folder), **self.ports)
        # The nodes of a killed server count as alive this long: what a restart waits for.
        for name, value in {"common.session.ttl": 5, **self.options}.items():
            config.set(name, value)
        config.resolve()
        _initialize_data_files(str(self.folder))
        # The embedded etcd listens on a fixed second port unless it has a configuration of its own.
        peer, etcd = (f"http://127.0.0.1:{port}" for port in (self.peer_port, self.ports["etcd_port"]))
        etcd_file = self.folder / "configs" / "etcd.yaml"
        etcd_file.write_text(
            f"name: default\nlisten-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\n"
            f"listen-client-urls: {etcd}\nadvertise-client-urls: {etcd}\n"
            f"initial-cluster: default={peer}\n"
        )
        written = self.folder / "configs" / "milvus.yaml"
        text = written.read_text(encoding="utf-8")
        text = text.replace("    embed: true", f"    embed: true\n  config:\n    path: {etcd_file}", 1)
        written.write_text(text, encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self.metrics_port),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "LD_LIBRARY_PATH": str(self.folder / "bin"),
        }

    def _answers(self, token: str) -> bool:
        """Tell whether it serves requests; fails if the process has ended."""
        assert self.process is not None
        ended = self.process.poll()
        assert ended is None, f"Milvus ended with {ended}; see {self.folder / 'stdout.log'}"
        try:
            client = MilvusClient(self.uri, token=token, timeout=2, dedicated=True)
            client.list_collections(timeout=2)
        except MilvusException:
            return False
        client.close()
        return True
