"""The scalar contract on SQLite, and what is special about a file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcache.errors import ConfigError, ScalarStoreError
from modelcache.manager.scalar_data import sqlite as sqlite_module
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.scalar_data.sql_entries import places_statement
from modelcache.manager.scalar_data.sql_removals import LIVE
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.records.entry import EntrySearch, Place
from modelcache.records.names import model_key
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


def test_a_file_of_version_3_gets_sources_removals_and_scopes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_module, "MIGRATIONS", sqlite_module.MIGRATIONS[:3])
        opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO modelcache_llm_answer (gmt_create, gmt_modified, question, answer, model, "
            "is_deleted, model_key, partition_key, fingerprint, embedder, last_used_at) VALUES "
            "('2026-01-02 03:04:05', '', 'q', 'a', 'm', 0, ?, 'p', 'f', '', 0)",
            (model_key("m"),),
        )
    connection.close()
    store = opened(path)
    entry = store.entry(1, NOW)
    assert entry is not None
    assert (entry.question, entry.scope, entry.sources, entry.created_at) == ("q", None, (), 1767323045.0)
    put(store, answer("r", sources=("doc",), scope={"user": "anne"}))
    assert store.delete_sourced(model_key("m"), ["doc"]) == 1
    assert store.delete_older(model_key("m"), 1767323046.0) == 1
    store.close()


MINE = model_key("m")


@pytest.mark.parametrize(
    ("search", "index"),
    [
        (
            EntrySearch(MINE, after=Place(0, 500)),
            "COVERING INDEX idx_answer_page (model_key=? AND is_deleted=? ",
        ),
        (
            EntrySearch(MINE, by_hits=True, after=Place(3, 500)),
            "COVERING INDEX idx_answer_hits (model_key=? ",
        ),
        (
            EntrySearch(MINE, tags=("t",), after=Place(0, 500)),
            "USING PRIMARY KEY (tag_key=? AND answer_id<?)",
        ),
        (EntrySearch(MINE, sources=("s",)), "USING PRIMARY KEY (source_key=?)"),
        (EntrySearch(MINE, scope={"user": "a"}), "USING PRIMARY KEY (tag_key=?)"),
        (EntrySearch(after=Place(0, 500)), "USING INTEGER PRIMARY KEY (rowid<?)"),
        (EntrySearch(), "SCAN modelcache_llm_answer"),
    ],
    ids=["model", "hits", "tag", "source", "scope", "all", "all from the newest"],
)
def test_a_list_of_entries_is_read_in_the_order_of_an_index(
    path: Path, search: EntrySearch, index: str
) -> None:
    store = opened(path)
    with store.reading() as cursor:
        for tied in {False, search.by_hits}:
            statement, bound = places_statement(search, search.after, 50, tied=tied)
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", bound)
            plan = [row[3] for row in cursor.fetchall()]
            assert len(plan) == 1, f"it is sorted: {plan}"
            assert index in plan[0]
    store.close()


def test_old_entries_are_found_by_an_index(path: Path) -> None:
    store = opened(path)
    with store.reading() as cursor:
        cursor.execute(
            "EXPLAIN QUERY PLAN SELECT COUNT(*) FROM modelcache_llm_answer "
            f"WHERE {LIVE} AND model_key = ? AND gmt_create < ?",
            (MINE, ""),
        )
        assert "COVERING INDEX idx_answer_age" in cursor.fetchall()[0][3]
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
