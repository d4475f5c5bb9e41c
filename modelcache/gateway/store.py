"""The gateway's way to the cache: within a deadline, and never a reason for a request to fail."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime
from dataclasses import dataclass
from time import perf_counter, time
from typing import TypeVar

from modelcache.answering import Answered, keep, log, look_up
from modelcache.core import Cache, Service
from modelcache.errors import EmbeddingError, ModelCacheError, OutdatedError, StoreError, UnavailableError
from modelcache.gateway.asked import API, Asked
from modelcache.gateway.completion import Completion
from modelcache.gateway.entry import Kept, unwrap, wrap
from modelcache.learning.policy import OFF
from modelcache.manager.patience import one_request
from modelcache.records.entry import CachedAnswer
from modelcache.records.found import Found
from modelcache.records.question import Question

logger = logging.getLogger(__name__)
T = TypeVar("T")
REMOVED = "removed"


class AsideError(Exception):
    """The cache could not be used; tells why in a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found, and what was kept with it where it answers."""

    found: Found
    kept: Kept | None = None


class GatewayStore:
    """Looks up and keeps on threads of its own, so that nobody waits for a cache that hangs."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self._service = service
        self._spans = service.spans
        self._deadline = settings.lookup_deadline_ms / 1000
        self._ttl = settings.gateway_ttl
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="modelcache-lookup")

    def close(self) -> None:
        """Take no more work; harmless when repeated."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def cache(self) -> Cache:
        """The open cache; UnavailableError while there is none."""
        return self._service.cache

    def mode(self, question: Question) -> str:
        """Return the mode of the question's model; `off` where the cache is not open."""
        try:
            return self.cache.learner.policy(question.model_key).mode
        except UnavailableError:
            return OFF

    def look_up(self, asked: Asked, question: Question) -> Looked:
        """Return what answers, in time. Raises AsideError."""
        looked = self._in_time(lambda: self._look_up(asked, question))
        if looked.kept is not None and looked.found.entry is not None:
            self.cache.writer.hit(looked.found.entry, time())
        return looked

    def would_answer(self, asked: Asked, question: Question, other: Question) -> bool:
        """Tell whether an answer to another question would be served for this one; False in doubt."""
        threshold = asked.control.threshold
        try:
            return self._in_time(lambda: self.cache.lookup.would_answer(question, other, threshold))
        except AsideError:
            return False

    def keep(self, asked: Asked, completion: Completion, after: Callable[[], None]) -> int | None:
        """Keep an answer and return the entry's id; None where that failed, or goes on in the background.

        ``after`` is called when it is over, unless NotKeptError is raised, for what must not be kept. Of
        what was removed since the request came in, the reason is told, and nobody else is to get it.
        """
        question = asked.question
        if question is None:
            return None
        now = time()
        answer, envelope = wrap(asked.dialect, completion, asked.tenant, question.model, now)
        ttl = min((one for one in (asked.control.ttl, self._ttl) if one is not None), default=None)
        answered = Answered(
            question,
            answer,
            None if ttl is None else now + ttl,
            asked.control.tags,
            asked.control.sources,
            envelope=envelope,
        )

        def work() -> int:
            try:
                with one_request():
                    return keep(self.cache, question.model, [answered], asked.asked_at, api=API)[0]
            finally:
                after()

        try:
            return self._in_time(work, what="keeping an answer", cancels=False)
        except AsideError as exc:
            if exc.reason == REMOVED:
                asked.told.reason = REMOVED
            return None

    def unwrapped(self, asked: Asked, entry: CachedAnswer) -> Kept | None:
        """Return what an entry holds; None for one that cannot be read. Raises StoreError."""
        try:
            envelope = self.cache.data_manager.scalars.envelope(entry.id)
            return unwrap(asked.dialect, envelope, entry.answer, asked.model)
        except (ValueError, KeyError, TypeError):
            logger.warning("entry %d has an envelope that cannot be read", entry.id)
            return None

    def _look_up(self, asked: Asked, question: Question) -> Looked:
        cache, control = self.cache, asked.control
        started = perf_counter()
        found, kept = Found(), None
        error: Exception | None = None
        try:
            with one_request():
                found, served = look_up(
                    cache, question, control.threshold, exact_only=control.mode == "exact"
                )
                if served and found.entry is not None:
                    kept = self.unwrapped(asked, found.entry)
        except Exception as exc:
            error = exc
            raise
        finally:
            log(cache, question, found, kept is not None, perf_counter() - started, error)
        return Looked(found, kept)

    def _in_time(self, work: Callable[[], T], what: str = "a look-up", *, cancels: bool = True) -> T:
        """Do the work on another thread and return what it returns. Raises AsideError."""
        try:
            future: Future[T] = self._threads.submit(self._spans.carried(work))
        except RuntimeError:
            raise AsideError("stopping") from None
        try:
            return future.result(self._deadline)
        except OutOfTime:
            if cancels:
                future.cancel()
            raise AsideError("deadline") from None
        except ModelCacheError as exc:
            if not isinstance(exc, UnavailableError | OutdatedError):
                logger.warning("%s failed: %s", what, exc, exc_info=exc.__cause__ is not None)
            raise AsideError(_word(exc)) from exc
        except Exception as exc:
            logger.exception("%s failed unexpectedly", what)
            raise AsideError("error") from exc


def _word(exc: ModelCacheError) -> str:
    if isinstance(exc, StoreError):
        return "store"
    if isinstance(exc, EmbeddingError):
        return "embedder"
    if isinstance(exc, OutdatedError):
        return REMOVED
    return "starting" if isinstance(exc, UnavailableError) else "error"
