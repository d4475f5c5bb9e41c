"""What Prometheus scrapes: counts, durations and ages of what happens in the service.

A request only puts its event into a queue. A thread beside the requests counts what is there a few times a
second, many at once, which costs a fraction of counting each. Of several processes each writes files of its
own, in the folder that PROMETHEUS_MULTIPROC_DIR names, and any of them reads all; that variable must be set
before this module is imported.
"""

import logging
import os
import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from modelcache.admin.shared_metrics import FOLDER_VARIABLE
from modelcache.admin.stores_seen import StoresSeen
from modelcache.core import Service
from modelcache.prices import Prices
from modelcache.records.event import (
    BYPASS,
    HIT,
    Embedded,
    Failed,
    Inserted,
    Queried,
    Removed,
    SentOn,
    Told,
)

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Hashable)

COUNT_EVERY_SECONDS = 0.25
# Beyond what a process does in that time; more is dropped, the oldest first, rather than fill the memory.
MOST_WAITING = 100_000
CLOSE_SECONDS = 5.0
# Models by name in one process; all others are one, so that nobody can fill a database with names.
MOST_MODELS = 50
OTHER = "other"
NONE = "none"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UPSTREAM_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0, 600.0)
AGES = (MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 30 * DAY)
KINDS = (Queried, Inserted, Removed, Told, Embedded, SentOn, Failed)


