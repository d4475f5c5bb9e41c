"""FAISS under thresholds so low that small collections are indexed, extended, compacted and unloaded."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from modelcache.errors import VectorStoreError
from modelcache.manager.vector_data.base import VectorStore
from modelcache.manager.vector_data.faiss import FaissStore
from modelcache.manager.vector_data.local import cells as cells_module
from modelcache.manager.vector_data.local import collection as collection_module
from modelcache.manager.vector_data.local.cells import Cells
from modelcache.manager.vector_data.local.collection import Collection
from modelcache.records.vectors import Embeddings, normalise_rows
from modelcache.testing import filtered_search
from modelcache.testing.vector_store import DIMENSION, A, B, P, Q, VectorStoreContract, found, vectors
from modelcache.testing.waiting import wait_until
from tests.support.running import ROOT
from tests.support.write_vectors import BATCH, POOL

INDEX_FROM = 100
EXTEND_AT = 20
SHIPPED_PROBES, SHIPPED_REACH = cells_module.PROBES_PER_ROOT, cells_module.REACH


@pytest.fixture(autouse=True)
def low_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything happen early; all cells are probed, so that what is found is exact."""
    monkeypatch.setattr(collection_module, "EXTEND_AT", EXTEND_AT)
    monkeypatch.setattr(collection_module, "COMPACT_AFTER", 10)
    monkeypatch.setattr(cells_module, "PROBES_PER_ROOT", 1000.0)
    monkeypatch.setattr(cells_module, "REACH", 1000.0)


def opened(folder: Path, index_from: int = INDEX_FROM, memory_mb: float = 100) -> FaissStore:
    store = FaissStore(folder / "faiss", DIMENSION, index_from, memory_mb)
    store.open()
    return store


def wait_for_upkeep(store: FaissStore) -> None:
    wait_until(lambda: store.is_kept_up, "the upkeep")


def killed(store: FaissStore) -> None:
    """Leave the store as the end of its process would, with nothing more saved."""
    wait_for_upkeep(store)
    for collection in store._collections.values():
        collection.close()
    store._folder_lock.release()


def settled(store: FaissStore, collection: str = A) -> Collection:
    """Return the collection when nothing is being done to it any more."""
    wait_for_upkeep(store)
    return store._collections[collection]


def cells_of(collection: Collection) -> list[Cells]:
    return list(collection._contents.cells.values())


class TestFaissWithIndexes(VectorStoreContract):
    """The contract, where every partition of more than two vectors is indexed."""

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VectorStore]:
        monkeypatch.setattr(collection_module, "EXTEND_AT", 1)
        store = opened(tmp_path, index_from=2)
        yield store
        store.close()


@pytest.mark.slow
def test_partitions_of_every_size_find_their_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "PROBES_PER_ROOT", SHIPPED_PROBES)
    monkeypatch.setattr(cells_module, "REACH", SHIPPED_REACH)
    store = FaissStore(tmp_path, filtered_search.DIMENSION, index_from=1000)
    store.open()
    filtered_search.assert_the_filter_starves_nothing(store)
    wait_for_upkeep(store)
    store.close()


def test_a_large_partition_is_indexed_and_extended(tmp_path: Path) -> None:
    store = opened(tmp_path)
    rows = vectors(400)
    store.add(A, range(1, 201), [P] * 200, rows[:200])
    [cells] = cells_of(settled(store))
    assert cells.count == 200
    store.add(A, range(201, 251), [P] * 50, rows[200:250])
    assert cells_of(settled(store)) == [cells]
    assert cells.count == 250
    store.add(A, range(251, 261), [P] * 10, rows[250:260])
    assert cells_of(settled(store))[0].count == 250  # ten are compared one by one
    assert all(found(store, A, P, row, 1) == [number] for number, row in enumerate(rows[:260], start=1))
    store.close()


