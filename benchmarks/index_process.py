"""One index over vectors in a file, in a process of its own: its memory is then the process's.

Usage: index_process.py NAME FOLDER. Reads the case that ``local_indexes`` wrote there, fills the index, looks
how far it must search, and prints a line of JSON. Then, for each line on stdin, which of the questions to
ask, it prints a line of what was found. It needs numpy and what is measured, nothing else.
"""

import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

TOP_K = 5
BATCH = 1000
# From so many entries of a partition on the store uses an index; the libraries are given the same rule.
INDEX_FROM = 4000
TRAINED_ON = 50
ENOUGH = 0.99
Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]


class Engine(Protocol):
    """What is measured: partitions are numbered, ids are the numbers of the vectors."""

    def add(self, places: Numbers, ids: Numbers, vectors: Vectors) -> None:
        """Add vectors, float32 (n, dimension), normalised; ``places`` are the partitions they are in."""

    def finish(self) -> None:
        """Return when all that was added is in place."""

    def search(self, partition: int, vector: Vectors) -> list[int]:
        """Return the ids of the nearest ``TOP_K`` of the partition."""

    def look_further(self) -> bool:
        """Search with twice the effort from now on; False if it is fixed or at its end."""


class Store:
    """ModelCache's own store, files and all."""

    def __init__(self, folder: Path, dimension: int, sizes: list[int]) -> None:
        from modelcache.manager.vector_data.faiss import FaissStore

        self._store = FaissStore(folder / "store", dimension)
        self._store.open()

    def add(self, places: Numbers, ids: Numbers, vectors: Vectors) -> None:
        # The contract takes ids from one on.
        self._store.add("c", (ids + 1).tolist(), list(map(str, places.tolist())), vectors, fresh=True)

    def finish(self) -> None:
        while not self._store.is_kept_up:
            sleep(0.01)

    def search(self, partition: int, vector: Vectors) -> list[int]:
        return [hit.id - 1 for hit in self._store.search("c", str(partition), vector, TOP_K)]

    def look_further(self) -> bool:
        return False


class FaissFactory:
    """What ``faiss.index_factory`` makes: an IVF index for a large partition, a flat one for a small."""

    def __init__(self, folder: Path, dimension: int, sizes: list[int]) -> None:
        import faiss

        self._faiss = faiss
        self._probes = 4
        self._indexes: list[Any] = []
        for size in sizes:
            cells = int(4 * size**0.5)
            kind = f"IVF{cells},Flat" if size >= INDEX_FROM else "Flat"
            made = faiss.index_factory(dimension, f"IDMap,{kind}", faiss.METRIC_INNER_PRODUCT)
            self._indexes.append(made)
        # An IVF index is trained before anything is added to it.
        self._waiting: dict[int, list[tuple[Numbers, Vectors]]] = {}
        self._enough = [TRAINED_ON * int(4 * size**0.5) for size in sizes]

    def add(self, places: Numbers, ids: Numbers, vectors: Vectors) -> None:
        for partition, chosen in _by_partition(places):
            index = self._indexes[partition]
            if index.is_trained:
                index.add_with_ids(vectors[chosen], ids[chosen])
                continue
            waiting = self._waiting.setdefault(partition, [])
            waiting.append((ids[chosen], vectors[chosen]))
            if sum(len(some) for some, _ in waiting) >= self._enough[partition]:
                self._train(partition)

    def finish(self) -> None:
        for partition in list(self._waiting):
            self._train(partition)
        # One question is searched by one thread, as a service does that has many: where the cores are busy,
        # faiss' threads wait for each other for ten milliseconds.
        self._faiss.omp_set_num_threads(1)

    def search(self, partition: int, vector: Vectors) -> list[int]:
        found: list[int] = self._indexes[partition].search(vector[None], TOP_K)[1][0].tolist()
        return found

    def look_further(self) -> bool:
        largest = 0
        self._probes *= 2
        for index in self._indexes:
            inner: Any = self._faiss.downcast_index(index.index)
            if hasattr(inner, "nprobe"):
                inner.nprobe = self._probes
                largest = max(largest, inner.nlist)
        return self._probes <= largest

    def _train(self, partition: int) -> None:
        waiting = self._waiting.pop(partition)
        index = self._indexes[partition]
        index.train(np.concatenate([vectors for _, vectors in waiting]))
        for ids, vectors in waiting:
            index.add_with_ids(vectors, ids)


