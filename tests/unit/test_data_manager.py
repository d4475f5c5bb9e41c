"""The two stores together: what each failure leaves, and what a restart makes of it."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelcache.errors import ScalarStoreError, StoreError, VectorStoreError
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.factory import CacheBase, VectorBase, get_data_manager
from modelcache.manager.names import collection_name
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.manager.vector_data.faiss import FaissStore
from modelcache.records.entry import NewAnswer
from modelcache.records.names import model_key
from modelcache.records.vectors import to_bytes
from modelcache.testing.rows import answer
from modelcache.testing.vector_store import DIMENSION, vectors

P = "p" * 40
VECTORS = vectors(500)


def opened(folder: Path, embedder: str = "hash-v1") -> SSDataManager:
    manager = SSDataManager(
        SqliteStorage(folder / "modelcache.db"), FaissStore(folder / "faiss", DIMENSION), embedder
    )
    manager.open()
    return manager


def new(number: int, **more: Any) -> NewAnswer:
    return answer(f"q{number}", f"a{number}", embedding=to_bytes(VECTORS[number]), **more)


def nearest(manager: SSDataManager, number: int, k: int = 3) -> list[str]:
    return [found.entry.answer for found in manager.search("m", P, VECTORS[number], k)]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[SSDataManager]:
    manager = opened(tmp_path)
    yield manager
    manager.close()


def test_what_is_inserted_is_found_both_ways(manager: SSDataManager) -> None:
    ids = manager.insert("m", [new(0), new(1)])
    exact = manager.find_exact("m/q1")
    assert exact is not None
    assert exact.id == ids[1]
    [first, *_] = manager.search("m", P, VECTORS[1], 2)
    assert first.entry.id == ids[1]
    assert first.similarity == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("store", "method"), [("scalars", "add"), ("vectors", "add"), ("scalars", "activate")]
)
def test_a_failed_insert_leaves_nothing_and_the_old_answer(
    manager: SSDataManager, store: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [old] = manager.insert("m", [new(0)])

    def fail(*_: object, **__: object) -> None:
        raise VectorStoreError("on the third call") if store == "vectors" else ScalarStoreError("out")

    with monkeypatch.context() as patch:
        patch.setattr(getattr(manager, store), method, fail)
        with pytest.raises(StoreError):
            manager.insert("m", [new(0), new(1), new(2)])
    kept = manager.find_exact("m/q0")
    assert kept is not None
    assert kept.id == old
    assert nearest(manager, 1) == ["a0"]
    manager.sweep(everything=True)
    assert manager.vectors.ids(collection_name("m", "hash-v1")).tolist() == [old]
    assert manager.scalars.dead_counts() == []


@pytest.mark.parametrize("is_taken_back", [True, False])
def test_an_insert_at_once_that_fails_leaves_nothing_and_the_old_answer(
    tmp_path: Path, is_taken_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = opened(tmp_path)
    manager.scalars.exclusive = True
    [old] = manager.insert("m", [new(0)])
    original = manager.vectors.add

    def done_and_failed(*arguments: Any, **more: Any) -> None:
        original(*arguments, **more)
        raise VectorStoreError("the disk is full")

    def fail(*_: object) -> None:
        raise VectorStoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(manager.vectors, "add", done_and_failed)
        if not is_taken_back:
            patch.setattr(manager.vectors, "delete", fail)
        with pytest.raises(VectorStoreError):
            manager.insert("m", [new(0), new(1)])
    assert (nearest(manager, 0), nearest(manager, 1)) == (["a0"], ["a0"])
    # Its ids are not given to others, whose vectors would not be the ones that are there.
    manager.insert("m", [new(2), new(3)])
    assert nearest(manager, 2)[0] == "a2"
    assert nearest(manager, 3)[0] == "a3"
    manager.close()
    again = opened(tmp_path)
    again.search("m", P, VECTORS[0], 1)
    live = {row.id for row in again.scalars.uses(model_key("m"))}
    assert old in live
    assert set(again.vectors.ids(collection_name("m", "hash-v1")).tolist()) == live
    again.close()


def test_a_sweep_of_an_emptied_model_takes_no_vector_of_an_insert_at_once(
    manager: SSDataManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.scalars.exclusive = True
    manager.delete("m", manager.insert("m", [new(0)]))
    add, truncate, dead = manager.vectors.add, manager.vectors.truncate, manager.scalars.dead
    has_added, may_end = threading.Event(), threading.Event()
    inserting = threading.Thread(target=manager.insert, args=("m", [new(1)]))

    def add_and_wait(*arguments: Any, **more: Any) -> None:
        add(*arguments, **more)
        has_added.set()
        may_end.wait()

    def truncate_after_the_vector_came(collection: str) -> None:
        inserting.start()
        # It never comes where the insert is kept out, whose row would not be seen yet.
        has_added.wait(0.3)
        truncate(collection)

    def dead_after_the_insert_may_end(*arguments: Any) -> Any:
        may_end.set()
        return dead(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(manager.vectors, "add", add_and_wait)
        patch.setattr(manager.vectors, "truncate", truncate_after_the_vector_came)
        patch.setattr(manager.scalars, "dead", dead_after_the_insert_may_end)
        manager.sweep(everything=True)
        inserting.join()
    assert nearest(manager, 1) == ["a1"]


def test_rows_that_could_not_be_discarded_never_answer(
    manager: SSDataManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ScalarStoreError("out")

    with monkeypatch.context() as patch:
        patch.setattr(manager.scalars, "activate", fail)
        patch.setattr(manager.scalars, "discard", fail)
        with pytest.raises(ScalarStoreError):
            manager.insert("m", [new(0)])
    assert manager.find_exact("m/q0") is None
    assert nearest(manager, 0) == []
    manager.close()
    again = opened(tmp_path)
    again.sweep(everything=True)
    assert again.vectors.ids(collection_name("m", "hash-v1")).tolist() == []
    again.close()


def test_removed_neighbours_do_not_hide_a_living_one(manager: SSDataManager) -> None:
    near = np.stack([VECTORS[0]] * 200)
    manager.insert("m", [answer(f"q{n}", f"a{n}", embedding=to_bytes(row)) for n, row in enumerate(near)])
    [living] = manager.insert("m", [answer("living", "alive", embedding=to_bytes(VECTORS[1]))])
    manager.delete("m", range(1, living))
    assert [found.entry.id for found in manager.search("m", P, VECTORS[0], 1)] == [living]


def test_a_replaced_entry_is_never_found_by_its_vector(manager: SSDataManager) -> None:
    manager.insert("m", [new(0)])
    manager.insert("m", [answer("q0", "newer", embedding=to_bytes(VECTORS[0]))])
    assert nearest(manager, 0) == ["newer"]


def test_a_sweep_removes_vectors_and_rows_for_good(manager: SSDataManager) -> None:
    ids = manager.insert("m", [new(0), new(1), new(2, expires_at=1.0)])
    manager.delete("m", ids[:1])
    assert manager.sweep(everything=True) == 2
    assert manager.sweep(everything=True) == 0
    assert manager.vectors.ids(collection_name("m", "hash-v1")).tolist() == [ids[1]]
    assert manager.scalars.count(model_key("m")) == 1


def test_a_truncate_stands_when_the_vector_store_fails(
    manager: SSDataManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.insert("m", [new(0), new(1)])

    def fail(*_: object, **__: object) -> None:
        raise VectorStoreError("out")

    with monkeypatch.context() as patch:
        patch.setattr(manager.vectors, "truncate", fail)
        assert manager.truncate("m") == 2
    assert nearest(manager, 0) == []
    manager.sweep(everything=True)
    assert manager.vectors.ids(collection_name("m", "hash-v1")).tolist() == []


@pytest.mark.parametrize("loss", ["no file", "older", "damaged", "of an old version"])
def test_the_index_is_rebuilt_from_the_rows(tmp_path: Path, loss: str) -> None:
    manager = opened(tmp_path)
    manager.insert("m", [new(number) for number in range(100)])
    manager.close()
    [path] = (tmp_path / "faiss").glob("*.rows")
    before = path.read_bytes()
    manager = opened(tmp_path)
    manager.delete("m", [1])
    manager.insert("m", [new(number) for number in range(100, 200)])
    manager.close()
    if loss == "no file":
        path.unlink()
    elif loss == "of an old version":
        path.rename(path.with_suffix(".npz"))
    else:
        path.write_bytes(before if loss == "older" else before[:-100])
    manager = opened(tmp_path)
    assert nearest(manager, 0, 1) != ["a0"]
    assert len(manager.vectors.ids(collection_name("m", "hash-v1"))) == 199
    assert list((tmp_path / "faiss").glob("*.npz")) == []
    assert all(nearest(manager, number, 1) == [f"a{number}"] for number in range(1, 200))
    manager.close()


def test_vectors_of_another_embedder_are_never_compared(tmp_path: Path) -> None:
    manager = opened(tmp_path)
    manager.insert("m", [new(0)])
    manager.close()
    other = opened(tmp_path, "other-v2")
    assert nearest(other, 0) == []
    assert other.find_exact("m/q0") is not None
    other.insert("m", [new(1, embedder="other-v2")])
    assert nearest(other, 0) == ["a1"]
    other.delete("m", [1])
    other.sweep(everything=True)
    other.close()
    back = opened(tmp_path)
    assert nearest(back, 0) == []
    back.close()


def test_asking_about_models_that_do_not_exist_costs_no_memory(manager: SSDataManager) -> None:
    for number in range(100):
        manager.search(f"none-{number}", P, VECTORS[0], 1)
    assert manager._reconciled == set()


def test_a_data_manager_is_built_from_stores_by_name(tmp_path: Path) -> None:
    manager = get_data_manager(
        CacheBase("sqlite", data_dir=tmp_path),
        VectorBase("faiss", dimension=DIMENSION, data_dir=tmp_path),
        "hash-v1",
        max_size=2,
        clean_size=1,
    )
    manager.open()
    for number in range(3):
        manager.insert("m", [new(number)])
    assert manager.scalars.count(model_key("m")) == 2
    assert nearest(manager, 2, 1) == ["a2"]
    manager.close()
