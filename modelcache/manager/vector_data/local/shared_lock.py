"""A lock that many readers hold at once, or one writer alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedLock:
    """A writer that waits lets no further reader in, so that it waits for one search at most."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._is_written = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._is_written)
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._is_written)
            self._is_written = True
            self._condition.wait_for(lambda: not self._readers)
        try:
            yield
        finally:
            with self._condition:
                self._is_written = False
                self._condition.notify_all()
