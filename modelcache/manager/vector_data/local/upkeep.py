"""One thread that does what would make requests wait."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from modelcache.errors import VectorStoreError

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0


class Upkeep:
    """Calls ``work`` with one name after another, with each once however often it was asked for meanwhile."""

    def __init__(self, work: Callable[[str], None]) -> None:
        self._work = work
        self._names: SimpleQueue[str | None] = SimpleQueue()
        self._waiting: set[str] = set()
        self._undone = 0
        self._lock = threading.Lock()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="modelcache-upkeep", daemon=True)
        self._thread.start()

    def ask(self, name: str) -> None:
        """Have the work done for this name soon."""
        with self._lock:
            if name in self._waiting:
                return
            self._waiting.add(name)
            self._undone += 1
        self._names.put(name)

    @property
    def is_done(self) -> bool:
        """Whether nothing is under way or waiting."""
        return not self._undone

    def close(self) -> None:
        """Stop after the work that is under way, which is left alone if it takes too long."""
        self._is_closing = True
        self._names.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (name := self._names.get()) is not None and not self._is_closing:
            with self._lock:
                self._waiting.discard(name)
            try:
                self._work(name)
            except VectorStoreError:
                logger.exception("the index of %s could not be kept up", name)
            except Exception:
                logger.exception("the upkeep of %s failed unexpectedly and goes on", name)
            finally:
                with self._lock:
                    self._undone -= 1
