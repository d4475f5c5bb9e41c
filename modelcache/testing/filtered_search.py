"""What an approximate index must do inside a partition: the filter must not starve the neighbours."""

import numpy as np

from modelcache.manager.names import collection_name
from modelcache.manager.vector_data.base import VectorStore
from modelcache.records.vectors import normalise_rows

COLLECTION = collection_name("large", "hash-v1")
COUNT = 20_000
DIMENSION = 64
QUESTIONS = 40
# Vectors by partition: few, a share that is neither few nor most, and the rest.
SIZES = {"a" * 40: 200, "b" * 40: 2_000, "c" * 40: COUNT - 2_200}
ENOUGH = 0.95


def fill(store: VectorStore) -> dict[str, tuple[list[int], np.ndarray]]:
    """Add COUNT random vectors, in one collection; returns each partition's ids and vectors."""
    random = np.random.default_rng(7)
    rows = normalise_rows(random.normal(size=(COUNT, DIMENSION)))
    partitions = np.repeat(list(SIZES), list(SIZES.values()))
    random.shuffle(partitions)
    store.add(COLLECTION, range(1, COUNT + 1), partitions.tolist(), rows)
    return {
        name: ((np.flatnonzero(partitions == name) + 1).tolist(), rows[partitions == name]) for name in SIZES
    }


def recall(store: VectorStore, partition: str, ids: list[int], rows: np.ndarray, k: int) -> float:
    """Return which share of the k nearest in the partition is found, over questions near its vectors."""
    random = np.random.default_rng(8)
    asked = random.choice(len(rows), QUESTIONS)
    noise = normalise_rows(random.normal(size=(QUESTIONS, DIMENSION)))
    questions = normalise_rows(rows[asked] + 0.5 * noise)
    right = 0
    for question in questions:
        nearest = {ids[row] for row in np.argsort(-(rows @ question))[:k]}
        right += len(nearest & {hit.id for hit in store.search(COLLECTION, partition, question, k)})
    return right / (QUESTIONS * min(k, len(rows)))


def assert_the_filter_starves_nothing(store: VectorStore) -> None:
    """Fill the store, then look for neighbours in partitions of every size."""
    filled = fill(store)
    assert len(store.ids(COLLECTION)) == COUNT
    reached = {(SIZES[name], k): recall(store, name, *filled[name], k) for name in SIZES for k in (1, 13, 52)}
    short = {key: share for key, share in reached.items() if key[0] < COUNT / 2 and share < ENOUGH}
    assert short == {}, reached
    # Over most of the collection it is the plain graph that answers, from which the nearest counts.
    assert reached[SIZES["c" * 40], 1] >= ENOUGH, reached
    smallest, (ids, rows) = "a" * 40, filled["a" * 40]
    assert {hit.id for hit in store.search(COLLECTION, smallest, rows[0], COUNT)} == set(ids)
