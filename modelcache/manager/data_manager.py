"""The order in which the two stores are written, and what happens when one of them fails.

The rows are the truth and the vectors an index over them. An insert writes rows (WRITING), then
vectors, then makes the rows live, or does all three in one transaction where no other process looks on;
a removal soft-deletes the rows, and a sweep later removes the vectors, then the rows. Killed between
any two steps, what is left is either live and complete or not live at all, and what is left over of the
rest is removed later.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import time
from typing import Any

from modelcache.errors import OutdatedError, StoreError, VectorStoreError
from modelcache.events import Events
from modelcache.manager.eviction.base import EntryKey
from modelcache.manager.eviction.eviction_manager import EvictionManager
from modelcache.manager.eviction.sweep import Sweep, SweepLimits
from modelcache.manager.names import collection_name
from modelcache.manager.reconcile import index_vector, index_vectors, reconcile
from modelcache.manager.scalar_data.base import MAX_ID, ScalarStore
from modelcache.manager.vector_data.base import VectorHit, VectorStore
from modelcache.records.entry import CachedAnswer, Candidate, NewAnswer
from modelcache.records.event import Removed
from modelcache.records.names import model_key
from modelcache.records.removal import Unremoved, of_model_key, scope_key, source_key, tag_key
from modelcache.records.vectors import Embeddings, from_bytes

logger = logging.getLogger(__name__)

# A search asks for more than it needs, since the nearest vectors may belong to rows just removed.
SPARE_HITS = 8
WIDEN_BY = 4
LOCK_STRIPES = 64
# So far the clocks of two machines may be apart.
CLOCK_SECONDS = 1.0
# So long it is known when something was removed.
REMOVALS_SECONDS = 86_400.0


class SSDataManager:
    """Coordinates scalar storage and vector storage; every method raises StoreError when one fails."""

    def __init__(
        self,
        scalars: ScalarStore,
        vectors: VectorStore,
        embedder: str,
        eviction: EvictionManager | None = None,
        limits: SweepLimits | None = None,
        events: Events | None = None,
    ) -> None:
        self.scalars = scalars
        self.vectors = vectors
        self.embedder = embedder
        self.eviction = eviction
        self._events = events or Events()
        self._sweep = Sweep(scalars, vectors, embedder, limits or SweepLimits(), self._locked, self._events)
        self._reconciled: set[str] = set()
        # A truncate must not run between an insert's rows and its vectors: one lock per model,
        # taken from a fixed number of them, since anybody may name any number of models.
        self._locks = [threading.Lock() for _ in range(LOCK_STRIPES)]

    def open(self) -> None:
        """Open both stores and undo what a kill left half written.

        A model's vectors are made to match its rows when it is first used: there may be any number.
        """
        self.vectors.open()
        try:
            self.scalars.open()
            if self.vectors.exclusive:
                self.scalars.discard_unfinished(time())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close both stores; harmless when repeated."""
        try:
            self.vectors.close()
        finally:
            self.scalars.close()

    def use_embedder(self, name: str) -> None:
        """Keep and search vectors under this name from now on."""
        self.embedder = name
        self._sweep.embedder = name

    def ping(self) -> None:
        """Return if both stores answer."""
        self.scalars.ping()
        self.vectors.ping()

    def register(self, model: str) -> bool:
        """Create the model's collection; False if it was there already."""
        return self.vectors.create(collection_name(model, self.embedder))

    def insert(self, model: str, answers: Sequence[NewAnswer], asked_at: float | None = None) -> list[int]:
        """Store all answers of one model or none, and return their ids in order.

        When it returns they are on disk and answer; an older entry of an equal question no longer does.
        OutdatedError where something of theirs was removed since ``asked_at``, when they were looked up.
        """
        collection = self._usable_collection(model)
        self._reconciled.add(collection)
        fingerprints = [new.fingerprint for new in answers]
        write = self._write_at_once if self.scalars.exclusive else self._write_in_steps
        unremoved = None if asked_at is None else self._unremoved(answers, asked_at)
        with self._room_for(model, len(answers)), self._locked(collection):
            ids = write(collection, answers, unremoved)
        if self.eviction is not None:
            live = {fingerprint: id_ for id_, fingerprint in zip(ids, fingerprints, strict=True)}
            entries = [EntryKey(id_, fingerprint) for fingerprint, id_ in live.items()]
            self.eviction.added(model_key(model), entries)
        return ids

    def find_exact(self, fingerprint: str) -> CachedAnswer | None:
        """Return the live entry of an equal question, or None."""
        return self.scalars.find_exact(fingerprint, time())

    def find_live(self, model: str, id_: int) -> CachedAnswer | None:
        """Return the live entry of this model with this id (any integer), or None."""
        if not 0 < id_ <= MAX_ID:
            return None
        entry = self.scalars.get_live([id_], time()).get(id_)
        return entry if entry is not None and entry.model_key == model_key(model) else None

    def search(
        self, model: str, partition: str, embedding: Embeddings, k: int, context: Embeddings | None = None
    ) -> list[Candidate]:
        """Return up to ``k`` live entries of the partition, nearest first, read together with their rows.

        ``context`` is (turns, dimension), one or more: the embeddings of the question's earlier turns, as far
        as they are embedded. Nearest then is what is like in these and the last turn.
        """
        collection = self._usable_collection(model)
        sought = embedding if context is None else index_vector(embedding, context)
        wanted = k + SPARE_HITS
        while True:
            hits = self.vectors.search(collection, partition, sought, wanted)
            live = self._live_among(hits, partition, k)
            if len(live) >= k or len(hits) < wanted:
                return [self._told_apart(one, embedding, context) for one in live[:k]]
            wanted *= WIDEN_BY

    def _told_apart(
        self, candidate: Candidate, embedding: Embeddings, context: Embeddings | None
    ) -> Candidate:
        """Compare the last turns by themselves and, where both have as many that are embedded, the others."""
        kept = candidate.entry.embedding
        if context is None and len(kept) <= embedding.nbytes:
            return candidate
        own = from_bytes(kept).reshape(-1, len(embedding))
        earlier: tuple[float, ...] = ()
        if context is not None and len(own) == len(context) + 1:
            earlier = tuple((own[1:] * context).sum(axis=1).tolist())
        return Candidate(candidate.entry, float(own[0] @ embedding), earlier)

    def _live_among(self, hits: Sequence[VectorHit], partition: str, k: int) -> list[Candidate]:
        """Return the nearest of these whose rows are live, at least ``k`` if there are so many."""
        # A race may have left a vector twice; the nearest counts.
        nearest = {hit.id: hit.similarity for hit in reversed(hits)}
        order = list(reversed(nearest))
        live: list[Candidate] = []
        # As a rule the first rows are all live, and the spare ones need not be read.
        for ids in (order[:k], order[k:]):
            if len(live) < k and ids:
                rows = self.scalars.get_live(ids, time())
                live += [
                    Candidate(rows[id_], nearest[id_])
                    for id_ in ids
                    if id_ in rows and rows[id_].partition == partition
                ]
        return live

    def delete(self, model: str, ids: Sequence[int], *, dry_run: bool = False) -> int:
        """Remove entries of this model by id; they stop answering at once. Returns how many there were.

        With ``dry_run``, here and below, nothing is changed, and as many would be removed.
        """
        if dry_run:
            return sum(self.find_live(model, id_) is not None for id_ in set(ids))
        return self._removed(model, "id", self.scalars.delete(model_key(model), ids))

    def delete_tagged(self, model: str, tags: Sequence[str], *, dry_run: bool = False) -> int:
        """Remove the entries of this model that carry any of the tags; returns how many there were.

        Here and below, what was looked up before and is inserted with ``asked_at`` is held back.
        """
        key = model_key(model)
        self._note(dry_run, *(tag_key(key, tag) for tag in tags))
        return self._removed(model, "tag", self.scalars.delete_tagged(key, tags, dry_run=dry_run), dry_run)

    def delete_sourced(self, model: str, sources: Sequence[str], *, dry_run: bool = False) -> int:
        """Remove the entries of this model made from any of the sources; returns how many there were."""
        key = model_key(model)
        self._note(dry_run, *(source_key(key, source) for source in sources))
        count = self.scalars.delete_sourced(key, sources, dry_run=dry_run)
        return self._removed(model, "source", count, dry_run)

    def delete_scoped(self, model: str, scope: Mapping[str, Any], *, dry_run: bool = False) -> int:
        """Remove the entries of this model whose scope holds all of these, at least one; returns how many."""
        key = model_key(model)
        # One of them holds back more than all together would, and never less.
        name, value = min(scope.items())
        self._note(dry_run, scope_key(key, name, value))
        return self._removed(model, "scope", self.scalars.delete_scoped(key, scope, dry_run=dry_run), dry_run)

    def delete_older(self, model: str, seconds: float, *, dry_run: bool = False) -> int:
        """Remove the entries of this model that are older; returns how many there were."""
        key = model_key(model)
        self._note(dry_run, of_model_key(key))
        count = self.scalars.delete_older(key, time() - seconds, dry_run=dry_run)
        return self._removed(model, "age", count, dry_run)

    def truncate_all(self, *, dry_run: bool = False) -> int:
        """Remove every entry of every model; returns how many there were."""
        return sum(self.truncate(model, dry_run=dry_run) for model in self.scalars.models())

    def truncate(self, model: str, *, dry_run: bool = False) -> int:
        """Remove every entry of this model and its query log; returns how many entries there were."""
        collection = collection_name(model, self.embedder)
        if dry_run:
            return self.scalars.count(model_key(model))
        self._note(dry_run, of_model_key(model_key(model)))
        with self._locked(collection):
            count = self.scalars.truncate(model_key(model))
            if self.vectors.exclusive:
                self._truncate_vectors(collection)
        # Elsewhere the sweep does it, since dropping a collection may take seconds. Nothing answers
        # any more either way: the rows are gone.
        if self.eviction is not None:
            self.eviction.removed(model_key(model))
        return self._removed(model, "truncate", count)

    def _removed(self, model: str, cause: str, count: int, dry_run: bool = False) -> int:
        """Tell those who listen, unless nothing was done, and return the count."""
        if count and not dry_run:
            self._events.tell(Removed(model_key(model), cause, count))
        return count

    def sweep(self, everything: bool = False) -> int:
        """Remove soft-deleted and expired entries for good where there are many, or all of them."""
        return self._sweep.run(everything)

    def reconcile_all(self) -> None:
        """Make the vectors of every model agree with its rows."""
        for model in self.scalars.models():
            with self._locked(collection_name(model, self.embedder)):
                reconcile(self.scalars, self.vectors, model, self.embedder)

    def _note(self, dry_run: bool, *keys: str) -> None:
        """Hold back, from now on, what was looked up before a removal and is not inserted yet."""
        if not dry_run and keys:
            self.scalars.note_removal(keys)

    def _unremoved(self, answers: Sequence[NewAnswer], asked_at: float) -> Unremoved:
        # Another machine's clock, which told when the removal was, may be behind this one's.
        since = asked_at - (CLOCK_SECONDS if self.scalars.remote else 0.0)
        if since < time() - REMOVALS_SECONDS:
            raise OutdatedError("asked_at: it is too long ago to tell what was removed since")
        return Unremoved.of(answers, since)

    def _usable_collection(self, model: str) -> str:
        """Return the model's collection; one in this process is made to match the rows on first use."""
        collection = collection_name(model, self.embedder)
        if self.vectors.exclusive and collection not in self._reconciled:
            with self._locked(collection):
                # A model without entries is not remembered: anybody may ask about any number of them.
                if collection not in self._reconciled:
                    done = reconcile(self.scalars, self.vectors, model, self.embedder)
                    if done.rows or done.removed:
                        self._reconciled.add(collection)
        return collection

    def _add_vectors(self, collection: str, ids: Sequence[int], answers: Sequence[NewAnswer]) -> None:
        embedded = [
            (id_, new.partition, new.embedding)
            for id_, new in zip(ids, answers, strict=True)
            if new.embedding is not None
        ]
        if embedded:
            kept_ids, partitions, packed = zip(*embedded, strict=True)
            vectors = index_vectors(packed, self.vectors.dimension)
            self.vectors.add(collection, kept_ids, partitions, vectors, fresh=True)

    def _write_in_steps(
        self, collection: str, answers: Sequence[NewAnswer], unremoved: Unremoved | None
    ) -> list[int]:
        """Write rows, then vectors, then make the rows live: other processes see no half of it."""
        ids = self.scalars.add(answers)
        acknowledged = False
        try:
            self._add_vectors(collection, ids, answers)
            self.scalars.activate(ids, [new.fingerprint for new in answers], unremoved)
            acknowledged = True
        finally:
            if not acknowledged:
                self._discard(ids)
        return ids

    def _write_at_once(
        self, collection: str, answers: Sequence[NewAnswer], unremoved: Unremoved | None
    ) -> list[int]:
        """Write rows and vectors in one transaction of the rows, which only this process sees until then.

        Killed inside, vectors without rows are left, which answer nothing; the next use of the model
        after the start removes them.
        """
        begun: list[int] = []

        def index(ids: list[int]) -> None:
            begun.extend(ids)
            self._add_vectors(collection, ids, answers)

        done = False
        try:
            ids = self.scalars.insert_live(answers, index, unremoved)
            done = True
        finally:
            if not done and begun:
                self._take_back(collection, begun)
        return ids

    def _take_back(self, collection: str, ids: Sequence[int]) -> None:
        try:
            self.vectors.delete(collection, ids)
        except VectorStoreError:
            # They have no rows, so they answer nothing, and their ids are not given again.
            logger.exception("%d vectors of a failed insert could not be removed", len(ids))

    def _truncate_vectors(self, collection: str) -> None:
        try:
            self.vectors.truncate(collection)
        except VectorStoreError:
            logger.exception("the vectors of a truncated model are left to the sweep")

    def _discard(self, ids: Sequence[int]) -> None:
        try:
            self.scalars.discard(ids)
        except StoreError:
            # They answer nothing in state WRITING, and the next start discards them.
            logger.exception("%d rows of a failed insert could not be discarded", len(ids))

    def _room_for(self, model: str, count: int) -> AbstractContextManager[None]:
        return nullcontext() if self.eviction is None else self.eviction.room_for(model_key(model), count)

    @contextmanager
    def _locked(self, collection: str) -> Iterator[None]:
        """Keep inserts, truncates and reconciles of a model apart where that cannot be put right later.

        An insert at once shows its rows at its end only, so its vectors would be taken for strays.

        Where other processes write too, a lock in this one would not help: there, the sweep that
        drops a collection reconciles it afterwards.
        """
        if not self.vectors.exclusive:
            yield
            return
        with self._locks[hash(collection) % LOCK_STRIPES]:
            yield
