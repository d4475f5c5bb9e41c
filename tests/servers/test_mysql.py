"""The scalar contract on a real MariaDB, and what is special about it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from modelcache.app import create_app, get_service
from modelcache.errors import ConfigError
from modelcache.manager.factory import get_scalar_store
from modelcache.manager.scalar_data.mysql import MySQLStorage
from modelcache.settings import load_settings, make_settings
from modelcache.testing.hash_embedder import HashEmbedder
from modelcache.testing.rows import NOW, answer, put
from modelcache.testing.waiting import wait_until
from tests.contracts.mysql_store import MODEL, MySQLStoreContract
from tests.support.client import CacheClient
from tests.support.servers import start_or_skip
from tests.support.servers.mariadb import MariaDB

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    server = start_or_skip("MariaDB", MariaDB, tmp_path_factory.mktemp("mariadb"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def database(server: MariaDB) -> str:
    return server.new_database()


class TestMariaDB(MySQLStoreContract):
    store_class = MySQLStorage

    def test_a_deadlock_is_tried_again(
        self, store: MySQLStorage, server: MariaDB, database: str, failures: list[int]
    ) -> None:
        ids = put(store, *(answer(f"q{n}") for n in range(100)))
        change = "UPDATE modelcache_llm_answer SET hit_count = 9 WHERE id"
        waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        with ThreadPoolExecutor(1) as pool, server.connect(database) as rival:
            rival.begin()
            with rival.cursor() as cursor:
                cursor.execute(f"{change} > %s", (ids[0],))
                deletion = pool.submit(store.delete, MODEL, ids)
                wait_until(lambda: server.execute(waiting) == [(1,)], "a wait for a lock")
                # The server undoes the transaction that changed less: the store's.
                cursor.execute(f"{change} = %s", (ids[0],))
            rival.commit()
            assert deletion.result() == 100
        assert failures == [1213]

    def test_ids_are_right_where_servers_share_them_out(
        self, server: MariaDB, database: str, make: Callable[..., MySQLStorage]
    ) -> None:
        server.execute("SET GLOBAL auto_increment_increment = 3")
        try:
            store = make(database)
            store.open()
            ids = put(store, *(answer(f"q{n}") for n in range(1000)))
            found = store.get_live(ids, NOW)
            assert [found[id_].question for id_ in ids] == [f"q{n}" for n in range(1000)]
            assert ids[1] - ids[0] == 3
        finally:
            server.execute("SET GLOBAL auto_increment_increment = 1")

    def test_small_packets_get_small_statements(
        self, server: MariaDB, database: str, make: Callable[..., MySQLStorage]
    ) -> None:
        before = server.execute("SELECT @@max_allowed_packet")[0][0]
        server.execute("SET GLOBAL max_allowed_packet = 16384")
        try:
            store = make(database)
            store.open()
            ids = put(store, *(answer(f"q{n}", "'" * 3000) for n in range(100)))
            assert len(store.get_live(ids, NOW)) == 100
        finally:
            server.execute(f"SET GLOBAL max_allowed_packet = {before}")

    def test_what_the_server_does_not_take_is_refused_and_costs_nobody_else(
        self, server: MariaDB, tmp_path: Path
    ) -> None:
        before = server.execute("SELECT @@max_allowed_packet")[0][0]
        server.execute("SET GLOBAL max_allowed_packet = 1048576")
        database = server.new_database()
        address = server.address(database)
        settings = {
            "data_dir": tmp_path,
            "breaker_failures": 3,
            "max_body_bytes": 4_000_000,
            "scalar_store": "mysql",
            "mysql_host": address.host,
            "mysql_port": address.port,
            "mysql_user": address.user,
            "mysql_password": address.password,
            "mysql_database": database,
        }
        app = create_app(settings, embedder=HashEmbedder())
        try:
            client = CacheClient(app.test_client())
            client.insert(("q", "a"), model="another")
            # Each quote takes two bytes in the statement.
            refused = [client.insert((f"q{number}", '"' * 600_000)) for number in range(6)]
            assert {reply["errorCode"] for reply in refused} == {302}
            assert "too large" in refused[0]["errorDesc"]
            assert client.query("q", model="another")["answer"] == "a"
            assert client.insert(("q", '"' * 400_000))["errorCode"] == 0
        finally:
            get_service(app).close()
            server.execute(f"SET GLOBAL max_allowed_packet = {before}")

    def test_tls_verifies_the_server(
        self, server: MariaDB, database: str, make: Callable[..., MySQLStorage]
    ) -> None:
        address = replace(server.address(database), tls=True, tls_ca=server.certificates.authority)
        store = make(address)
        store.open()
        with store.reading() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cursor.fetchone()[1]
        for wrong in (replace(address, tls_ca=None), replace(address, host="localhost")):
            with pytest.raises(ConfigError, match="certificate verify failed"):
                make(wrong).open()
        with pytest.raises(ConfigError, match="cannot read the certificates"):
            make(replace(address, tls_ca=Path("/no/such/file"))).open()

    def test_a_unix_socket_and_a_password_file(self, server: MariaDB, database: str, tmp_path: Path) -> None:
        secret = tmp_path / "password"
        secret.write_text(server.password + "\n")
        [[path]] = server.execute("SELECT CONCAT(@@datadir, @@socket)")
        store = get_scalar_store(
            load_settings(
                "demo",
                {"MODELCACHE_MYSQL_PASSWORD_FILE": str(secret)},
                {
                    "scalar_store": "mysql",
                    "mysql_host": path,
                    "mysql_user": "root",
                    "mysql_database": database,
                },
            )
        )
        store.open()
        store.ping()
        store.close()


def test_an_absent_server_is_refused_in_a_sentence() -> None:
    store = get_scalar_store(
        make_settings({"scalar_store": "mysql", "mysql_port": "1", "mysql_password": "hush-hush"})
    )
    with pytest.raises(ConfigError, match="cannot open the MySQL database modelcache on") as caught:
        store.open()
    assert "hush" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert "\n" not in str(caught.value)
