"""How the stores are, and how many entries each model has, as a scrape shows it.

Both are asked for on a thread of their own, and only when somebody scrapes: a store that hangs makes no
scrape wait, and counting entries, which takes long where there are many, is done the less often the longer
it takes.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelcache.core import Cache, Service
from modelcache.errors import ModelCacheError, StoreError
from modelcache.manager.patience import one_request
from modelcache.records.names import model_key

logger = logging.getLogger(__name__)

# A scrape waits this long for news, and shows what is known otherwise.
WAIT_SECONDS = 1.0
LOOK_SECONDS = 2.0
COUNT_SECONDS = 10.0
# Counting takes this share of the time at most.
SHARE = 0.02
SCALAR, VECTOR = "scalar", "vector"


@dataclass(slots=True)
class _Known:
    up: dict[str, bool] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)


class StoresSeen(Collector):
    """Collects the gauges that are the same whichever process is scraped."""

    def __init__(self, service: Service, most_models: int, other: str) -> None:
        """Models beyond ``most_models``, those with the fewest entries, are ``other`` together."""
        self._service = service
        self._most_models = most_models
        self._other = other
        self._known = _Known()
        self._looking = threading.Lock()
        self._next_look = 0.0
        self._next_count = 0.0

    def registry(self) -> CollectorRegistry:
        """Return a registry of these gauges alone."""
        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def describe(self) -> Iterator[Metric]:
        """Give nothing: registering must not ask the stores."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Give the gauges."""
        is_ready = self._service.is_open and not self._service.draining
        yield GaugeMetricFamily("modelcache_ready", "Whether the service is open.", float(is_ready))
        if self._service.is_open:
            self._look()
        known = self._known
        up = GaugeMetricFamily("modelcache_store_up", "Whether the store answers.", labels=["store"])
        for store, answers in known.up.items():
            up.add_metric([store], float(answers))
        yield up
        entries = GaugeMetricFamily("modelcache_entries", "Live entries.", labels=["model"])
        for model, count in known.entries.items():
            entries.add_metric([model], count)
        yield entries

    def _look(self) -> None:
        """Ask the stores beside, if it is time and nobody does, and wait a little for the outcome."""
        if monotonic() < self._next_look or not self._looking.acquire(blocking=False):
            return
        done = threading.Event()
        threading.Thread(target=self._ask, args=(done,), name="modelcache-stores-seen", daemon=True).start()
        done.wait(WAIT_SECONDS)

    def _ask(self, done: threading.Event) -> None:
        try:
            cache = self._service.cache
            manager = cache.data_manager
            up = {SCALAR: _answers(manager.scalars.ping), VECTOR: _answers(manager.vectors.ping)}
            self._known = _Known(up, self._known.entries)
            if up[SCALAR] and monotonic() >= self._next_count:
                self._known = _Known(up, self._counted(cache))
        except ModelCacheError as exc:
            logger.warning("entries could not be counted: %s", exc)
        except Exception:
            logger.exception("the stores could not be looked at")
        finally:
            self._next_look = monotonic() + LOOK_SECONDS
            self._looking.release()
            done.set()

    def _counted(self, cache: Cache) -> dict[str, int]:
        started = monotonic()
        scalars = cache.data_manager.scalars
        counts = {model: scalars.count(model_key(model)) for model in scalars.models()}
        took = monotonic() - started
        self._next_count = started + max(COUNT_SECONDS, took / SHARE)
        order = sorted(counts, key=lambda model: (-counts[model], model))
        shown = {model: counts[model] for model in order[: self._most_models]}
        if rest := order[self._most_models :]:
            shown[self._other] = shown.get(self._other, 0) + sum(counts[model] for model in rest)
        return shown


def _answers(ping: Callable[[], None]) -> bool:
    try:
        with one_request():
            ping()
    except StoreError:
        return False
    return True
