"""Few requests at a time do what needs the interpreter's lock all along."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 0.05


class Admission:
    """Limits how many threads are inside ``admitted``; safe to use from many threads.

    Each call into NumPy or SQLite drops the interpreter's lock, and where many threads want it, another
    takes it every time: with sixteen requests in a process this was seen to double the processor time of
    a search. It is a courtesy, no promise: after ``PATIENCE_SECONDS`` nobody waits any longer, so that
    a search that is slow for once, as the first of a large model is, holds up no other.
    """

    def __init__(self, limit: int) -> None:
        self._free = threading.BoundedSemaphore(limit)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Wait until there is room, and take it for as long as the block runs."""
        taken = self._free.acquire(timeout=PATIENCE_SECONDS)
        try:
            yield
        finally:
            if taken:
                self._free.release()