def test_an_outgrown_index_is_made_anew(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.add(A, range(1, 101), [P] * 100, vectors(100))
    [before] = cells_of(settled(store))
    store.add(A, range(101, 1001), [P] * 900, vectors(1000)[100:])
    [after] = cells_of(settled(store))
    assert (before.trained_on, after.trained_on) == (100, 1000)
    store.close()


def test_small_partitions_get_no_index(tmp_path: Path) -> None:
    store = opened(tmp_path)
    names = [f"{number // 2:040d}" for number in range(1000)]
    store.add(A, range(1, 1001), names, vectors(1000))
    assert cells_of(settled(store)) == []
    assert sorted(found(store, A, names[500], vectors(1000)[0])) == [501, 502]
    store.close()


def test_the_dead_are_compacted_away(tmp_path: Path) -> None:
    store = opened(tmp_path)
    rows = vectors(300)
    store.add(A, range(1, 301), [P] * 200 + [Q] * 100, rows)
    settled(store)
    store.delete(A, range(1, 151))
    collection = settled(store)
    assert collection._contents.rows.count == 150
    assert sorted(store.ids(A).tolist()) == list(range(151, 301))
    assert all(found(store, A, P, rows[id_ - 1], 1) == [id_] for id_ in range(151, 201))
    assert all(found(store, A, Q, rows[id_ - 1], 1) == [id_] for id_ in range(201, 301))
    killed(store)
    again = opened(tmp_path)
    assert sorted(again.ids(A).tolist()) == list(range(151, 301))
    assert found(again, A, P, rows[160], 1) == [161]
    again.close()


def test_a_crowd_of_dead_neighbours_hides_no_living_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection_module, "COMPACT_AFTER", 10_000)
    store = opened(tmp_path)
    row = vectors(2)
    crowd = normalise_rows(row[0] + 0.01 * vectors(1000, seed=3))
    store.add(A, range(1, 1001), [P] * 1000, crowd)
    store.add(A, [2000], [P], row[1:])
    settled(store)
    store.delete(A, range(1, 1001))
    assert found(store, A, P, row[0], 5) == [2000]
    store.close()


def test_a_restart_takes_the_index_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    rows = vectors(300)
    store.add(A, range(1, 301), [P] * 300, rows)
    settled(store)
    store.close()
    monkeypatch.setattr(Cells, "build", None)  # nothing is built
    again = opened(tmp_path)
    assert found(again, A, P, rows[7], 1) == [8]
    assert [cells.count for cells in cells_of(settled(again))] == [300]
    again.close()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage", "absent", "older"])
