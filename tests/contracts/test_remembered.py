"""Exact answers in memory: quick, and gone at the moment their row may no longer answer."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modelcache.app import get_service
from modelcache.errors import ScalarStoreError
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.scalar_data.remembered import RememberingScalars
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.records.entry import CachedAnswer
from modelcache.records.names import model_key
from modelcache.testing.rows import NOW, answer, put
from modelcache.testing.scalar_store import ExclusiveScalarStoreContract
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.running import all_at_once

ROOM = 1_000_000


class TestRememberedSqlite(ExclusiveScalarStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ScalarStore]:
        store = RememberingScalars(SqliteStorage(tmp_path / "modelcache.db"), ROOM)
        store.open()
        yield store
        store.close()


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[SqliteStorage]:
    rows = SqliteStorage(tmp_path / "modelcache.db")
    rows.open()
    yield rows
    rows.close()


@pytest.fixture
def reads(rows: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprints that are looked up in the file, in order."""
    reads: list[str] = []
    original = rows.find_exact

    def find_exact(fingerprint: str, now: float) -> CachedAnswer | None:
        reads.append(fingerprint)
        return original(fingerprint, now)

    monkeypatch.setattr(rows, "find_exact", find_exact)
    return reads


def test_what_answered_once_is_not_read_again(rows: SqliteStorage, reads: list[str]) -> None:
    store = RememberingScalars(rows, ROOM)
    put(store, answer("q", fingerprint="f"))
    assert [store.find_exact("f", NOW) for _ in range(3)] == [store.find_exact("f", NOW)] * 3
    assert reads == ["f"]


def test_what_is_absent_is_asked_for_again(rows: SqliteStorage, reads: list[str]) -> None:
    store = RememberingScalars(rows, ROOM)
    assert store.find_exact("f", NOW) is None
    put(store, answer("q", fingerprint="f"))
    assert store.find_exact("f", NOW) is not None
    assert reads == ["f", "f"]


@pytest.mark.parametrize("how", ["delete", "tag", "truncate", "replace", "expire", "sweep"])
def test_what_may_no_longer_answer_is_forgotten(how: str, rows: SqliteStorage) -> None:
    store = RememberingScalars(rows, ROOM)
    [id_] = put(store, answer("q", fingerprint="f", tags=("t",), expires_at=NOW + 10))
    assert store.find_exact("f", NOW) is not None
    later = NOW
    match how:
        case "delete":
            store.delete(model_key("m"), [id_])
        case "tag":
            store.delete_tagged(model_key("m"), ["t"])
        case "truncate":
            store.truncate(model_key("m"))
        case "replace":
            put(store, answer("q", "newer", fingerprint="f"))
        case "expire":
            later = NOW + 10
        case "sweep":
            store.delete_expired(NOW + 11)
    found = store.find_exact("f", later)
    assert (found and found.answer) == ("newer" if how == "replace" else None)


def test_memory_is_bounded_and_the_oldest_goes_first(rows: SqliteStorage, reads: list[str]) -> None:
    store = RememberingScalars(rows, 10_000)
    names = [f"f{number}" for number in range(20)]
    put(store, *(answer(name, fingerprint=name) for name in names))
    for name in names:
        store.find_exact(name, NOW)
    reads.clear()
    store.find_exact(names[-1], NOW)
    store.find_exact(names[0], NOW)
    assert reads == [names[0]]


def test_an_answer_larger_than_the_memory_still_answers(rows: SqliteStorage) -> None:
    store = RememberingScalars(rows, 10_000)
    put(store, answer("q", "x" * 20_000, fingerprint="f"))
    for _ in range(2):
        assert store.find_exact("f", NOW) is not None


def test_what_was_read_before_a_removal_is_not_kept_after_it(
    rows: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RememberingScalars(rows, ROOM)
    [id_] = put(store, answer("q", fingerprint="f"))
    original, has_read, may_return = rows.find_exact, threading.Event(), threading.Event()

    def slow(fingerprint: str, now: float) -> CachedAnswer | None:
        found = original(fingerprint, now)
        has_read.set()
        may_return.wait()
        return found

    monkeypatch.setattr(rows, "find_exact", slow)
    reader = threading.Thread(target=store.find_exact, args=("f", NOW))
    reader.start()
    has_read.wait()
    store.delete(model_key("m"), [id_])
    may_return.set()
    reader.join()
    assert store.find_exact("f", NOW) is None


def test_a_failed_removal_is_not_taken_for_none(rows: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RememberingScalars(rows, ROOM)
    [id_] = put(store, answer("q", fingerprint="f"))
    store.find_exact("f", NOW)
    original = rows.delete

    def done_but_not_told(*args: Any) -> int:
        original(*args)
        raise ScalarStoreError("lost on the way back")

    monkeypatch.setattr(rows, "delete", done_but_not_told)
    with pytest.raises(ScalarStoreError):
        store.delete(model_key("m"), [id_])
    assert store.find_exact("f", NOW) is None


@pytest.mark.slow
def test_a_hit_never_comes_after_its_removal(app: Flask) -> None:
    """Ask all the time while entries come and go: what a removal has acknowledged never answers."""
    gone: set[int] = set()
    done = threading.Event()

    def ask() -> None:
        client = CacheClient(app.test_client())
        while not done.is_set():
            known = set(gone)
            for number in range(5):
                assert client.query(f"q{number}", threshold=1)["hit_id"] not in known

    def change() -> None:
        client = CacheClient(app.test_client())
        for number in range(60):
            ids = client.insert(*((f"q{number % 5}", "a") for _ in range(2)), tags=["t"])["ids"]
            client.query(f"q{number % 5}")
            if number % 3 == 0:
                client.remove("delete_by_id", id_list=ids)
            elif number % 3 == 1:
                client.remove("delete_by_tag", tags=["t"])
            else:
                client.remove("truncate_by_model")
            gone.update(ids)
        done.set()

    try:
        assert all_at_once(ask, ask, change) == [None] * 3
    finally:
        done.set()


def test_an_evicted_entry_no_longer_answers(make_app: AppFactory) -> None:
    app = make_app(max_size=4, clean_size=2)
    client = CacheClient(app.test_client())
    for number in range(4):
        client.insert((f"q{number}", "a"))
        client.query(f"q{number}")
    get_service(app).cache.writer.flush()
    client.insert(("one more", "a"))
    rows = get_service(app).cache.data_manager.scalars
    wait_until(lambda: rows.count(model_key("m")) <= 4, "eviction")
    hits = sum(client.query(f"q{number}", threshold=1)["cacheHit"] for number in range(4))
    assert hits == rows.count(model_key("m")) - 1
