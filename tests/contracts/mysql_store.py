"""What every scalar store over MySQL's protocol must do besides, each against its real server."""

import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pymysql
import pytest
from pydantic import SecretStr

from modelcache.errors import ConfigError, ScalarStoreError
from modelcache.manager.scalar_data import mysql_schema
from modelcache.manager.scalar_data.base import HitUse, ScalarStore
from modelcache.manager.scalar_data.mysql import MySQLStorage
from modelcache.manager.scalar_data.mysql_connection import MySQLConnection, Server
from modelcache.manager.scalar_data.mysql_schema import SCHEMA_VERSION
from modelcache.manager.scalar_data.sql import Cursor
from modelcache.records.names import model_key
from modelcache.testing.rows import NOW, answer, line, put, seen
from modelcache.testing.scalar_store import ScalarStoreContract
from modelcache.testing.waiting import wait_until
from tests.support.running import ROOT
from tests.support.servers.mysql_protocol import MySQLProtocolServer

TABLES = (
    *("modelcache_llm_answer", "modelcache_answer_tag", "modelcache_query_log", "modelcache_lease"),
    *("modelcache_envelope", "modelcache_answer_source", "modelcache_removal"),
    "modelcache_day_count",
    *("modelcache_observation", "modelcache_lookup", "modelcache_policy", "modelcache_tally"),
)
NEXT_VERSION = SCHEMA_VERSION + 1
STORE_SECONDS = 2.0
GIVE_UP_SECONDS = 60.0
MODEL = model_key("m")

OPEN_STORE = """
import sys
from pydantic import SecretStr
from modelcache.manager.scalar_data.{module} import {name}
from modelcache.manager.scalar_data.mysql_connection import Server
store = {name}(Server("127.0.0.1", int(sys.argv[1]), "root", SecretStr(sys.stdin.read()), sys.argv[2]))
store.open()
store.ping()
store.close()
"""


