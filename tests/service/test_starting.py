"""A start that fails, and an end that fails, leave nothing behind in the process."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcache import core
from modelcache.app import create_app, get_service
from modelcache.background import BackgroundWriter, Sweeper
from modelcache.errors import ConfigError, ScalarStoreError
from modelcache.learning.learner import Learner
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.manager.vector_data.faiss import FaissStore
from modelcache.testing.hash_embedder import HashEmbedder

PARTS = [
    (HashEmbedder, "open"),
    (core, "open_confidence"),
    (core, "make_judge"),
    (core, "data_manager_of"),
    (FaissStore, "open"),
    (SqliteStorage, "open"),
    (SqliteStorage, "discard_unfinished"),
    (SqliteStorage, "policies"),
    (BackgroundWriter, "open"),
    (Learner, "open"),
    (Sweeper, "open"),
    (core, "Lookup"),
    (core, "DriftWatch"),
]


class BrokenError(Exception):
    pass


def broken(*_: object, **__: object) -> None:
    raise BrokenError


@pytest.fixture
def before() -> Iterator[set[threading.Thread]]:
    """The threads there were; afterwards there must be no others."""
    threads = set(threading.enumerate())
    yield threads
    assert not set(threading.enumerate()) - threads


def works(folder: Path) -> None:
    """Start on this folder and stop, which needs its lock."""
    app = create_app({"data_dir": folder}, embedder=HashEmbedder())
    get_service(app).close()


@pytest.mark.parametrize(("owner", "name"), PARTS, ids=lambda part: getattr(part, "__name__", part))
def test_a_start_that_fails_leaves_no_thread_and_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: set[threading.Thread], owner: object, name: str
) -> None:
    works(tmp_path)
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(BrokenError):
        create_app({"data_dir": tmp_path}, embedder=HashEmbedder())
    monkeypatch.undo()
    assert set(threading.enumerate()) == before
    works(tmp_path)


@pytest.mark.parametrize("error", [ConfigError("no"), ScalarStoreError("no")])
def test_the_error_is_what_stopped_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(SqliteStorage, "open", fail)
    with pytest.raises(type(error)):
        create_app({"data_dir": tmp_path}, embedder=HashEmbedder())


@pytest.mark.parametrize("owner", [Sweeper, Learner, BackgroundWriter, FaissStore, SqliteStorage])
def test_what_cannot_be_closed_keeps_nothing_else_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: set[threading.Thread], owner: type
) -> None:
    close = owner.close  # type: ignore[attr-defined]

    def close_and_fail(self: object) -> None:
        close(self)
        raise BrokenError

    monkeypatch.setattr(owner, "close", close_and_fail)
    service = get_service(create_app({"data_dir": tmp_path}, embedder=HashEmbedder()))
    with pytest.raises(BrokenError):
        service.close()
    monkeypatch.undo()
    assert set(threading.enumerate()) == before
    works(tmp_path)