def test_a_damaged_index_is_built_anew(tmp_path: Path, damage: str) -> None:
    store = opened(tmp_path)
    rows = vectors(300)
    store.add(A, range(1, 301), [P] * 300, rows)
    settled(store)
    store.close()
    [path] = (tmp_path / "faiss").rglob("*.index")
    data = path.read_bytes()
    if damage == "older":
        store = opened(tmp_path)
        store.truncate(A)
        store.add(A, range(1, 301), [P] * 300, rows[::-1])
        settled(store)
        store.close()
    flipped = data[:-300] + bytes([data[-300] ^ 0xFF]) + data[-299:]
    damaged = {"cut": data[: len(data) // 2], "flipped": flipped, "empty": b"", "garbage": b"x" * 5000}
    path.write_bytes(damaged.get(damage, data))
    if damage == "absent":
        path.unlink()
    again = opened(tmp_path)
    expected = 300 if damage == "older" else 1
    assert found(again, A, P, rows[0], 1) == [expected]
    assert [cells.count for cells in cells_of(settled(again))] == [300]
    assert found(again, A, P, rows[0], 1) == [expected]
    again.close()


@pytest.mark.parametrize("left", [0.2, 0.5, 0.9])
def test_a_file_that_was_cut_while_it_was_written_keeps_what_was_saved_before(
    tmp_path: Path, left: float
) -> None:
    store = opened(tmp_path)
    rows = vectors(400)
    store.add(A, range(1, 201), [P] * 200, rows[:200])
    settled(store)
    store.close()
    [path] = (tmp_path / "faiss").glob("*.rows")
    before = path.stat().st_size
    store = opened(tmp_path)
    store.add(A, range(201, 211), [P] * 10, rows[200:210])
    store.close()
    with path.open("r+b") as file:
        file.truncate(before + int(left * (path.stat().st_size - before)))
    again = opened(tmp_path)
    assert sorted(again.ids(A).tolist()) == list(range(1, 201))
    # Slots of the lost are given to others, which no index may take for them.
    again.add(A, range(301, 401), [Q] * 100, rows[300:])
    settled(again)
    again.close()
    again = opened(tmp_path)
    assert sorted(again.ids(A).tolist()) == [*range(1, 201), *range(301, 401)]
    assert all(found(again, A, P, rows[id_ - 1], 1) == [id_] for id_ in range(1, 201))
    assert all(found(again, A, Q, rows[id_ - 1], 1) == [id_] for id_ in range(301, 401))
    again.close()


def test_a_save_writes_only_what_changed(tmp_path: Path) -> None:
    store = opened(tmp_path, index_from=10_000)
    many = collection_module.SAVE_AFTER_CHANGES + 1
    store.add(A, range(1, many + 1), [P] * many, vectors(many))
    store.save()
    [path] = (tmp_path / "faiss").glob("*.rows")
    whole = path.stat().st_size
    store.add(A, range(5001, 5001 + many), [P] * many, vectors(many))
    store.delete(A, [1, 2, 3])
    store.save()
    assert path.stat().st_size < 2 * whole + 100
    killed(store)
    again = opened(tmp_path)
    assert sorted(again.ids(A).tolist()) == [*range(4, many + 1), *range(5001, 5001 + many)]
    again.close()


def test_unused_collections_leave_memory_and_come_back(tmp_path: Path) -> None:
    store = opened(tmp_path, memory_mb=0.1)
    names = [f"modelcache_{number}" for number in range(50)]
    rows = vectors(50)
    for number, name in enumerate(names):
        store.add(name, [number + 1], [P], rows[number : number + 1])
        store.add(name, [number + 101], [Q], rows[number : number + 1])
    assert 1 < len(store._collections) < 20
    assert store._bytes <= 100_000 * 1.05
    for number, name in enumerate(names):
        store.delete(name, [number + 101])
    assert all(found(store, name, P, rows[n], 1) == [n + 1] for n, name in enumerate(names))
    assert all(found(store, name, Q, rows[n], 1) == [] for n, name in enumerate(names))
    store.close()


def test_a_collection_larger_than_the_bound_stays_while_it_is_used(tmp_path: Path) -> None:
    store = opened(tmp_path, memory_mb=0.001)
    store.add(A, [1, 2], [P, P], vectors(2))
    assert found(store, A, P, vectors(1)[0], 1) == [1]
    store.close()


def test_what_cannot_be_saved_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path, memory_mb=0.001)
    store.add(A, [1], [P], vectors(1))

    def fail(*_: object) -> None:
        raise VectorStoreError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("modelcache.manager.vector_data.local.row_file.RowFile.append", fail)
        store.add(B, [2], [P], vectors(1))
        assert found(store, A, P, vectors(1)[0], 1) == [1]
    store.close()
    again = opened(tmp_path)
    assert found(again, A, P, vectors(1)[0], 1) == [1]
    again.close()


def test_a_truncate_during_a_build_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    building, go_on = threading.Event(), threading.Event()
    build = Cells.build

    def slow(*arguments: object) -> Cells:
        building.set()
        assert go_on.wait(60)
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Cells, "build", slow)
    store.add(A, range(1, 201), [P] * 200, vectors(200))
    assert building.wait(60)
    assert found(store, A, P, vectors(5)[4], 1) == [5]  # searches do not wait
    store.add(A, [201], [P], vectors(201)[200:])  # nor do inserts
    store.truncate(A)
    store.add(A, [301], [P], vectors(1))
    go_on.set()
    settled(store)
    assert found(store, A, P, vectors(1)[0]) == [301]
    store.close()
    again = opened(tmp_path)
    assert again.ids(A).tolist() == [301]
    again.close()


