"""The index of a large partition: cells of neighbours, in which short codes are scanned.

A search looks only into the cells around the question (an inverted file), and there compares 4-bit codes
(a product quantizer), a hundred at once. What comes out is a few hundred candidates; the caller ranks
them by their vectors. How many cells that are is told by the question: where one cell stands out, few.
It takes new entries without being trained anew, and needs little over half a byte a dimension.
"""

import json
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelcache.manager.vector_data.local.centroids import Centroids, Places, train
from modelcache.manager.vector_data.local.files import replacing
from modelcache.manager.vector_data.local.library import faiss
from modelcache.manager.vector_data.local.lookup import Slots
from modelcache.manager.vector_data.local.rows import Arrays
from modelcache.manager.vector_data.local.shared_lock import SharedLock
from modelcache.records.vectors import Embeddings

logger = logging.getLogger(__name__)

CELLS_PER_ROOT = 4
"""Cells for so many vectors: this times the square root of their number."""
SCANNED_WHOLE = 40_000
"""Up to so many vectors, the cells are few and all looked into: scanning their codes takes a third of a
millisecond for 10,000, and finds the nearest as surely as comparing the vectors does."""
SAMPLE_PER_CELL = 32
CODE_SAMPLE = 20_000
CODE_BITS = 4
CHUNK_ROWS = 20_000
# Which cells to look into: those nearer than this share of the way from the nearest cell to the one that is
# nearer than all but FIELD of them; but not fewer than LEAST, nor more than this many times the square root
# of their number. Measured on questions near cached ones and on others, from 20,000 to 1,000,000 vectors: the
# recall of the five nearest stays over 0.99, at about half the codes that a fixed number of cells takes.
REACH = 0.6
FIELD = 0.3
LEAST = 90
PROBES_PER_ROOT = 6.0
OUTGROWN = 3.0
"""From how many times the vectors it was trained for on an index is trained anew."""
# A heap over lists that are scanned one after another: the fastest of faiss's ways for one question.
ONE_QUESTION = 10


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an index belongs to."""

    generation: str
    covered: int
    trained_on: int


class Cells:
    """Indexes the slots of one partition below ``covered``; later ones are for the caller to compare.

    One thread at a time may extend; others may search meanwhile.
    """

    def __init__(self, index: Any, covered: int, trained_on: int) -> None:
        self.covered = covered
        self.trained_on = trained_on
        self.saved = 0
        self._index = index
        quantizer: Any = faiss().downcast_index(index.quantizer)
        self._points: Embeddings = (
            faiss().rev_swig_ptr(quantizer.get_xb(), index.nlist * index.d).reshape(index.nlist, index.d)
        )
        """The quantizer's own, not copied."""
        self._every_cell = np.arange(index.nlist, dtype=np.int64).reshape(1, -1)
        self._centroids: Centroids | None = None
        self._lock = SharedLock()
        index.implem = ONE_QUESTION
        index.nprobe = min(index.nlist, max(LEAST, round(PROBES_PER_ROOT * index.nlist**0.5)))

    @classmethod
    def build(cls, arrays: Arrays, slots: Slots, covered: int) -> "Cells":
        """Index these slots, which are all of the partition below ``covered``."""
        chance = np.random.default_rng(len(slots))
        count = min(len(slots), _cells_for(len(slots)))
        size = min(len(slots), SAMPLE_PER_CELL * count)
        sample = arrays.embeddings(np.sort(chance.choice(slots, size, replace=False)))
        centroids = train(sample, count, chance)
        index = _trained(centroids, sample[:CODE_SAMPLE])
        cells = cls(_filled(index, centroids, arrays, slots), covered, len(slots))
        cells._centroids = centroids
        return cells

    def rebuilt(self, arrays: Arrays, slots: Slots, covered: int) -> "Cells":
        """Return an index of these slots instead, trained anew only if it was outgrown."""
        if len(slots) > OUTGROWN * self.trained_on or not len(slots):
            return Cells.build(arrays, slots, covered)
        own = self._own_centroids()
        index = _filled(_like(self._index, own), own, arrays, slots)
        cells = Cells(index, covered, self.trained_on)
        cells._centroids = self._centroids
        return cells

    def extend(self, arrays: Arrays, slots: Slots, covered: int) -> None:
        """Index these slots too, which are all of the partition between the old ``covered`` and the new."""
        # The work is done beside; searches wait only while lists are joined.
        own = self._own_centroids()
        more = _filled(_like(self._index, own), own, arrays, slots)
        with self._lock.writing():
            self._index.merge_from(more, 0)
            self.covered = covered

    def search(self, embedding: Embeddings, count: int) -> Slots:
        """Return up to ``count`` slots of vectors that are probably near, in no order."""
        cells, closeness = self._cells_around(embedding)
        with self._lock.reading():
            slots = self._index.search_preassigned(embedding.reshape(1, -1), count, cells, closeness)[1][0]
        near: Slots = slots[slots >= 0].astype(np.int32)
        return near

    def _cells_around(self, embedding: Embeddings) -> tuple[Places, Embeddings]:
        """Return the numbers of the cells to look into and their cosines, both (1, nprobe); -1 for none."""
        closeness = self._points @ embedding
        if self._index.nprobe == len(closeness):
            return self._every_cell, closeness.reshape(1, -1)
        most, further = self._index.nprobe, round((1 - FIELD) * (len(closeness) - 1))
        nearest, field = closeness.max(), np.partition(closeness, further)[further]
        chosen = np.flatnonzero(closeness >= nearest - REACH * (nearest - field))
        if not LEAST <= len(chosen) <= most:
            wanted = min(max(len(chosen), LEAST), most)
            chosen = np.argpartition(-closeness, wanted - 1)[:wanted]
        cells = np.full((1, most), -1, np.int64)
        cells[0, : len(chosen)] = chosen
        cosines = np.zeros((1, most), np.float32)
        cosines[0, : len(chosen)] = closeness[chosen]
        return cells, cosines

    @property
    def count(self) -> int:
        """How many slots are indexed, dead ones among them."""
        return int(self._index.ntotal)

    @property
    def nbytes(self) -> int:
        a_vector, a_cell = self._index.M2 // 2 + 8, self._index.d * 8 + 64
        return int(self._index.ntotal * a_vector + self._index.nlist * a_cell)

    def save(self, path: Path, generation: str) -> None:
        """Write the index to a file; VectorStoreError if that fails."""
        with self._lock.reading():
            stamp = Stamp(generation, self.covered, self.trained_on)
            data = faiss().serialize_index(self._index)
        head = {"stamp": [stamp.generation, stamp.covered, stamp.trained_on], "crc": zlib.crc32(data.data)}
        with replacing(path) as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(data.data)
        self.saved = stamp.covered

    @classmethod
    def load(cls, path: Path, generation: str, count: int) -> "Cells | None":
        """Read an index of these first ``count`` rows, or None where the file is of others, or damaged."""
        try:
            with path.open("rb") as file:
                head = json.loads(file.readline())
                data = np.fromfile(file, np.uint8)
            stamp = Stamp(*head["stamp"])
            if zlib.crc32(data.data) != head["crc"]:
                raise ValueError("its checksum is wrong")
        except (OSError, ValueError, KeyError, TypeError) as exc:
            logger.warning("the index %s is damaged (%s) and will be built anew", path, exc)
            return None
        if stamp.generation != generation or stamp.covered > count:
            return None
        cells = cls(faiss().deserialize_index(data), stamp.covered, stamp.trained_on)
        cells.saved = stamp.covered
        return cells

    def _own_centroids(self) -> Centroids:
        if self._centroids is None:
            self._centroids = Centroids(self._index.quantizer.reconstruct_n(0, self._index.nlist))
        return self._centroids