class Metrics:
    """Counts what a service tells; safe to use from many threads."""

    def __init__(self, service: Service) -> None:
        # When a count began is known to Prometheus by itself, and would double the number of series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._service = service
        self._prices = Prices.from_settings(service.settings)
        self._is_shared = FOLDER_VARIABLE in os.environ
        self._registry = CollectorRegistry()
        self._stores = StoresSeen(service, MOST_MODELS, OTHER)
        self._waiting: deque[Any] = deque(maxlen=MOST_WAITING)
        self._counting = threading.Lock()
        self._models: set[str] = set()
        self._dropped_before = 0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._counts: Mapping[type[Any], Callable[[Sequence[Any]], None]] = {
            Queried: self._count_queries,
            Inserted: lambda all_: self._add(self._inserts, Tally(_sums(all_, lambda one: (one.api,)))),
            Removed: lambda all_: self._add(self._removals, Tally(_sums(all_, lambda one: (one.cause,)))),
            Told: lambda all_: self._add(self._feedback, Tally((one.verdict,) for one in all_)),
            Embedded: self._count_embeddings,
            SentOn: lambda all_: self._observe(
                self._upstream, [((one.status,), one.seconds) for one in all_]
            ),
            Failed: lambda all_: self._add(
                self._errors, Tally((one.api, one.request, str(one.code)) for one in all_)
            ),
        }
        self._make()
        for kind in KINDS:
            service.events.listen(kind, self._waiting.append)

    def open(self) -> None:
        """Start to count."""
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, name="modelcache-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Count what waits, and stop; harmless when repeated."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
        self.count()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format; nothing here waits long for a store."""
        self.count()
        registry = self._registry
        if self._is_shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(self._stores.registry())

    def count(self) -> None:
        """Count all events that wait."""
        with self._counting:
            batch: dict[type[Any], list[Any]] = defaultdict(list)
            for _ in range(len(self._waiting)):
                event = self._waiting.popleft()
                batch[type(event)].append(event)
            for kind, events in batch.items():
                self._counts[kind](events)
            self._look_at_writer()

    def _run(self) -> None:
        while not self._closing.wait(COUNT_EVERY_SECONDS):
            try:
                self.count()
            except Exception:
                logger.exception("counting failed and goes on")

    def _make(self) -> None:
        """Make the metrics; `docs/monitoring.md` tells what each is."""
        self._requests = self._counter("requests", "Queries answered.", "api", "outcome", "hit_type")
        self._bypasses = self._counter("bypasses", "Queries that the cache had no part in.", "reason")
        self._vetoes = self._counter("vetoes", "Queries whose nearest entry a rule refused.", "rule")
        self._withheld = self._counter("withheld", "Answers found that the mode does not serve.")
        self._errors = self._counter("errors", "Requests refused or failed.", "api", "request", "code")
        self._inserts = self._counter("inserts", "Entries stored.", "api")
        self._removals = self._counter("removals", "Entries that answer no more.", "cause")
        self._feedback = self._counter("feedback", "Answers that users judged.", "verdict")
        self._tokens = self._counter("tokens_saved", "Tokens of answers from the cache.", "model", "type")
        self._costs = self._counter("cost_saved_usd", "What these tokens cost, by list prices.", "model")
        self._texts = self._counter("embedded_texts", "Texts embedded.")
        self._embedding_failures = self._counter("embedding_failures", "Failed calls of the embedder.")
        self._dropped = self._counter("writer_dropped", "Log lines and hit counts dropped.")
        self._lookups = self._histogram("lookup_duration_seconds", "What look-ups took.", SECONDS, "hit_type")
        self._embedding = self._histogram("embedding_duration_seconds", "What embedding took.", SECONDS)
        self._upstream = self._histogram(
            "upstream_duration_seconds", "Until the server behind answered.", UPSTREAM_SECONDS, "status"
        )
        self._ages = self._histogram("entry_age_seconds", "Age of entries that answered.", AGES)
        self._queue = Gauge(
            "modelcache_writer_queue",
            "Log lines and hit counts that wait to be written.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"modelcache_{name}", what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"modelcache_{name}", what, labels, buckets=buckets, registry=self._registry)

    def _count_queries(self, queries: Sequence[Queried]) -> None:
        self._add(self._requests, Tally((one.api, one.outcome, one.hit_type or NONE) for one in queries))
        looked = [((one.hit_type or NONE,), one.seconds) for one in queries if one.outcome != BYPASS]
        self._observe(self._lookups, looked)
        self._add(self._bypasses, Tally((one.reason,) for one in queries if one.outcome == BYPASS))
        self._add(self._vetoes, Tally((one.veto,) for one in queries if one.veto))
        self._withheld.inc(sum(one.is_withheld for one in queries))
        hits = [one for one in queries if one.outcome == HIT]
        self._observe(self._ages, [((), one.entry_age) for one in hits if one.entry_age is not None])
        saved: Tally[tuple[str, ...]] = Tally()
        for one in hits:
            if one.usage is not None:
                model = self._named(one.model)
                saved[model, "prompt"] += one.usage.prompt
                saved[model, "completion"] += one.usage.completion
                self._costs.labels(model).inc(self._prices.usd(one.model, one.usage) or 0.0)
        self._add(self._tokens, saved)

    def _count_embeddings(self, calls: Sequence[Embedded]) -> None:
        self._observe(self._embedding, [((), one.seconds) for one in calls if not one.failed])
        self._texts.inc(sum(one.texts for one in calls if not one.failed))
        self._embedding_failures.inc(sum(one.failed for one in calls))

    def _look_at_writer(self) -> None:
        if self._service.is_open:
            writer = self._service.cache.writer
            self._queue.set(writer.waiting)
            self._dropped.inc(max(0, writer.dropped - self._dropped_before))
            self._dropped_before = writer.dropped

    def _named(self, model: str) -> str:
        """Return the label of a model: its name, while there are few."""
        if model not in self._models:
            if len(self._models) >= MOST_MODELS:
                return OTHER
            self._models.add(model)
        return model

    @staticmethod
    def _add(counter: Counter, amounts: Mapping[tuple[str, ...], int]) -> None:
        for labels, amount in amounts.items():
            counter.labels(*labels).inc(amount)

    @staticmethod
    def _observe(histogram: Histogram, values: Sequence[tuple[tuple[str, ...], float]]) -> None:
        by_labels: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for labels, value in values:
            by_labels[labels].append(value)
        for labels, observed in by_labels.items():
            _observe_all(histogram.labels(*labels) if labels else histogram, observed)


def _observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Do what ``observe`` does with each, but touch each bucket once.

    The library has no public way; a test compares the two.
    """
    bounds: Sequence[float] = histogram._upper_bounds
    for place, count in Tally(bisect_left(bounds, value) for value in values).items():
        histogram._buckets[place].inc(count)
    histogram._sum.inc(sum(values))


def _sums(events: Sequence[Any], labels: Callable[[Any], T]) -> dict[T, int]:
    sums: dict[T, int] = defaultdict(int)
    for event in events:
        sums[labels(event)] += event.entries
    return sums
