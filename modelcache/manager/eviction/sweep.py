"""Remove soft-deleted entries for good: vectors first, then rows."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import time

from modelcache.events import Events
from modelcache.manager.names import collection_name
from modelcache.manager.reconcile import reconcile
from modelcache.manager.scalar_data.base import DeadCount, ScalarStore
from modelcache.manager.vector_data.base import VectorStore
from modelcache.records.event import Removed

CHUNK_ROWS = 1000


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """When a model is swept, and after how many of its sweeps its index is compacted."""

    rows: int = 5000
    share: float = 0.1
    compact_every: int = 5


class Sweep:
    """Sweeps one model after another; one process at a time is enough, several do no harm."""

    def __init__(
        self,
        scalars: ScalarStore,
        vectors: VectorStore,
        embedder: str,
        limits: SweepLimits,
        locked: Callable[[str], AbstractContextManager[None]],
        events: Events,
    ) -> None:
        """``locked`` keeps inserts out of a collection, where they would not show before their end."""
        self._locked = locked
        self._scalars = scalars
        self._vectors = vectors
        self.embedder = embedder
        self._limits = limits
        self._events = events
        self._sweeps: dict[str, int] = {}

    def run(self, everything: bool = False) -> int:
        """Retire expired entries and sweep each model that is over its limits, or every one.

        Returns how many rows went. Raises StoreError, and may be repeated.
        """
        if expired := self._scalars.delete_expired(time()):
            self._events.tell(Removed("", "expired", expired))
        removed = 0
        for dead in self._scalars.dead_counts():
            living = self._scalars.count(dead.model_key)
            if everything or self._is_due(dead, living):
                removed += self._sweep_model(dead, is_empty=not living)
        return removed

    def _is_due(self, dead: DeadCount, living: int) -> bool:
        return dead.count > self._limits.rows or dead.count > self._limits.share * (dead.count + living)

    def _sweep_model(self, dead: DeadCount, is_empty: bool) -> int:
        collection = collection_name(dead.model, self.embedder)
        if is_empty:
            # One truncate instead of many deletes; entries inserted meanwhile get their vectors back.
            with self._locked(collection):
                self._vectors.truncate(collection)
                reconcile(self._scalars, self._vectors, dead.model, self.embedder)
        removed = 0
        while rows := self._scalars.dead(dead.model_key, CHUNK_ROWS):
            own = [row.id for row in rows if row.embedder == self.embedder]
            if own:
                self._vectors.delete(collection, own)
            # Rows go last: while one is there, its vector is still known to need removing.
            self._scalars.purge([row.id for row in rows])
            removed += len(rows)
        self._count_sweep(collection)
        return removed

    def _count_sweep(self, collection: str) -> None:
        done = self._sweeps.get(collection, 0) + 1
        if done >= self._limits.compact_every:
            self._vectors.compact(collection)
            done = 0
        self._sweeps[collection] = done
