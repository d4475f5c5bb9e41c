"""The scalar contract on a real OceanBase engine, seekdb."""

from collections.abc import Iterator

import pytest

from modelcache.manager.scalar_data.oceanbase import OceanBaseStorage
from tests.contracts.mysql_store import MySQLStoreContract
from tests.support.servers import start_or_skip
from tests.support.servers.seekdb import SeekDB

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeekDB]:
    server = start_or_skip("seekdb", SeekDB, tmp_path_factory.mktemp("seekdb"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def database(server: SeekDB) -> str:
    return server.new_database()


class TestOceanBase(MySQLStoreContract):
    store_class = OceanBaseStorage
