"""A line of JSON for each request, written beside the requests."""

import json
import logging
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import TextIO

import orjson

from modelcache.watching import Seen

logger = logging.getLogger(__name__)

# More wait only where nobody reads what is written: they are dropped and counted.
MOST_WAITING = 10_000
BATCH_LINES = 16
CLOSE_SECONDS = 5.0


class AccessLog:
    """Writes to a stream, by a thread of its own; a request never waits for it."""

    def __init__(self, stream: TextIO | None = None, *, with_questions: bool = False) -> None:
        """``with_questions`` writes what was asked, too. Without a stream it is stdout."""
        self.dropped = 0
        self._stream = stream
        self._with_questions = with_questions
        self._waiting: queue.SimpleQueue[Seen | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start to write."""
        self._thread = threading.Thread(target=self._run, name="modelcache-access-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and stop; harmless when repeated."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(CLOSE_SECONDS)
        if self.dropped:
            logger.warning("%d lines of the access log were dropped: nobody took them", self.dropped)

    def tell(self, seen: Seen) -> None:
        """Leave a request's line to the background."""
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put(seen)
        else:
            self.dropped += 1

    def _run(self) -> None:
        is_over = False
        while not is_over:
            batch = [self._waiting.get()]
            while len(batch) < BATCH_LINES and not self._waiting.empty():
                batch.append(self._waiting.get())
            is_over = None in batch
            try:
                stream = self._stream or sys.stdout
                stream.write("".join(self._line(seen) for seen in batch if seen is not None))
                stream.flush()
            except (OSError, ValueError):
                # Whoever read it is gone.
                self.dropped += len(batch)

    def _line(self, seen: Seen) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(seen.at, UTC),
            "request_id": seen.request_id,
            "method": seen.method,
            "path": seen.path,
            "status": seen.status,
            "milliseconds": round(1000 * seen.seconds, 3),
            "api": seen.api,
            "model": seen.model,
            "outcome": seen.outcome,
            "hit_type": seen.hit_type,
            "reason": seen.reason,
        }
        if self._with_questions:
            told["question"] = seen.question
        try:
            return orjson.dumps(told).decode() + "\n"
        except TypeError:
            # What came from a request may hold half a surrogate pair, which has no UTF-8.
            return json.dumps(told, default=str) + "\n"
