"""The order in which the two stores are written, and what happens when one of them fails.

The rows are the truth and the vectors an index over them. An insert writes rows (WRITING), then
vectors, then makes the rows live; a removal soft-deletes the rows, and a sweep later removes the
vectors, then the rows. Killed between any two steps, what is left is either live and complete or
not live at all, and ``open`` puts the rest in order.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import time

import numpy as np

from modelcache.embedding.base import Embeddings
from modelcache.errors import StoreError, VectorStoreError
from modelcache.manager.names import collection_name, model_key
from modelcache.manager.scalar_data.base import CachedAnswer, NewAnswer, ScalarStore
from modelcache.manager.vector_data.base import VectorStore

logger = logging.getLogger(__name__)

# A search asks for more than it needs, since the nearest vectors may belong to rows just removed.
SPARE_HITS = 8
WIDEN_BY = 4
SWEEP_ROWS = 1000
REBUILD_ROWS = 5000
LOCK_STRIPES = 64


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live entry near the question."""

    entry: CachedAnswer
    similarity: float
    """Cosine of the two questions' embeddings, -1..1."""


class SSDataManager:
    """Coordinates scalar storage and vector storage; every method raises StoreError when one fails."""

    def __init__(self, scalars: ScalarStore, vectors: VectorStore, embedder: str) -> None:
        self.scalars = scalars
        self.vectors = vectors
        self.embedder = embedder
        self._reconciled: set[str] = set()
        # A truncate must not run between an insert's rows and its vectors: one lock per model,
        # taken from a fixed number of them, since anybody may name any number of models.
        self._locks = [threading.Lock() for _ in range(LOCK_STRIPES)]

    def open(self) -> None:
        """Open both stores, undo what a kill left half written, and make the vectors match the rows."""
        self.vectors.open()
        try:
            self.scalars.open()
            undone = self.scalars.discard_unfinished(time())
            if undone:
                logger.info("undid %d entries whose insert was never acknowledged", undone)
            for model in self.scalars.models():
                self._reconciled_collection(model)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close both stores; harmless when repeated."""
        try:
            self.vectors.close()
        finally:
            self.scalars.close()

    def ping(self) -> None:
        """Return if both stores answer."""
        self.scalars.ping()
        self.vectors.ping()

    def register(self, model: str) -> bool:
        """Create the model's collection; False if it was there already."""
        return self.vectors.create(collection_name(model, self.embedder))

    def insert(self, model: str, answers: Sequence[NewAnswer]) -> list[int]:
        """Store all answers of one model or none, and return their ids in order.

        When it returns they are on disk and answer; an older entry of an equal question no longer does.
        """
        collection = self._reconciled_collection(model)
        self._reconciled.add(collection)
        with self._lock(collection):
            ids = self.scalars.add(answers)
            acknowledged = False
            try:
                self._add_vectors(collection, ids, answers)
                self.scalars.activate(ids, [new.fingerprint for new in answers])
                acknowledged = True
            finally:
                if not acknowledged:
                    self._discard(ids)
        return ids

    def find_exact(self, fingerprint: str) -> CachedAnswer | None:
        """Return the live entry of an equal question, or None."""
        return self.scalars.find_exact(fingerprint, time())

    def search(self, model: str, partition: str, embedding: Embeddings, k: int) -> list[Candidate]:
        """Return up to ``k`` live entries of the partition, nearest first, read together with their rows."""
        collection = self._reconciled_collection(model)
        wanted = k + SPARE_HITS
        while True:
            hits = self.vectors.search(collection, partition, embedding, wanted)
            rows = self.scalars.get_live([hit.id for hit in hits], time())
            live = [
                Candidate(rows[hit.id], hit.similarity)
                for hit in hits
                if hit.id in rows and rows[hit.id].partition == partition
            ]
            if len(live) >= k or len(hits) < wanted:
                return live[:k]
            wanted *= WIDEN_BY

    def delete(self, model: str, ids: Sequence[int]) -> int:
        """Remove entries of this model by id; they stop answering at once. Returns how many there were."""
        return self.scalars.delete(model_key(model), ids)

    def delete_tagged(self, model: str, tags: Sequence[str]) -> int:
        """Remove the entries of this model that carry any of the tags; returns how many there were."""
        return self.scalars.delete_tagged(model_key(model), tags)

    def truncate(self, model: str) -> int:
        """Remove every entry of this model and its query log; returns how many entries there were."""
        collection = collection_name(model, self.embedder)
        with self._lock(collection):
            count = self.scalars.truncate(model_key(model))
            try:
                self.vectors.truncate(collection)
            except VectorStoreError:
                # The rows are gone, so nothing answers any more; the sweep removes the vectors.
                logger.exception("the vectors of a truncated model are left to the sweep")
        return count

    def sweep(self) -> int:
        """Retire expired entries, then remove soft-deleted ones for good; returns how many rows went."""
        self.scalars.delete_expired(time())
        removed = 0
        while dead := self.scalars.dead(SWEEP_ROWS):
            doomed: dict[str, list[int]] = {}
            for row in dead:
                if row.embedder == self.embedder:
                    doomed.setdefault(collection_name(row.model, self.embedder), []).append(row.id)
            for collection, ids in doomed.items():
                self.vectors.delete(collection, ids)
            # Rows go last: while one is there, its vector is still known to need removing.
            self.scalars.purge([row.id for row in dead])
            removed += len(dead)
        return removed

    def _reconciled_collection(self, model: str) -> str:
        """Return the model's collection, its vectors made to match the rows on its first use."""
        collection = collection_name(model, self.embedder)
        if collection not in self._reconciled:
            with self._lock(collection):
                # A model without entries is not remembered: anybody may ask about any number of them.
                if collection not in self._reconciled and self._reconcile(model, collection):
                    self._reconciled.add(collection)
        return collection

    def _reconcile(self, model: str, collection: str) -> bool:
        """Give every live row its vector and every vector a live row; False if there are neither."""
        wanted = np.array(self.scalars.embedded_ids(model_key(model), self.embedder), np.int64)
        present = self.vectors.ids(collection)
        surplus = np.setdiff1d(present, wanted)
        missing = np.setdiff1d(wanted, present)
        if len(surplus):
            self.vectors.delete(collection, surplus.tolist())
        for start in range(0, len(missing), REBUILD_ROWS):
            rows = self.scalars.embeddings(missing[start : start + REBUILD_ROWS].tolist())
            vectors = np.stack([from_bytes(row.embedding) for row in rows])
            self.vectors.add(collection, [row.id for row in rows], [row.partition for row in rows], vectors)
        if len(surplus) or len(missing):
            logger.info(
                "collection %s: read %d vectors from the rows, removed %d without a row",
                collection,
                len(missing),
                len(surplus),
            )
        return bool(len(wanted) or len(present))

    def _add_vectors(self, collection: str, ids: Sequence[int], answers: Sequence[NewAnswer]) -> None:
        embedded = [
            (id_, new.partition, from_bytes(new.embedding))
            for id_, new in zip(ids, answers, strict=True)
            if new.embedding is not None
        ]
        if embedded:
            kept_ids, partitions, vectors = zip(*embedded, strict=True)
            self.vectors.add(collection, kept_ids, partitions, np.stack(vectors))

    def _discard(self, ids: Sequence[int]) -> None:
        try:
            self.scalars.discard(ids)
        except StoreError:
            # They answer nothing in state WRITING, and the next start discards them.
            logger.exception("%d rows of a failed insert could not be discarded", len(ids))

    def _lock(self, collection: str) -> threading.Lock:
        return self._locks[hash(collection) % LOCK_STRIPES]


def to_bytes(embedding: Embeddings) -> bytes:
    """Pack one vector as a row keeps it: float32, little-endian."""
    return embedding.astype("<f4").tobytes()


def from_bytes(data: bytes) -> Embeddings:
    """Unpack a row's vector, float32 (dimension,)."""
    return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
