"""The vectors of a collection with their ids, in arrays that only grow at their end."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelcache.manager.vector_data.local.lookup import Slots
from modelcache.records.vectors import Embeddings, Ids

DEAD = -1
"""In the place of the id of a deleted vector."""
LARGEST = 32767
# So many rows at a time are turned into float32: what a core's own cache holds.
BLOCK_ROWS = 1024
GROWTH = 1.5

Scores = NDArray[np.float32]


class Arrays(NamedTuple):
    """A row for each slot."""

    ids: Ids
    partitions: NDArray[np.int64]
    scales: NDArray[np.float32]
    vectors: NDArray[np.int16]
    """Each divided by its scale: half the memory of float32, and cosines right to about 0.00001."""

    @classmethod
    def empty(cls, count: int, dimension: int) -> "Arrays":
        return cls(
            np.empty(count, np.int64),
            np.empty(count, np.int64),
            np.empty(count, np.float32),
            np.empty((count, dimension), np.int16),
        )

    def part(self, start: int, stop: int) -> "Arrays":
        """Return the rows of these slots, not copied."""
        run = slice(start, stop)
        return Arrays(self.ids[run], self.partitions[run], self.scales[run], self.vectors[run])

    def take(self, slots: Slots) -> "Arrays":
        """Return copies of the rows of these slots."""
        return Arrays(self.ids[slots], self.partitions[slots], self.scales[slots], self.vectors[slots])

    def put(self, start: int, rows: "Arrays") -> None:
        """Copy these rows to the slots from ``start`` on."""
        run = slice(start, start + len(rows.ids))
        self.ids[run], self.partitions[run] = rows.ids, rows.partitions
        self.scales[run], self.vectors[run] = rows.scales, rows.vectors

    @property
    def nbytes(self) -> int:
        return self.ids.nbytes + self.partitions.nbytes + self.scales.nbytes + self.vectors.nbytes

    def embeddings(self, slots: Slots) -> Embeddings:
        """Return the vectors of these slots as float32."""
        vectors: Embeddings = self.vectors[slots] * self.scales[slots, None]
        return vectors

    def similarities(self, slots: Slots, embedding: Embeddings) -> Scores:
        """Return the cosine of the vector in each slot with this one."""
        count = len(slots)
        scores = np.empty(count, np.float32)
        buffer = np.empty((min(count, BLOCK_ROWS), len(embedding)), np.float32)
        is_run = count > 0 and int(slots[-1]) - int(slots[0]) + 1 == count
        for start in range(0, count, BLOCK_ROWS):
            chosen = slots[start : start + BLOCK_ROWS]
            block = buffer[: len(chosen)]
            # A run of slots is read where it is; others are gathered first.
            block[:] = self.vectors[chosen[0] : chosen[-1] + 1] if is_run else self.vectors[chosen]
            np.dot(block, embedding, out=scores[start : start + len(chosen)])
        scores *= self.scales[slots]
        return scores


class Rows:
    """Arrays with room to grow. One thread at a time may write; others may read ``arrays`` meanwhile."""

    def __init__(self, dimension: int, arrays: Arrays | None = None) -> None:
        self.dimension = dimension
        self.arrays = Arrays.empty(0, dimension) if arrays is None else arrays
        self.count = len(self.arrays.ids)
        self.dead = int((self.arrays.ids == DEAD).sum())

    def append(self, more: Arrays) -> int:
        """Add rows and return the slot of the first."""
        first, count = self.count, self.count + len(more.ids)
        if count > len(self.arrays.ids):
            grown = Arrays.empty(max(count, int(first * GROWTH)), self.dimension)
            grown.put(0, self.arrays.part(0, first))
            # Readers keep the old arrays until they are done with them.
            self.arrays = grown
        self.arrays.put(first, more)
        self.count = count
        self.dead += int((more.ids == DEAD).sum())
        return first

    def kill(self, slots: Slots) -> None:
        """Mark the rows in these slots, all alive, as deleted."""
        self.arrays.ids[slots] = DEAD
        self.dead += len(slots)

    def live_slots(self) -> Slots:
        return np.flatnonzero(self.arrays.ids[: self.count] != DEAD).astype(np.int32)

    @property
    def live(self) -> int:
        return self.count - self.dead

    @property
    def nbytes(self) -> int:
        return self.arrays.part(0, self.count).nbytes


def pack(ids: Ids, partitions: NDArray[np.int64], embeddings: Embeddings) -> Arrays:
    """Turn float32 vectors into rows."""
    highest = np.abs(embeddings).max(axis=1, initial=0)
    scales = np.where(highest > 0, highest / LARGEST, 1).astype(np.float32)
    vectors = np.rint(embeddings / scales[:, None]).astype(np.int16)
    return Arrays(ids, partitions, scales, vectors)
