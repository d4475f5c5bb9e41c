"""Keeps each model under its size: soft-deletes what is worth least before an insert goes past it."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from modelcache.errors import ScalarStoreError, StoreError
from modelcache.events import Events
from modelcache.manager.eviction.base import EntryKey, EvictionBook
from modelcache.manager.eviction.limits import SizeLimits
from modelcache.manager.patience import time_left, waiting
from modelcache.manager.scalar_data.base import HitUse, ScalarStore
from modelcache.records.event import Removed

logger = logging.getLogger(__name__)

LOCK_STRIPES = 64


@dataclass(slots=True)
class _Tally:
    """What this process knows of a model's size."""

    uncounted: int
    """Entries inserted since the model was counted."""
    pending: int = 0
    """Entries that are being inserted, which no count tells yet."""


class EvictionManager:
    """Counts a model's entries now and then, and evicts in steps of ``clean_size``.

    Counting costs a scan of an index, so a worker counts once in ``clean_size`` inserted entries:
    with several workers a model may exceed its limit by one ``clean_size`` for each of them.
    """

    def __init__(
        self,
        scalars: ScalarStore,
        book: EvictionBook,
        limits: SizeLimits,
        clean_size: int,
        *,
        fallback: EvictionBook | None = None,
        limit: float = 2.0,
        events: Events | None = None,
    ) -> None:
        """``fallback`` names the victims while the book fails; ``limit`` is how long an insert waits."""
        self._scalars = scalars
        self._book = book
        self._fallback = fallback
        self._limits = limits
        self._clean_size = clean_size
        self._limit = limit
        self._events = events or Events()
        self._tallies: dict[str, _Tally] = {}
        self._stale: set[str] = set()
        self._turns = [threading.Lock() for _ in range(LOCK_STRIPES)]
        self._lock = threading.Lock()

    def limit_models(self, sizes: Mapping[str, int]) -> None:
        """Set the limits that models have of their own (0: none), by key; all others have that of all."""
        for model_key in self._limits.set(sizes):
            # What a book knows of a model may depend on how many entries that may have.
            self._forget(model_key)

    @contextmanager
    def room_for(self, model_key: str, count: int) -> Iterator[None]:
        """Insert so many entries inside; what must go for them is evicted before. Never fails the insert."""
        most = self._limits.of(model_key)
        if not most:
            yield
            return
        with self._lock:
            # The first insert of this process counts at once: it knows nothing of the others.
            tally = self._tallies.setdefault(model_key, _Tally(uncounted=self._clean_size))
        with self._turn(model_key):
            if tally.uncounted + count < self._clean_size:
                tally.uncounted += count
            else:
                expected = tally.pending + count
                has_room = self._try("a model's size could not be checked", self._evict, model_key, expected)
                tally.uncounted = max(0, expected - most) if has_room else self._clean_size
            tally.pending += count
        try:
            yield
        finally:
            with self._turn(model_key):
                tally.pending -= count

    def added(self, model_key: str, entries: Sequence[EntryKey]) -> None:
        """Note inserted entries; never fails the insert."""
        most = self._limits.of(model_key)
        if not most:
            return
        self._try_book(model_key, lambda book: book.add(model_key, entries))
        if len(entries) > most:
            self._try("a model's size could not be checked", self._evict, model_key, 0)

    def used(self, uses: Mapping[str, Mapping[EntryKey, HitUse]]) -> None:
        """Note hits, by model key; never fails."""
        for model_key, of_model in uses.items():
            if self._limits.of(model_key):
                self._note_uses(model_key, of_model)

    def removed(self, model_key: str) -> None:
        """Note that entries of the model were removed otherwise than by eviction; never fails."""
        if self._limits.of(model_key):
            self._forget(model_key)

    def _forget(self, model_key: str) -> None:
        self._try_book(model_key, lambda book: book.forget(model_key))

    def _note_uses(self, model_key: str, uses: Mapping[EntryKey, HitUse]) -> None:
        self._try_book(model_key, lambda book: book.use(model_key, uses))

    def _evict(self, model_key: str, expected: int) -> None:
        """Evict if the model is over its size, or would be with so many more entries."""
        over = self._over(model_key, expected)
        if over <= 0:
            return
        wanted = max(over, self._clean_size)
        evicted = 0
        # The book may name entries that are gone already; ask on until enough living ones went.
        while evicted < wanted:
            victims = self._victims(model_key, wanted - evicted)
            if not victims:
                self._try_book(model_key, lambda book: book.forget(model_key))
                break
            gone = self._scalars.delete(model_key, victims)
            self._events.tell(Removed(model_key, "evicted", gone))
            evicted += gone
            # Another worker may just have evicted the same ones.
            if gone < len(victims) and self._over(model_key, expected) <= 0:
                break
        logger.info("evicted %d entries of a model that was over its size", evicted)

    def _over(self, model_key: str, expected: int) -> int:
        return self._scalars.count(model_key) + expected - self._limits.of(model_key)

    def _victims(self, model_key: str, count: int) -> list[int]:
        try:
            return self._current_book(model_key).victims(model_key, count)
        except StoreError:
            if self._fallback is None:
                raise
            logger.exception("the eviction book failed; the order is read from the rows")
            self._stale.add(model_key)
            return self._fallback.victims(model_key, count)

    def _current_book(self, model_key: str) -> EvictionBook:
        """Return the book, which is read anew if it missed something while it could not be reached."""
        if model_key in self._stale:
            self._book.forget(model_key)
            self._stale.discard(model_key)
        return self._book

    def _try_book(self, model_key: str, note: Callable[[EvictionBook], None]) -> None:
        if not self._try("the eviction book failed", lambda: note(self._current_book(model_key))):
            self._stale.add(model_key)

    def _try(self, trouble: str, action: Callable[..., None], *arguments: object) -> bool:
        try:
            action(*arguments)
        except StoreError:
            logger.exception("%s; the next insert tries again", trouble)
            return False
        return True

    @contextmanager
    def _turn(self, model_key: str) -> Iterator[None]:
        """Let one insert of a model at a time make room; none waits for ever, or for more than its limit."""
        turn = self._turns[hash(model_key) % LOCK_STRIPES]
        with waiting(ScalarStoreError, self._limit):
            has_turn = turn.acquire(timeout=time_left(self._limit))
        try:
            yield
        finally:
            if has_turn:
                turn.release()
