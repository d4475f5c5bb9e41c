"""What a collection holds under one numbering of slots, and how it is searched."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from modelcache.manager.vector_data.base import VectorHit
from modelcache.manager.vector_data.local.cells import Cells
from modelcache.manager.vector_data.local.lookup import Keys, SlotLookup, Slots
from modelcache.manager.vector_data.local.rows import DEAD, Arrays, Rows
from modelcache.records.vectors import Embeddings, Ids

# Candidates ranked by their vectors for one search of a large partition; codes alone rank too roughly.
CANDIDATES = 200
CANDIDATES_PER_HIT = 8
WIDEN_BY = 8


class Contents:
    """Rows, found by id and by partition. One thread at a time may write; others may search meanwhile."""

    def __init__(self, dimension: int, arrays: Arrays | None = None) -> None:
        self.rows = Rows(dimension, arrays)
        self.by_id = SlotLookup()
        self.by_partition = SlotLookup()
        self.cells: dict[int, Cells] = {}
        """Of large partitions, by their key."""
        if self.rows.count:
            self.by_id.add_many(self.rows.arrays.ids, 0)
            self.by_partition.add_many(self.rows.arrays.partitions, 0)

    def add(self, arrays: Arrays) -> None:
        """Append rows. Only then are they found."""
        first = self.rows.append(arrays)
        self.by_id.add(arrays.ids, first)
        self.by_partition.add(arrays.partitions, first)

    def live_slots_of(self, ids: Ids) -> Slots:
        """Return the slots of those of the ids that are there, in the order of their slots."""
        slots = self.by_id.find_last(ids)
        slots = np.unique(slots[slots >= 0])
        is_live: Slots = slots[self.rows.arrays.ids[slots] != DEAD]
        return is_live

    def are_absent(self, ids: Ids) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
        """Tell for each id whether it is not there."""
        slots = self.by_id.find_last(ids)
        return (slots < 0) | (self.rows.arrays.ids[slots] == DEAD) if self.rows.count else slots < 0

    def search(self, key: int, embedding: Embeddings, k: int) -> list[VectorHit]:
        """Return up to ``k`` nearest live vectors of the partition with this key, nearest first."""
        cells = self.cells.get(key)
        if cells is None:
            return self._best(self.by_partition.find(key), embedding, k)
        depth = max(CANDIDATES, CANDIDATES_PER_HIT * k)
        # Vectors that came after the index was last extended are few, and compared one by one.
        rest = self.by_partition.find(key, cells.covered)
        while depth < cells.count:
            # In order, which is faster to read, and each once: the index may have been extended meanwhile.
            found = cells.search(embedding, depth)
            slots = np.unique(np.concatenate([found, rest])) if len(rest) else np.sort(found)
            hits = self._best(slots, embedding, k)
            if len(hits) >= k:
                return hits
            # Those around the question are dead.
            depth *= WIDEN_BY
        return self._best(self.by_partition.find(key), embedding, k)

    def compacted(self, slots: Slots) -> "Contents":
        """Return contents with the rows of these slots only, numbered anew and indexed where these were."""
        made = Contents(self.rows.dimension, self.rows.arrays.take(slots))
        for key, cells in self.cells.items():
            own = made.by_partition.find(key)
            if len(own):
                made.cells[key] = cells.rebuilt(made.rows.arrays, own, made.rows.count)
        return made

    @property
    def nbytes(self) -> int:
        indexes = sum(cells.nbytes for cells in list(self.cells.values()))
        return self.rows.nbytes + self.by_id.nbytes + self.by_partition.nbytes + indexes

    def _best(self, slots: Slots, embedding: Embeddings, k: int) -> list[VectorHit]:
        # Read after the slots were found, so that each of them is in the arrays.
        arrays = self.rows.arrays
        scores = arrays.similarities(slots, embedding)
        ids = arrays.ids[slots]
        is_live = ids != DEAD
        if not is_live.all():
            ids, scores = ids[is_live], scores[is_live]
        if len(ids) > k:
            nearest = np.argpartition(-scores, k - 1)[:k]
            ids, scores = ids[nearest], scores[nearest]
        order = np.argsort(-scores)
        return [
            VectorHit(id_, score)
            for id_, score in zip(ids[order].tolist(), scores[order].tolist(), strict=True)
        ]


def partition_key(partition: str) -> int:
    """Hash a partition's name to 64 bits; should two ever share a key, the rows tell them apart."""
    return int.from_bytes(blake2b(partition.encode(), digest_size=8).digest(), "little", signed=True)


def partition_keys(partitions: Sequence[str]) -> Keys:
    """Hash the names of many partitions, of which few may be different."""
    known = {partition: partition_key(partition) for partition in set(partitions)}
    return np.array([known[partition] for partition in partitions], np.int64)
