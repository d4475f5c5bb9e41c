"""Database servers of the benchmark's own, as the tests start them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.support.servers.redis import RedisServer
from tests.support.store_servers import StoreServers


@contextmanager
def database_servers(folder: Path) -> Iterator[StoreServers]:
    """Give servers that start when they are first wanted, and stop at the end of the block."""
    home = Path(mkdtemp(prefix="servers-", dir=folder))
    servers = StoreServers(home)
    try:
        yield servers
    finally:
        servers.stop()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Give the address of a Redis with the search module."""
    home = folder / "redis"
    home.mkdir()
    server = RedisServer(home)
    try:
        yield server.url
    finally:
        server.stop()
