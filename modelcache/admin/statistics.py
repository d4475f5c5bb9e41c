"""What happened on each day, counted in the scalar store: summed over workers, kept over restarts.

A request only puts its event into a queue. A thread beside the requests adds up what is there each second,
and writes the sums: a few dozen rows a model and day, however many requests there are.
"""

import logging
import math
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from time import time
from typing import Any

from modelcache.core import Service
from modelcache.errors import ModelCacheError, StoreError
from modelcache.manager.patience import one_request
from modelcache.prices import Prices
from modelcache.records.day_count import DayCount
from modelcache.records.event import HIT, MISS, Compared, Inserted, Queried, Told

logger = logging.getLogger(__name__)

WRITE_EVERY_SECONDS = 1.0
# Beyond what a process does in that time; more is dropped, the oldest first, rather than fill the memory.
MOST_WAITING = 200_000
CLOSE_SECONDS = 5.0
# Models by name in one process; all others are one, so that nobody can fill a database with names.
MOST_MODELS = 1000
OTHER = ("", "(other)")
DAY_SECONDS = 86_400
MOST_NAME_CHARS = 64
# Look-ups are counted by how long they took, in steps of a fifth from a hundredth of a millisecond on.
SHORTEST_MS, STEP = 0.01, 1.2
LONGEST = 120

HITS, MISSES, WITHHELD, INSERTED = "hit.", MISS, "withheld", "inserted"
VETO, FEEDBACK, COMPARED = "veto.", "feedback.", "compared."
PROMPT, COMPLETION, DOLLARS = "tokens.prompt", "tokens.completion", "usd"
TOOK = "ms."


def today() -> int:
    """Return the day, UTC, in days since 1970."""
    return int(time() // DAY_SECONDS)


def step_of(seconds: float) -> int:
    """Return the first step that is not shorter."""
    steps = math.ceil(math.log(max(1000 * seconds, SHORTEST_MS) / SHORTEST_MS, STEP))
    return min(max(0, steps), LONGEST)


def milliseconds_of(step: int) -> float:
    """Return how long a step is."""
    return SHORTEST_MS * STEP**step


class Statistics:
    """Counts what a service tells; safe to use from many threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._prices = Prices.from_settings(service.settings)
        self._waiting: deque[Any] = deque(maxlen=MOST_WAITING)
        self._sums: dict[tuple[int, str, str, str], float] = defaultdict(float)
        self._models: dict[str, str] = {}
        self._writing = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False
        for kind in (Queried, Inserted, Told, Compared):
            service.events.listen(kind, self._waiting.append)

    def open(self) -> None:
        """Start to write."""
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, name="modelcache-statistics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and stop; harmless when repeated."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            self._thread = None
            self._write()

    def _run(self) -> None:
        while not self._closing.wait(WRITE_EVERY_SECONDS):
            self._write()

    def _write(self) -> None:
        """Add up what waits and write it; what cannot be written stays for the next time."""
        try:
            with self._writing:
                day = today()
                for _ in range(len(self._waiting)):
                    self._add(self._waiting.popleft(), day)
                if self._sums:
                    counts = [DayCount(*key, amount) for key, amount in self._sums.items()]
                    with one_request():
                        self._service.cache.data_manager.scalars.add_day_counts(counts)
                    self._sums.clear()
            self._failing = False
        except ModelCacheError as exc:
            if not self._failing and isinstance(exc, StoreError):
                logger.warning("statistics could not be written and wait: %s", exc)
            self._failing = True
        except Exception:
            logger.exception("counting failed and goes on")

    def _add(self, event: Any, day: int) -> None:
        key, model = self._named(event.model_key, getattr(event, "model", ""))
        for name, amount in self._counted(event):
            self._sums[day, key, model, name[:MOST_NAME_CHARS]] += amount

    def _counted(self, event: Any) -> Iterator[tuple[str, float]]:
        if isinstance(event, Queried):
            yield from self._of_query(event)
        elif isinstance(event, Inserted):
            yield INSERTED, event.entries
        elif isinstance(event, Told):
            yield FEEDBACK + event.verdict, 1
        elif isinstance(event, Compared):
            yield COMPARED + event.verdict, 1

    def _of_query(self, event: Queried) -> Iterator[tuple[str, float]]:
        is_hit = event.outcome == HIT
        yield HITS + event.hit_type if is_hit else event.outcome, 1
        if is_hit or event.outcome == MISS:
            yield f"{TOOK}{event.outcome}.{step_of(event.seconds)}", 1
        if event.veto and not is_hit:
            yield VETO + event.veto, 1
        if event.is_withheld:
            yield WITHHELD, 1
        if is_hit and event.usage is not None:
            yield PROMPT, event.usage.prompt
            yield COMPLETION, event.usage.completion
            yield DOLLARS, self._prices.usd(event.model, event.usage) or 0.0

    def _named(self, model_key: str, model: str) -> tuple[str, str]:
        known = self._models.get(model_key)
        if known is not None and (known or not model):
            return model_key, known
        if len(self._models) >= MOST_MODELS:
            return OTHER
        self._models[model_key] = model
        return model_key, model