@dataclass
class Model:
    """What the store should hold: everything that was added and not deleted, searched by brute force."""

    partitions: Sequence[str]
    rows: dict[int, tuple[str, Embeddings]] = field(default_factory=dict)

    def nearest(self, partition: str, embedding: Embeddings, k: int) -> list[int]:
        cosines = {id_: row @ embedding for id_, (name, row) in self.rows.items() if name == partition}
        return sorted(cosines, key=cosines.__getitem__, reverse=True)[:k]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_random_histories_find_what_brute_force_finds(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    pool = vectors(4000, seed)
    model = Model([P, P, P, Q, "b" * 40, *(f"{number:040d}" for number in range(5))])
    store = opened(tmp_path, memory_mb=chance.choice([0.01, 100]))
    following = 1
    expected = right = 0
    for _ in range(120):
        action = chance.choice(["add", "add", "add", "delete", "search", "save", "reload", "kill", "wait"])
        if action == "add":
            ids = range(following, following + chance.choice([1, 3, 40, 90]))
            following = ids.stop
            names = [chance.choice(model.partitions) for _ in ids]
            rows = pool[[id_ % len(pool) for id_ in ids]]
            store.add(A, ids, names, rows)
            model.rows.update((id_, (name, row)) for id_, name, row in zip(ids, names, rows, strict=True))
        elif action == "delete" and model.rows:
            doomed = chance.sample(sorted(model.rows), min(len(model.rows), chance.choice([1, 10, 100])))
            store.delete(A, doomed)
            for id_ in doomed:
                del model.rows[id_]
        elif action == "save":
            for collection in list(store._collections.values()):
                collection.save()
        elif action == "reload":
            store.close()
            store = opened(tmp_path, memory_mb=chance.choice([0.01, 100]))
        elif action == "kill":
            killed(store)
            store = opened(tmp_path)
            reconcile(store, model)
        elif action == "wait":
            wait_for_upkeep(store)
        assert sorted(store.ids(A).tolist()) == sorted(model.rows)
        for partition in chance.sample(model.partitions, 3):
            asked, k = pool[chance.randrange(len(pool))], chance.choice([1, 5, 30])
            hits = store.search(A, partition, asked, k)
            nearest = model.nearest(partition, asked, k)
            assert len({hit.id for hit in hits}) == len(hits) == len(nearest)
            assert all(model.rows[hit.id][0] == partition for hit in hits)
            cosines = [hit.similarity for hit in hits]
            assert cosines == sorted(cosines, reverse=True)
            assert cosines == pytest.approx([model.rows[hit.id][1] @ asked for hit in hits], abs=5e-5)
            expected += len(nearest)
            right += len({hit.id for hit in hits} & set(nearest))
    # Random vectors in few dimensions are what short codes tell apart worst.
    assert right / expected > 0.95
    store.close()


def reconcile(store: FaissStore, model: Model) -> None:
    """Do what the data manager does at the first use after a kill."""
    present = set(store.ids(A).tolist())
    store.delete(A, sorted(present - set(model.rows)))
    missing = sorted(set(model.rows) - present)
    if missing:
        embeddings = np.stack([model.rows[id_][1] for id_ in missing])
        store.add(A, missing, [model.rows[id_][0] for id_ in missing], embeddings)


@pytest.mark.slow
def test_threads_find_what_they_added_while_all_is_rebuilt(tmp_path: Path) -> None:
    store = opened(tmp_path, memory_mb=0.05)
    rows = vectors(2400)

    def work(worker: int) -> None:
        collection = [A, B][worker % 2]
        for start in range(worker * 300, worker * 300 + 300, 20):
            ids = range(start + 1, start + 21)
            store.add(collection, ids, [P] * 20, rows[start : start + 20])
            assert found(store, collection, P, rows[start], 1) == [start + 1]
            store.delete(collection, list(ids)[10:])
            assert found(store, collection, P, rows[start + 5], 1) == [start + 6]
            store.save()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    kept = {start + 1 + offset for start in range(0, 2400, 20) for offset in range(10)}
    assert set(store.ids(A).tolist()) | set(store.ids(B).tolist()) == kept
    for id_ in sorted(kept):
        assert found(store, [A, B][(id_ - 1) // 300 % 2], P, rows[id_ - 1], 1) == [id_]
    store.close()


@pytest.mark.process
def test_killed_while_files_are_written(tmp_path: Path) -> None:
    chance = random.Random(11)
    pool = vectors(POOL)
    following = 1
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.write_vectors", str(tmp_path), str(following)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(3, 15)):
            saved = int(process.stdout.readline())
        time.sleep(chance.random() * 0.02)  # the moment of the kill is what varies
        process.kill()
        process.communicate()
        store = FaissStore(tmp_path, DIMENSION, INDEX_FROM)
        store.open()
        ids = store.ids(A).tolist()
        # What was saved is there; what came after may be. (Deletions of a killed save may be missing.)
        kept = {id_ for start in range(following, saved + 1, BATCH) for id_ in range(start, start + BATCH)}
        dead = {id_ for start in range(following, saved + 1, BATCH) for id_ in range(start, start + BATCH, 3)}
        assert kept - dead <= set(ids)
        for id_ in ids[-400:]:
            [hit] = store.search(A, P, pool[id_ % POOL], 1)
            assert hit.similarity == pytest.approx(1, abs=5e-5)
            assert hit.id % POOL == id_ % POOL
        store.close()
        following = max(ids) + BATCH