class MySQLStoreContract(ScalarStoreContract):
    """A test file names the class and provides ``server``, running, and ``database``, shared by its tests."""

    store_class: type[MySQLStorage]

    @pytest.fixture
    def make(self, server: MySQLProtocolServer) -> Iterator[Callable[..., MySQLStorage]]:
        """Make stores, not yet open, that are closed at the end."""
        made: list[MySQLStorage] = []

        def make(address: str | Server, **options: Any) -> MySQLStorage:
            at = server.address(address) if isinstance(address, str) else address
            made.append(self.store_class(at, **{"timeout": STORE_SECONDS} | options))
            return made[-1]

        yield make
        for store in made:
            store.close()

    @pytest.fixture
    def store(
        self, server: MySQLProtocolServer, database: str, make: Callable[..., MySQLStorage]
    ) -> ScalarStore:
        store = make(database)
        store.open()
        for table in TABLES:
            server.execute(f"DELETE FROM {table}", database=database)
        return store

    # Text and bytes.

    def test_four_byte_text_fits_every_column(
        self, store: MySQLStorage, server: MySQLProtocolServer, database: str
    ) -> None:
        text = "𠮷😀" * 64
        new = answer("q", text, text * 2, question=text, embedder=text, tags=(text * 2,))
        [id_] = put(store, new)
        assert (store.models(), store.embedded_ids(new.model_key, text)) == ([text * 2], [id_])
        found = store.get_live([id_], NOW)[id_]
        assert (found.question, found.answer) == (text, text)
        [[tag]] = server.execute("SELECT tag FROM modelcache_answer_tag", database=database)
        assert tag == text * 2
        store.write_log(
            [replace(line(), error_desc=text, model=text, query=text, hit_query=text, answer=text)]
        )
        columns = "error_desc, model, query, hit_query, answer"
        [row] = server.execute(f"SELECT {columns} FROM modelcache_query_log", database=database)
        assert set(row) == {text}

    def test_every_byte_of_a_vector_comes_back(self, store: MySQLStorage) -> None:
        data = bytes(range(256)) * 8
        [id_] = put(store, answer("q", embedding=data))
        assert store.embeddings([id_])[0].embedding == data

    def test_names_that_only_look_alike_stay_apart(self, store: MySQLStorage) -> None:
        accented = "é"
        names = ["a", "A", "a ", " a", "Ａ", "ａ", "ß", "ss", accented, "e", "ı", "i", "a\u200b", "ア", "あ"]
        names.append(unicodedata.normalize("NFD", accented))
        put(store, *(answer("q", name, name, tags=(name,)) for name in names))
        assert sorted(store.models()) == sorted(names)
        assert [store.count(model_key(name)) for name in names] == [1] * len(names)
        put(store, *(answer(f"tag {n}", model="tags", tags=(name,)) for n, name in enumerate(names)))
        assert store.delete_tagged(model_key("tags"), ["a"]) == 1
        assert store.truncate(model_key("a")) == 1
        assert sorted(store.models()) == sorted([*names[1:], "tags"])

    def test_times_are_stored_as_utc_datetimes(
        self, store: MySQLStorage, server: MySQLProtocolServer, database: str
    ) -> None:
        store.write_log([line(at=NOW)])
        shown = "SELECT CAST(gmt_create AS CHAR) FROM modelcache_query_log"
        assert server.execute(shown, database=database) == [("2023-11-14 22:13:20",)]

    # Batches and threads.

    def test_a_batch_of_5000(self, store: MySQLStorage) -> None:
        ids = put(store, *(answer(f"q{n}", f"answer {n}", tags=(f"t{n}",)) for n in range(5000)))
        found = store.get_live(ids, NOW)
        assert [found[id_].question for id_ in ids] == [f"q{n}" for n in range(5000)]
        store.record_hits({id_: HitUse(2, NOW) for id_ in ids})
        assert store.get_live(ids[-1:], NOW)[ids[-1]].hit_count == 2
        assert store.truncate(MODEL) == 5000
        store.purge(ids)
        assert store.dead(model_key("m"), 1) == []

    def test_batches_of_many_threads_keep_their_ids(self, store: MySQLStorage) -> None:
        def write(worker: int) -> dict[int, str]:
            written: dict[int, str] = {}
            for batch in range(5):
                asked = [f"{worker}-{batch}-{n}" for n in range(40)]
                written.update(zip(put(store, *map(answer, asked)), asked, strict=True))
            return written

        with ThreadPoolExecutor(8) as pool:
            expected = {id_: asked for written in pool.map(write, range(8)) for id_, asked in written.items()}
        found = store.get_live(list(expected), NOW)
        assert {id_: row.question for id_, row in found.items()} == expected
        assert len(expected) == 1600

    def test_two_processes_leave_one_live_row_of_a_fingerprint(
        self, store: MySQLStorage, database: str, make: Callable[..., MySQLStorage]
    ) -> None:
        other = make(database)
        other.open()

        def write(worker: int) -> None:
            mine = (store, other)[worker % 2]
            for number in range(10):
                # Two shared questions, in both orders, and one of its own.
                both = [answer("shared"), answer("shared too")][:: 1 if worker % 4 < 2 else -1]
                put(mine, *both, answer(f"{worker}-{number}"))

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(write, range(16)))
        assert store.count(MODEL) == 162
        with store.reading() as cursor:
            cursor.execute(
                "SELECT fingerprint, COUNT(*) FROM modelcache_llm_answer WHERE is_deleted = 0 "
                "GROUP BY fingerprint HAVING COUNT(*) > 1"
            )
            assert cursor.fetchall() == []

    def test_removing_while_writing_and_purging(
        self, store: MySQLStorage, database: str, make: Callable[..., MySQLStorage]
    ) -> None:
        other = make(database)
        other.open()
        over = threading.Event()

        def sweep() -> None:
            while not over.is_set():
                other.purge([row.id for row in other.dead(MODEL, 100)])
                other.delete_expired(NOW)

        def write(worker: int) -> None:
            for number in range(20):
                ids = put(store, answer("shared", tags=("t",)), answer(f"{worker}-{number}"))
                store.delete(MODEL, ids[1:])
                store.record_hits({id_: HitUse(1, NOW) for id_ in ids})

        with ThreadPoolExecutor(5) as pool:
            sweeper = pool.submit(sweep)
            try:
                list(pool.map(write, range(4)))
            finally:
                over.set()
            sweeper.result()
        assert store.count(MODEL) == 1

    # The schema.

    def test_several_processes_open_an_empty_database_at_once(self, server: MySQLProtocolServer) -> None:
        database = server.new_database()
        module = self.store_class.__module__.rpartition(".")[2]
        code = OPEN_STORE.format(module=module, name=self.store_class.__name__)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(server.port), database],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        assert [process.communicate(server.password)[1] for process in processes] == [""] * 4
        assert schema_versions(server, database) == [SCHEMA_VERSION]

    def test_several_threads_open_an_empty_database_at_once(
        self, server: MySQLProtocolServer, make: Callable[..., MySQLStorage]
    ) -> None:
        database = server.new_database()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(MySQLStorage.open, [make(database) for _ in range(8)]))
        assert schema_versions(server, database) == [SCHEMA_VERSION]

    def test_an_interrupted_creation_is_completed(
        self, server: MySQLProtocolServer, make: Callable[..., MySQLStorage]
    ) -> None:
        database = server.new_database()
        for statement in mysql_schema.schema_statements()[:2]:
            server.execute(statement, database=database)
        store = make(database)
        store.open()
        assert len(put(store, answer("q", tags=("t",)))) == 1

    def test_an_older_schema_is_migrated_and_keeps_its_rows(
        self,
        server: MySQLProtocolServer,
        make: Callable[..., MySQLStorage],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        database = server.new_database()
        store = make(database)
        store.open()
        [id_] = put(store, answer("q"))
        added = ("ALTER TABLE modelcache_llm_answer ADD COLUMN note VARCHAR(10)",)
        monkeypatch.setattr(mysql_schema, "SCHEMA_VERSION", NEXT_VERSION)
        monkeypatch.setattr(mysql_schema, "MIGRATIONS", {NEXT_VERSION: added})
        said = f"has schema version {SCHEMA_VERSION}, not {NEXT_VERSION}: run reference_doc/create_table"
        with pytest.raises(ConfigError, match=said):
            make(database, migrate=False).open()
        again = [make(database) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(MySQLStorage.open, again))
        assert set(again[0].get_live([id_], NOW)) == {id_}
        assert schema_versions(server, database) == [SCHEMA_VERSION, NEXT_VERSION]

    @pytest.mark.parametrize("interrupted", [False, True])
    def test_the_tables_of_version_1_get_what_was_added(
        self, server: MySQLProtocolServer, make: Callable[..., MySQLStorage], interrupted: bool
    ) -> None:
        database = server.new_database()
        store = make(database)
        store.open()
        [id_] = put(store, answer("q"))
        store.close()
        # A process that was killed while it migrated has left all but the version.
        for table in mysql_schema.ADDED_TABLES[2]:
            server.execute(f"DROP TABLE {table}", database=database)
        for table in mysql_schema.ADDED_TABLES[3]:
            server.execute(f"DROP TABLE {table}", database=database)
        for table in mysql_schema.ADDED_TABLES[4]:
            server.execute(f"DROP TABLE {table}", database=database)
        if not interrupted:
            for added in ("COLUMN metadata", "COLUMN scope", "KEY idx_answer_page", "KEY idx_answer_age"):
                server.execute(f"ALTER TABLE modelcache_llm_answer DROP {added}", database=database)
            server.execute("ALTER TABLE modelcache_query_log DROP COLUMN confidence", database=database)
        server.execute("UPDATE modelcache_schema SET version = 1", database=database)
        store = make(database)
        store.open()
        store.observe([seen(id_)])
        assert store.get_live([id_], NOW)[id_].observed == 1
        entry = store.entry(id_, NOW)
        assert entry is not None
        assert (entry.question, entry.scope, entry.sources) == ("q", None, ())
        put(store, answer("r", sources=("doc",)))
        assert store.delete_sourced(MODEL, ["doc"]) == 1
        assert schema_versions(server, database) == list(range(1, SCHEMA_VERSION + 1))

    def test_absent_tables_are_refused_where_migrating_is_not_allowed(
        self, server: MySQLProtocolServer, make: Callable[..., MySQLStorage]
    ) -> None:
        database = server.new_database()
        with pytest.raises(ConfigError, match="has no tables: run reference_doc/create_table"):
            make(database, migrate=False).open()
        assert server.execute("SHOW TABLES", database=database) == []
        for statement in mysql_schema.schema_statements():
            server.execute(statement, database=database)
        make(database, migrate=False).open()

    def test_a_newer_schema_is_refused(
        self, server: MySQLProtocolServer, make: Callable[..., MySQLStorage]
    ) -> None:
        database = server.new_database()
        make(database).open()
        server.execute("INSERT INTO modelcache_schema (version) VALUES (999)", database=database)
        with pytest.raises(
            ConfigError, match=f"schema version 999, newer than this service's {SCHEMA_VERSION}"
        ):
            make(database).open()

    # Failures.

    def test_a_wrong_password_is_refused_and_never_shown(
        self, server: MySQLProtocolServer, database: str, make: Callable[..., MySQLStorage]
    ) -> None:
        for password in ("hush-hush", "hush-hush-密码"):
            address = Server("127.0.0.1", server.port, "root", SecretStr(password), database)
            with pytest.raises(ConfigError) as caught:
                make(address).open()
            assert "Access denied" in str(caught.value)
            exc: BaseException | None = caught.value
            while exc is not None:
                assert "hush" not in f"{exc!r} {exc}"
                exc = exc.__cause__ or exc.__context__
            assert "hush" not in repr(address)

    def test_an_absent_database_is_refused_in_a_sentence(
        self, server: MySQLProtocolServer, make: Callable[..., MySQLStorage]
    ) -> None:
        with pytest.raises(ConfigError, match=f"cannot open the {self.store_class.product} database no_such"):
            make("no_such").open()

    def test_killed_connections_are_made_again(
        self, store: MySQLStorage, server: MySQLProtocolServer, database: str
    ) -> None:
        ids = put(store, answer("q"))
        for call in (
            lambda: store.count(MODEL),
            lambda: put(store, answer("other")),
            lambda: store.record_hits({ids[0]: HitUse(1, NOW)}),
        ):
            use_connections(store, 4)
            assert server.kill_connections(database) >= 4
            call()
        assert store.count(MODEL) == 2

    def test_a_transaction_killed_half_way_is_done_again(
        self,
        store: MySQLStorage,
        server: MySQLProtocolServer,
        database: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        [old] = put(store, answer("q"))
        ids = store.add([answer("q")])
        calls = []
        retire = store._retire_older

        def killed_once(cursor: Cursor, newest: Any) -> None:
            calls.append(newest)
            if len(calls) == 1:
                server.kill_connections(database)
            retire(cursor, newest)

        monkeypatch.setattr(store, "_retire_older", killed_once)
        store.activate(ids, ["m/q"])
        assert len(calls) == 2
        assert set(store.get_live([old, *ids], NOW)) == set(ids)

    def test_a_transaction_killed_half_way_changes_nothing(
        self, store: MySQLStorage, server: MySQLProtocolServer, database: str
    ) -> None:
        [id_] = put(store, answer("q"))

        def half_way() -> None:
            with store.writing() as cursor:
                cursor.execute("UPDATE modelcache_llm_answer SET is_deleted = -1")
                server.kill_connections(database)
                cursor.execute("UPDATE modelcache_llm_answer SET is_deleted = -1")

        with pytest.raises(ScalarStoreError):
            half_way()
        assert set(store.get_live([id_], NOW)) == {id_}

    def test_what_may_have_been_committed_is_repeated_only_where_that_is_harmless(
        self,
        store: MySQLStorage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        commits = []
        commit = MySQLConnection.commit

        def unanswered(connection: MySQLConnection) -> None:
            commit(connection)
            commits.append(connection)
            if len(commits) == 1:
                connection.disconnect()
                raise pymysql.OperationalError(2013, "lost as the reply was on its way")

        [id_] = store.add([answer("q")])
        monkeypatch.setattr(MySQLConnection, "commit", unanswered)
        store.activate([id_], ["m/q"])
        assert len(commits) == 2
        assert set(store.get_live([id_], NOW)) == {id_}
        for call in (
            lambda: store.add([answer("once")]),
            lambda: store.record_hits({id_: HitUse(1, NOW)}),
            lambda: store.write_log([line()]),
            lambda: store.delete(MODEL, [id_]),
        ):
            commits.clear()
            with pytest.raises(ScalarStoreError):
                call()
            assert len(commits) == 1
        with store.reading() as cursor:
            cursor.execute("SELECT COUNT(*), SUM(hit_count) FROM modelcache_llm_answer")
            assert tuple(map(int, cursor.fetchone())) == (2, 1)

    def test_a_lock_that_is_freed_is_waited_for(
        self, store: MySQLStorage, server: MySQLProtocolServer, database: str, failures: list[int]
    ) -> None:
        [id_] = put(store, answer("q"))
        with ThreadPoolExecutor(1) as pool, server.connect(database) as holder:
            holder.begin()
            holder.cursor().execute("UPDATE modelcache_llm_answer SET hit_count = 9")
            deletion = pool.submit(store.delete, MODEL, [id_])
            wait_until(lambda: bool(failures) or deletion.done(), "a lock wait to be over")
            holder.commit()
            assert deletion.result() == 1
        assert failures[0] == 1205

    def test_a_lock_that_is_kept_is_told(
        self, store: MySQLStorage, server: MySQLProtocolServer, database: str, failures: list[int]
    ) -> None:
        [id_] = put(store, answer("q"))
        with server.connect(database) as holder:
            holder.begin()
            holder.cursor().execute("UPDATE modelcache_llm_answer SET hit_count = 9")
            with pytest.raises(ScalarStoreError, match="error 1205"):
                store.delete(MODEL, [id_])
            holder.rollback()
        assert set(store.get_live([id_], NOW)) == {id_}

    @pytest.fixture
    def failures(self, store: MySQLStorage, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Provide the codes of the driver's errors, as they come."""
        codes: list[int] = []
        translated = store._translated

        def noted(exc: pymysql.MySQLError, **more: Any) -> ScalarStoreError:
            codes.append(exc.args[0])
            return translated(exc, **more)

        monkeypatch.setattr(store, "_translated", noted)
        return codes

    def test_a_restarted_server_is_no_error(self, store: MySQLStorage, server: MySQLProtocolServer) -> None:
        ids = put(store, answer("q"))
        use_connections(store, 4)
        server.restart()
        assert set(store.get_live(ids, NOW)) == set(ids)
        later = put(store, answer("later"))
        assert later[0] > ids[0]
        use_connections(store, 4)

    def test_a_server_that_stops_answering_is_given_up_on(
        self, store: MySQLStorage, server: MySQLProtocolServer
    ) -> None:
        put(store, answer("q"))
        for call in (lambda: store.count(MODEL), lambda: store.add([answer("r")]), store.ping):
            with ThreadPoolExecutor(4) as pool:
                server.pause()
                try:
                    calls = [pool.submit(call) for _ in range(4)]
                    for pending in calls:
                        assert isinstance(pending.exception(10 * STORE_SECONDS), ScalarStoreError)
                finally:
                    server.resume()
        assert store.count(MODEL) == 1

    def test_a_failing_statement_undoes_its_transaction(self, store: MySQLStorage) -> None:
        [id_] = put(store, answer("q"))

        def half_wrong() -> None:
            with store.writing() as cursor:
                cursor.execute("UPDATE modelcache_llm_answer SET is_deleted = -1")
                cursor.execute("INSERT INTO no_such_table VALUES (1)")

        with pytest.raises(ScalarStoreError, match="no_such_table"):
            half_wrong()
        assert set(store.get_live([id_], NOW)) == {id_}


def schema_versions(server: MySQLProtocolServer, database: str) -> list[int]:
    rows = server.execute("SELECT DISTINCT version FROM modelcache_schema ORDER BY version", (), database)
    return [row[0] for row in rows]


def use_connections(store: MySQLStorage, count: int) -> None:
    """Use that many connections of the pool at once, so that they are open afterwards."""
    barrier = threading.Barrier(count)

    def use(_: int) -> None:
        with store.reading() as cursor:
            cursor.execute("SELECT 1")
            barrier.wait(GIVE_UP_SECONDS)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(use, range(count)))
