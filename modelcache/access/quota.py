"""How much a caller may ask in a minute."""

import math
import threading
from time import monotonic

MINUTE = 60.0


class Quota:
    """A bucket that a minute fills: so much may be taken at once, and so much in each minute.

    Safe to call from many threads.
    """

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._left = per_minute
        self._at = monotonic()
        self._lock = threading.Lock()

    def take(self, amount: float = 1.0) -> float:
        """Take so much, or nothing: return 0, or the seconds after which it would be there.

        More than a minute's is let through when the bucket is full, since it would never be there.
        """
        with self._lock:
            now = monotonic()
            self._left = min(self._per_minute, self._left + (now - self._at) * self._per_minute / MINUTE)
            self._at = now
            wanted = min(amount, self._per_minute)
            if self._left >= wanted:
                self._left -= wanted
                return 0.0
            return (wanted - self._left) * MINUTE / self._per_minute


def retry_after(seconds: float) -> str:
    """Return the header's value: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))
