"""The scalar contract on SQLite, and what is special about a file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcache.errors import ConfigError, ScalarStoreError
from modelcache.manager.scalar_data import sqlite as sqlite_module
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.testing.rows import NOW, answer, put, seen
from modelcache.testing.scalar_store import ExclusiveScalarStoreContract


class TestSqlite(ExclusiveScalarStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ScalarStore]:
        store = SqliteStorage(tmp_path / "rows" / "modelcache.db")
        store.open()
        yield store
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "modelcache.db"


def opened(path: Path) -> SqliteStorage:
    store = SqliteStorage(path)
    store.open()
    return store


def test_rows_survive_reopening(path: Path) -> None:
    store = opened(path)
    [id_] = put(store, answer("q"))
    store.close()
    again = opened(path)
    assert set(again.get_live([id_], NOW)) == {id_}
    again.close()


def test_a_commit_is_on_disk_before_it_returns(path: Path) -> None:
    store = opened(path)
    with store.reading() as cursor:
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone()[0] == 2
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone()[0] == "wal"
    store.close()


def test_an_older_schema_is_migrated_and_keeps_its_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(path)
    [id_] = put(store, answer("q"))
    store.close()
    added = ("ALTER TABLE modelcache_llm_answer ADD COLUMN note TEXT",)
    monkeypatch.setattr(sqlite_module, "MIGRATIONS", (*sqlite_module.MIGRATIONS, added))
    for _ in range(2):
        store = opened(path)
        assert set(store.get_live([id_], NOW)) == {id_}
        with store.reading() as cursor:
            cursor.execute("SELECT note FROM modelcache_llm_answer")
            assert cursor.fetchall() == [(None,)]
        store.close()


def test_a_file_of_version_1_gets_the_tables_that_were_added(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_module, "MIGRATIONS", sqlite_module.MIGRATIONS[:1])
        opened(path).close()
    store = opened(path)
    [id_] = put(store, answer("q"))
    store.observe([seen(id_)])
    assert store.get_live([id_], NOW)[id_].observed == 1
    store.close()


def test_a_failed_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(path).close()
    broken = ("ALTER TABLE modelcache_llm_answer ADD COLUMN note TEXT", "NO SUCH STATEMENT")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_module, "MIGRATIONS", (*sqlite_module.MIGRATIONS, broken))
        with pytest.raises(ConfigError):
            opened(path)
    opened(path).close()
    with sqlite3.connect(path) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(modelcache_llm_answer)")]
    connection.close()
    assert "note" not in columns


def test_a_newer_schema_is_refused(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO modelcache_schema (version) VALUES (999)")
    connection.close()
    with pytest.raises(ConfigError, match="schema version 999"):
        opened(path)


def test_a_file_that_is_no_database_is_refused_in_a_sentence(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 1000)
    with pytest.raises(ConfigError, match="cannot open the SQLite file"):
        opened(path)


def test_a_failing_statement_undoes_its_transaction(path: Path) -> None:
    store = opened(path)

    def half_wrong() -> None:
        with store.writing() as cursor:
            cursor.execute("INSERT INTO modelcache_schema (version) VALUES (0)")
            cursor.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(ScalarStoreError):
        half_wrong()
    with store.reading() as cursor:
        cursor.execute("SELECT COUNT(*) FROM modelcache_schema WHERE version = 0")
        assert cursor.fetchone()[0] == 0
    put(store, answer("the connection still works"))
    store.close()