def _cells_for(count: int) -> int:
    """Return how many cells are good for so many vectors."""
    return LEAST if count <= SCANNED_WHOLE else round(CELLS_PER_ROOT * count**0.5)


def _trained(centroids: Centroids, sample: Embeddings) -> Any:
    """Return an empty index with these cells and codes that suit the sample."""
    index = _empty(centroids)
    index.pq.train(sample - centroids.points[centroids.assign(sample)])
    return index


def _like(index: Any, centroids: Centroids) -> Any:
    """Return an empty index with the same cells, which are given, and the same codes."""
    empty = _empty(centroids)
    empty.pq = index.pq
    return empty


def _empty(centroids: Centroids) -> Any:
    count, dimension = centroids.points.shape
    library = faiss()
    quantizer: Any = library.IndexFlatIP(dimension)
    quantizer.add(centroids.points)
    codes = dimension // 2 if dimension % 2 == 0 else dimension
    index: Any = library.IndexIVFPQ(
        quantizer, dimension, count, codes, CODE_BITS, library.METRIC_INNER_PRODUCT
    )
    index.by_residual = True
    index.pq.cp.min_points_per_centroid = 1  # fewer are no reason to warn
    index.is_trained = True
    # The index frees it, not Python.
    quantizer.this.disown()
    index.own_fields = True
    return index


def _filled(empty: Any, centroids: Centroids, arrays: Arrays, slots: Slots) -> Any:
    """Add the vectors of these slots and return the form of the index that is scanned fast."""
    library = faiss()
    for start in range(0, len(slots), CHUNK_ROWS):
        chunk = slots[start : start + CHUNK_ROWS]
        vectors = arrays.embeddings(chunk)
        ids, places = chunk.astype(np.int64), centroids.assign(vectors)
        pointers = [library.swig_ptr(array) for array in (vectors, ids, places)]
        empty.add_core(len(chunk), *pointers)
    fast: Any = library.IndexIVFPQFastScan(empty)
    empty.own_fields, fast.own_fields = False, True
    return fast
