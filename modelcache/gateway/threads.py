"""Threads for what waits on the server behind, so that it takes none of those that look up."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger(__name__)


class Threads:
    """A pool without a queue: what finds no free thread is refused; safe to use from many threads."""

    def __init__(self, limit: int) -> None:
        self._free = threading.BoundedSemaphore(limit)
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="modelcache-gateway")

    def take(self) -> bool:
        """Take one of the places; False if there is none. ``run`` or ``leave`` gives it back."""
        return self._free.acquire(blocking=False)

    def leave(self) -> None:
        """Give a place back."""
        self._free.release()

    def run(self, work: Callable[[], object]) -> None:
        """Do the work on a thread of its own, in a place that was taken."""

        def done() -> None:
            try:
                work()
            except Exception:
                logger.exception("a request failed unexpectedly")
            finally:
                self.leave()

        self._pool.submit(done)

    def close(self) -> None:
        """Take no more work; what is under way comes to its end by itself."""
        self._pool.shutdown(wait=False)
