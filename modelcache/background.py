"""What happens beside the requests: log lines and hit counts are written, removed entries swept."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic, time
from uuid import uuid4

from modelcache.errors import StoreError
from modelcache.manager.data_manager import REMOVALS_SECONDS, SSDataManager
from modelcache.manager.eviction.base import EntryKey
from modelcache.manager.eviction.eviction_manager import EvictionManager
from modelcache.manager.scalar_data.base import HitUse, ScalarStore
from modelcache.records.entry import CachedAnswer
from modelcache.records.log_line import LogLine
from modelcache.records.observation import PendingLookup, Tally
from modelcache.settings import Settings

logger = logging.getLogger(__name__)

BATCH_ITEMS = 500
# Writing waits this long for company: a commit costs the same for one line as for hundreds.
LINGER_SECONDS = 0.2
CLOSE_SECONDS = 10.0
TRIM_EVERY_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
LEASE = "tidy"
LEASE_SECONDS = 30.0
# No insert takes this long between its first and its last step.
UNFINISHED_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Hit:
    entry: CachedAnswer
    at: float


_Item = _Hit | LogLine | PendingLookup | Tally


class BackgroundWriter:
    """Writes log lines and hit counts in batches from a bounded queue.

    A request never waits for it: when the queue is full, what comes is dropped and counted.
    """

    def __init__(self, scalars: ScalarStore, capacity: int, eviction: EvictionManager | None = None) -> None:
        self.dropped = 0
        self._scalars = scalars
        self._eviction = eviction
        self._capacity = capacity
        # Putting into a Queue takes a lock and wakes a thread each time, which a request would pay for.
        self._queue: queue.SimpleQueue[_Item | threading.Event] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modelcache-writer", daemon=True)

    @property
    def waiting(self) -> int:
        """How many log lines and hit counts wait to be written."""
        return self._queue.qsize()

    def open(self) -> None:
        """Start to write."""
        self._thread.start()

    def hit(self, entry: CachedAnswer, at: float) -> None:
        """Count one hit on an entry, at this time (epoch seconds)."""
        self._put(_Hit(entry, at))

    def log(self, line: LogLine) -> None:
        """Append one line to the query log."""
        self._put(line)

    def lookup(self, lookup: PendingLookup) -> None:
        """Keep a look-up until its answer is inserted."""
        self._put(lookup)

    def tally(self, tally: Tally) -> None:
        """Add to the counts of a model."""
        self._put(tally)

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Wait until what was queued before is written; False if that took longer than ``timeout``."""
        written = threading.Event()
        self._queue.put(written)
        self._hurry.set()
        return written.wait(timeout)

    def close(self) -> None:
        """Write what is queued and stop; harmless when repeated."""
        self._closing.set()
        self._hurry.set()
        self._queue.put(threading.Event())  # wakes a writer that waits for something to do
        self._thread.join(CLOSE_SECONDS)
        if self.dropped:
            logger.warning("%d log lines or hit counts were dropped: the queue was full", self.dropped)

    def _put(self, item: _Item) -> None:
        if self._queue.qsize() < self._capacity:
            self._queue.put(item)
        else:
            self.dropped += 1

    def _run(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            try:
                batch = [self._queue.get(timeout=LINGER_SECONDS)]
            except queue.Empty:
                continue
            if self._queue.qsize() < BATCH_ITEMS:
                self._hurry.wait(LINGER_SECONDS)
            if not self._closing.is_set():
                self._hurry.clear()
            while len(batch) < BATCH_ITEMS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                self._write(batch)
            except Exception:
                logger.exception("the background writer failed unexpectedly and goes on")
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()

    def _write(self, batch: Sequence[_Item | threading.Event]) -> None:
        lines = [item for item in batch if isinstance(item, LogLine)]
        uses: dict[str, dict[EntryKey, HitUse]] = {}
        for item in batch:
            if isinstance(item, _Hit):
                of_model = uses.setdefault(item.entry.model_key, {})
                key = EntryKey(item.entry.id, item.entry.fingerprint)
                before = of_model.get(key, HitUse(0, 0.0))
                of_model[key] = HitUse(before.count + 1, max(before.last_used_at, item.at))
        if self._eviction is not None:
            self._eviction.used(uses)
        # One after the other, since what cannot be logged may still be counted.
        by_id = {key.id: use for of_model in uses.values() for key, use in of_model.items()}
        if by_id:
            _attempt(partial(self._scalars.record_hits, by_id), f"{len(by_id)} hit counts")
        if lines:
            _attempt(partial(self._scalars.write_log, lines), f"{len(lines)} log lines")
        if lookups := [item for item in batch if isinstance(item, PendingLookup)]:
            _attempt(partial(self._scalars.keep_lookups, lookups), f"{len(lookups)} look-ups")
        if tallies := [item for item in batch if isinstance(item, Tally)]:
            _attempt(partial(self._scalars.add_tallies, tallies), f"{len(tallies)} tallies")


def _attempt(write: Callable[[], None], what: str) -> None:
    try:
        write()
    except StoreError:
        logger.exception("%s could not be written", what)


class Sweeper:
    """Keeps the stores tidy, in the one process that holds the lease for it.

    Removes soft-deleted and expired entries for good, undoes inserts that were killed half-way, makes
    the vectors in a server agree with the rows, saves indexes, and trims the query log.
    """

    def __init__(self, data_manager: SSDataManager, settings: Settings) -> None:
        self._data_manager = data_manager
        self._interval = settings.sweep_interval
        self._reconcile_interval = settings.reconcile_interval
        self._log_days = settings.query_log_days
        self._statistics_days = settings.statistics_days
        self._lookup_seconds = settings.lookup_seconds
        self._holder = uuid4().hex
        self._next_reconcile = self._next_trim = monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modelcache-sweeper", daemon=True)

    def open(self) -> None:
        """Start to tidy."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the work that is under way; harmless when repeated."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            try:
                self._data_manager.vectors.save()
                if self._is_ours_to_do():
                    self._tidy()
            except StoreError:
                logger.exception("a sweep failed and will be tried again")
            except Exception:
                logger.exception("a sweep failed unexpectedly and will be tried again")

    def _is_ours_to_do(self) -> bool:
        scalars = self._data_manager.scalars
        # Where no other process can be, the lease of one that was killed need not run out first.
        return scalars.exclusive or scalars.take_lease(
            LEASE, self._holder, time(), max(LEASE_SECONDS, 3 * self._interval)
        )

    def _tidy(self) -> None:
        undone = self._data_manager.scalars.discard_unfinished(time() - UNFINISHED_SECONDS)
        removed = self._data_manager.sweep()
        self._data_manager.scalars.trim_lookups(time() - self._lookup_seconds)
        if undone or removed:
            logger.info("undid %d unfinished entries, swept %d removed or expired ones", undone, removed)
        if not self._data_manager.vectors.exclusive and monotonic() >= self._next_reconcile:
            self._data_manager.reconcile_all()
            self._next_reconcile = monotonic() + self._reconcile_interval
        if monotonic() >= self._next_trim:
            self._data_manager.scalars.trim_leases(time() - LEASE_SECONDS)
            self._data_manager.scalars.trim_day_counts(int(time() / DAY_SECONDS) - self._statistics_days)
            self._data_manager.scalars.trim_removals(time() - REMOVALS_SECONDS)
            self._data_manager.scalars.trim_log(time() - self._log_days * DAY_SECONDS)
            self._next_trim = monotonic() + TRIM_EVERY_SECONDS
