"""The database servers that the whole service is tested on, each started when it is first wanted."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import SecretStr

from tests.support.servers import start_or_skip

if TYPE_CHECKING:
    from tests.support.servers.mariadb import MariaDB
    from tests.support.servers.milvus import MilvusServer
    from tests.support.servers.mysql_protocol import MySQLProtocolServer
    from tests.support.servers.redis import RedisServer


class Stoppable(Protocol):
    def stop(self) -> None: ...


Started = TypeVar("Started", bound=Stoppable)
# Milvus keeps a write waiting for the one before: under a loaded machine longer than the default.
PATIENT_SECONDS = 20.0


class StoreServers:
    """Gives the settings of a store, by name, for a fresh database or a server of this session."""

    def __init__(self, folder: Path, **milvus_options: object) -> None:
        self.folder = folder
        self._milvus_options = milvus_options
        self._running: dict[str, Any] = {}

    def settings(self, scalar_store: str, vector_store: str) -> dict[str, Any]:
        """Return the settings of a service on this pair of stores; rows are in a new database."""
        chosen: dict[str, Any] = {
            "scalar_store": scalar_store,
            "vector_store": vector_store,
            "store_timeout": PATIENT_SECONDS,
        }
        if scalar_store == "mysql":
            chosen |= self._database(self.mariadb())
        elif scalar_store == "oceanbase":
            chosen |= self._database(self._server("OceanBase", _class("seekdb", "SeekDB")))
        if vector_store == "milvus":
            chosen["milvus_uri"] = self.milvus().uri
        elif vector_store == "redis":
            chosen["redis_url"] = self.redis().url
        elif vector_store == "chroma over HTTP":
            chosen |= {
                "vector_store": "chroma",
                "chroma_url": self._server("Chroma", _class("chroma", "ChromaServer")).url,
            }
        return chosen

    def mariadb(self) -> "MariaDB":
        server: MariaDB = self._server("MariaDB", _class("mariadb", "MariaDB"))
        return server

    def milvus(self) -> "MilvusServer":
        start = _class("milvus", "MilvusServer")
        server: MilvusServer = self._server(
            "Milvus", lambda path: start(path, **self._milvus_options).start()
        )
        return server

    def redis(self) -> "RedisServer":
        server: RedisServer = self._server("Redis", _class("redis", "RedisServer"))
        return server

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()

    def _server(self, name: str, start: Callable[[Path], Started]) -> Started:
        if name not in self._running:
            folder = self.folder / name.lower()
            folder.mkdir(exist_ok=True)
            self._running[name] = start_or_skip(name, start, folder)
        server: Started = self._running[name]
        return server

    def _database(self, server: "MySQLProtocolServer") -> dict[str, Any]:
        address = server.address(server.new_database())
        return {
            "mysql_host": address.host,
            "mysql_port": address.port,
            "mysql_user": address.user,
            "mysql_password": address.password.get_secret_value(),
            "mysql_database": address.database,
        }


def _class(module: str, name: str) -> Any:
    """Return a server's class; its packages are imported when it is first wanted."""
    return getattr(import_module(f"tests.support.servers.{module}"), name)


def as_environment(settings: dict[str, Any]) -> dict[str, str]:
    """Return the settings as the environment variables of a process."""
    return {
        f"MODELCACHE_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings.items()
    }
