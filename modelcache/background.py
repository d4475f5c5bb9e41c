"""What happens beside the requests: log lines and hit counts are written, removed entries swept."""

import contextlib
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, time

from modelcache.errors import StoreError
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.scalar_data.base import HitUse, LogLine, ScalarStore

logger = logging.getLogger(__name__)

BATCH_ITEMS = 500
# Writing waits this long for company: a commit costs the same for one line as for hundreds.
LINGER_SECONDS = 0.2
CLOSE_SECONDS = 10.0
TRIM_EVERY_SECONDS = 3600.0
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class _Hit:
    id: int
    at: float


class BackgroundWriter:
    """Writes log lines and hit counts in batches from a bounded queue.

    A request never waits for it: when the queue is full, what comes is dropped and counted.
    """

    def __init__(self, scalars: ScalarStore, capacity: int) -> None:
        self.dropped = 0
        self._scalars = scalars
        self._queue: queue.Queue[_Hit | LogLine | threading.Event] = queue.Queue(capacity)
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modelcache-writer", daemon=True)
        self._thread.start()

    def hit(self, entry_id: int, at: float) -> None:
        """Count one hit on an entry, at this time (epoch seconds)."""
        self._put(_Hit(entry_id, at))

    def log(self, line: LogLine) -> None:
        """Append one line to the query log."""
        self._put(line)

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Wait until what was queued before is written; False if that took longer than ``timeout``."""
        written = threading.Event()
        self._hurry.set()
        try:
            self._queue.put(written, timeout=timeout)
        except queue.Full:
            return False
        return written.wait(timeout)

    def close(self) -> None:
        """Write what is queued and stop; harmless when repeated."""
        self._closing.set()
        self._hurry.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(threading.Event())  # wakes a writer that waits for something to do
        self._thread.join(CLOSE_SECONDS)
        if self.dropped:
            logger.warning("%d log lines or hit counts were dropped: the queue was full", self.dropped)

    def _put(self, item: _Hit | LogLine) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            try:
                batch = [self._queue.get(timeout=LINGER_SECONDS)]
            except queue.Empty:
                continue
            if self._hurry.wait(LINGER_SECONDS) and not self._closing.is_set():
                self._hurry.clear()
            while len(batch) < BATCH_ITEMS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                self._write(batch)
            except StoreError:
                logger.exception("%d log lines or hit counts could not be written", len(batch))
            except Exception:
                logger.exception("the background writer failed unexpectedly and goes on")
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()

    def _write(self, batch: Sequence[_Hit | LogLine | threading.Event]) -> None:
        lines = [item for item in batch if isinstance(item, LogLine)]
        uses: dict[int, HitUse] = {}
        for item in batch:
            if isinstance(item, _Hit):
                before = uses.get(item.id, HitUse(0, 0.0))
                uses[item.id] = HitUse(before.count + 1, max(before.last_used_at, item.at))
        if lines:
            self._scalars.write_log(lines)
        if uses:
            self._scalars.record_hits(uses)


class Sweeper:
    """Removes soft-deleted and expired entries for good, saves indexes, and trims the query log."""

    def __init__(self, data_manager: SSDataManager, interval: float, log_days: float) -> None:
        self._data_manager = data_manager
        self._interval = interval
        self._log_days = log_days
        self._next_trim = monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modelcache-sweeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the sweep that is under way; harmless when repeated."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            try:
                self._sweep()
            except StoreError:
                logger.exception("a sweep failed and will be tried again")
            except Exception:
                logger.exception("a sweep failed unexpectedly and will be tried again")

    def _sweep(self) -> None:
        removed = self._data_manager.sweep()
        if removed:
            logger.info("swept %d removed or expired entries", removed)
        self._data_manager.vectors.save()
        if monotonic() >= self._next_trim:
            self._data_manager.scalars.trim_log(time() - self._log_days * DAY_SECONDS)
            self._next_trim = monotonic() + TRIM_EVERY_SECONDS