class USearch:
    """An HNSW graph of usearch for each partition, at half precision."""

    def __init__(self, folder: Path, dimension: int, sizes: list[int]) -> None:
        from usearch.index import Index

        self._indexes = [Index(ndim=dimension, metric="ip", dtype="f16") for _ in sizes]
        self._effort = 32

    def add(self, places: Numbers, ids: Numbers, vectors: Vectors) -> None:
        for partition, chosen in _by_partition(places):
            self._indexes[partition].add(ids[chosen], vectors[chosen])

    def finish(self) -> None:
        pass

    def search(self, partition: int, vector: Vectors) -> list[int]:
        found: list[int] = self._indexes[partition].search(vector, TOP_K).keys.tolist()
        return found

    def look_further(self) -> bool:
        self._effort *= 2
        for index in self._indexes:
            index.expansion_search = self._effort
        return self._effort <= 2048


ENGINES: dict[str, Callable[[Path, int, list[int]], Engine]] = {
    "modelcache": Store,
    "faiss": FaissFactory,
    "usearch": USearch,
}


def main(name: str, folder: Path) -> None:
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    dimension, partitions = case["dimension"], case["partitions"]
    sizes = [len(range(number, case["entries"], partitions)) for number in range(partitions)]
    # Whatever is imported or allocated once is not the index's.
    ENGINES[name](folder / "first", dimension, [10]).add(
        np.zeros(10, np.int64), np.arange(10), np.eye(10, dimension, dtype=np.float32)
    )
    before = _resident_bytes()
    engine = ENGINES[name](folder, dimension, sizes)
    seconds = 0.0
    for ids, vectors in _batches(folder / "vectors.f32", case):
        begun = perf_counter()
        engine.add(ids % partitions, ids, vectors)
        seconds += perf_counter() - begun
    begun = perf_counter()
    engine.finish()
    seconds += perf_counter() - begun
    # What the allocator keeps of arrays that are gone is not the index's either.
    ctypes.CDLL(None).malloc_trim(0)
    taken = _resident_bytes() - before
    _say({"bytes_per_entry": taken / case["entries"], "entries_per_second": case["entries"] / seconds})
    asked = np.load(folder / "asked.npy")
    questions = list(zip(asked, case["asked_in"], case["exact"], strict=True))
    # The effort is found by the first half of the questions, the figures are of the second.
    half = len(questions) // 2
    while _ask(engine, questions[:half])["recall"] < ENOUGH and engine.look_further():
        pass
    _say({"ready": 1.0})
    for line in sys.stdin:
        first, last = map(int, line.split())
        _say(_ask(engine, questions[half + first : half + last]))


def _say(figures: dict[str, float]) -> None:
    print(json.dumps(figures), flush=True)


def _batches(path: Path, case: dict[str, Any]) -> Iterator[tuple[Numbers, Vectors]]:
    """Yield ids and vectors as they come in."""
    entries, dimension = case["entries"], case["dimension"]
    for start in range(0, entries, BATCH):
        count = min(BATCH, entries - start)
        rows = np.fromfile(path, np.float32, count * dimension, offset=4 * start * dimension)
        yield np.arange(start, start + count), rows.reshape(count, dimension)


def _by_partition(places: Numbers) -> Iterator[tuple[int, Numbers]]:
    """Yield each partition with the numbers of its rows."""
    order = np.argsort(places, kind="stable")
    present, starts = np.unique(places[order], return_index=True)
    yield from zip(present.tolist(), np.split(order, starts[1:]), strict=True)


def _ask(engine: Engine, questions: list[tuple[Vectors, int, list[int]]]) -> dict[str, float]:
    """Return which share of the nearest is found, and the median milliseconds of a search."""
    right, milliseconds = 0, []
    for vector, place, nearest in questions:
        begun = perf_counter()
        found = engine.search(place, vector)
        milliseconds.append(1000 * (perf_counter() - begun))
        right += len({*found} & {*nearest})
    of = sum(len(nearest) for _, _, nearest in questions)
    return {"recall": right / of, "p50_ms": float(np.median(milliseconds))}


def _resident_bytes() -> int:
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
