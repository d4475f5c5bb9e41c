"""The collaborators of one service; there is no other state."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

from modelcache.access.gate import Gate
from modelcache.admission import Admission
from modelcache.background import BackgroundWriter, Sweeper
from modelcache.decision.factory import make_judge, open_confidence
from modelcache.decision.judge import Judge
from modelcache.decision.rerank import Reranker
from modelcache.drift import DriftWatch
from modelcache.embedding.base import Embedder, usable_cores
from modelcache.embedding.factory import get_embedder
from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.errors import UnavailableError
from modelcache.events import Events
from modelcache.learning.feedback import FeedbackRule
from modelcache.learning.learner import Learner
from modelcache.lookup import Lookup
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.factory import data_manager_of
from modelcache.manager.patience import one_request
from modelcache.settings import MEGABYTE, Settings
from modelcache.similarity_evaluation.factory import get_evaluation
from modelcache.slots.guard import SlotGuard
from modelcache.spans import Spans

logger = logging.getLogger(__name__)

# A part of a search runs beside Python, and so does the embedder.
CORES_A_SEARCH = 4
REFERENCE = "reference"
REFERENCE_COSTS = (
    "preset reference: entries are judged by the distance of their dialogues alone. Of its hits on 1,500 "
    "pairs each of the LCQMC and Quora dev sets, 18 and 21 % were wrong; of 153 questions that differ from "
    "the cached one in a sign, a word or a direction it answered 96"
)


class _Openable(Protocol):
    def open(self) -> None: ...

    def close(self) -> None: ...


Part = TypeVar("Part", bound=_Openable)


@dataclass(frozen=True, slots=True)
class Cache:
    """Everything an adapter needs, open and ready."""

    settings: Settings
    embedder: Embedder
    gathering: GatheringEmbedder
    """The embedder, for requests."""
    data_manager: SSDataManager
    judge: Judge
    lookup: Lookup
    writer: BackgroundWriter
    learner: Learner
    events: Events
    """Tells those who listen what happens."""
    spans: Spans
    """Marks what a request spends its time on."""
    opened: ExitStack
    """Closes what was opened."""

    @classmethod
    def open(
        cls,
        settings: Settings,
        embedder: Embedder | None = None,
        events: Events | None = None,
        spans: Spans | None = None,
    ) -> "Cache":
        """Load the embedder and open the stores; ConfigError says in one sentence what is wrong."""
        events, spans = events or Events(), spans or Spans()
        if settings.preset == REFERENCE:
            logger.warning(REFERENCE_COSTS)
        evaluation = get_evaluation(settings)
        slot_guard = SlotGuard.from_settings(settings)
        reranker = Reranker.from_settings(settings)
        embedder = embedder or get_embedder(settings)
        gathering = GatheringEmbedder(embedder, settings.embedding_memory_mb * MEGABYTE, events)
        with ExitStack() as opened:
            _opened(gathering, opened)
            confidence = open_confidence(settings, embedder)
            if confidence is not None:
                opened.callback(confidence.close)
            if reranker is not None:
                opened.callback(reranker.close)
                reranker.open()
            judge = make_judge(settings, embedder, evaluation, slot_guard, confidence, reranker)
            data_manager = _opened(
                data_manager_of(settings, embedder.name, embedder.dimension, events), opened
            )
            _opened(DriftWatch(gathering, data_manager, embedder.name, goes_on=embedder.may_change), opened)
            writer = _opened(
                BackgroundWriter(data_manager.scalars, settings.background_queue_size, data_manager.eviction),
                opened,
            )
            learner = _opened(
                Learner(data_manager, gathering, embedder.thresholds, writer, settings, events), opened
            )
            _opened(Sweeper(data_manager, settings), opened)
            return cls(
                settings=settings,
                embedder=embedder,
                gathering=gathering,
                data_manager=data_manager,
                judge=judge,
                lookup=_make_lookup(settings, embedder, gathering, data_manager, judge, spans),
                writer=writer,
                learner=learner,
                events=events,
                spans=spans,
                opened=opened.pop_all(),
            )

    def close(self) -> None:
        """Write what is queued, keep the indexes, and release everything, the last opened first.

        What cannot be closed keeps nothing else open; its error is raised at the end.
        """
        self.opened.close()


def _opened(part: Part, opened: ExitStack) -> Part:
    """Open a part, have it closed with the others, and return it."""
    part.open()
    opened.callback(part.close)
    return part


def _make_lookup(
    settings: Settings,
    embedder: Embedder,
    gathering: GatheringEmbedder,
    data_manager: SSDataManager,
    judge: Judge,
    spans: Spans,
) -> Lookup:
    rule = FeedbackRule(lambda: data_manager.embedder, embedder.thresholds.short)
    admission = Admission(_searches_at_a_time(data_manager, settings))
    return Lookup(gathering, data_manager, judge, rule, admission, settings, spans)


def _searches_at_a_time(data_manager: SSDataManager, settings: Settings) -> int:
    """Return how many searches are best run side by side: few, where they are this process's own work."""
    is_local = data_manager.scalars.exclusive and data_manager.vectors.exclusive
    return max(1, usable_cores() // CORES_A_SEARCH) if is_local else settings.threads


class Service:
    """A cache that may still be starting, or draining, or closed."""

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder | None = None,
        processes: int = 1,
        spans: Spans | None = None,
    ) -> None:
        """``processes`` serve together, this one among them. ``spans`` is opened and closed with it."""
        self.settings = settings
        self.gate = Gate(settings.keys_file, processes)
        self.events = Events()
        self.spans = spans or Spans()
        self._embedder = embedder
        self._cache: Cache | None = None
        self._draining = False
        self._lock = threading.Lock()
        self._beside = ExitStack()
        self._companions: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self.accompanied_by(self.spans.open, self.spans.close)

    @property
    def cache(self) -> Cache:
        """The open cache; UnavailableError while there is none."""
        if self._cache is None:
            raise UnavailableError("the service is closed" if self._draining else "the service is starting")
        return self._cache

    @property
    def is_open(self) -> bool:
        return self._cache is not None

    def accompanied_by(self, open_: Callable[[], None], close: Callable[[], None]) -> None:
        """Have something opened after the cache, and closed before it."""
        self._companions.append((open_, close))

    def closes_with(self, close: Callable[[], None]) -> None:
        """Have something that uses the cache closed before it."""
        self._beside.callback(close)

    @property
    def draining(self) -> bool:
        return self._draining

    def open(self) -> None:
        """Open the cache; harmless when repeated."""
        with self._lock:
            if self._cache is None:
                self.gate.open()
                self._cache = Cache.open(self.settings, self._embedder, self.events, self.spans)
                for open_, close in self._companions:
                    open_()
                    self._beside.callback(close)

    def drain(self) -> None:
        """Announce the end: requests are still answered, but ``check`` fails."""
        self._draining = True

    def close(self) -> None:
        """Close the cache; harmless when repeated."""
        with self._lock:
            self._draining = True
            self._beside.close()
            cache, self._cache = self._cache, None
            if cache is not None:
                cache.close()

    def check(self) -> None:
        """Return if the stores and the embedder answer; otherwise raise what stops them."""
        if self._draining:
            raise UnavailableError("the service is stopping")
        with one_request():
            self.cache.data_manager.ping()
        self.cache.gathering.embed(["ready"], anew=True)
