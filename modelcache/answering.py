"""What every API does with questions: looks them up as their model's mode says, logs them, keeps answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, time
from types import TracebackType
from typing import Any

from modelcache.core import Cache
from modelcache.errors import FieldError, ModelCacheError
from modelcache.learning.policy import OFF, SERVE
from modelcache.processor.canonical import canonical
from modelcache.records.entry import NewAnswer
from modelcache.records.event import BYPASS, ERROR, EXACT, HIT, MISS, SEMANTIC, Inserted, Queried
from modelcache.records.found import Found
from modelcache.records.log_line import VETOED, LogLine
from modelcache.records.question import Question
from modelcache.records.vectors import to_bytes
from modelcache.spans import LOOK_UP

LOGGED_UNEXPECTED = 202


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with an answer that is to be kept."""

    question: Question
    answer: str
    expires_at: float | None = None
    """Seconds since the epoch; None: as long as the model's entries live."""
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """What the answer was made from."""
    scope: Mapping[str, Any] = field(default_factory=dict)
    """The keys of the scope besides the model, by which entries can be removed."""
    metadata: Mapping[str, Any] | None = None
    """What the client wants back with a hit."""
    envelope: str = ""
    """What an API keeps beside the text, as it reads it; "" for nothing."""


def look_up(
    cache: Cache,
    question: Question,
    threshold: float | None = None,
    top_k: int | None = None,
    *,
    exact_only: bool = False,
) -> tuple[Found, bool]:
    """Return what was found, and whether the model's mode serves it; ``find`` tells of the arguments.

    A query that is told a miss is remembered where the mode learns from the answer that follows it.
    Raises EmbeddingError and StoreError, and FieldError for a threshold under the floor.
    """
    least = cache.settings.threshold_floor
    if threshold is not None and threshold < least:
        raise FieldError(f"threshold: expected a number from {least:g} to 1")
    policy = cache.learner.policy(question.model_key)
    if policy.mode == OFF:
        return Found(skipped=OFF), False
    is_served = policy.mode == SERVE
    with cache.spans.span(LOOK_UP):
        found = cache.lookup.find(question, threshold, top_k, unsure=not is_served, exact_only=exact_only)
    if is_served:
        return found, found.entry is not None
    return found, cache.learner.serves(question, found, policy)


class Asking:
    """One query of an API; used as a statement around its look-up, which sets ``found`` and ``served``.

    At the end of the block the hit is counted, the query logged, and those who listen are told, whatever was
    raised in it.
    """

    def __init__(self, cache: Cache, api: str, question: Question, started: float | None = None) -> None:
        """It began when ``perf_counter`` was ``started``; None: now."""
        self.found = Found()
        self.served = False
        self.seconds = 0.0
        """What it took, once it is over."""
        self._cache = cache
        self._api = api
        self._question = question
        self._started = perf_counter() if started is None else started

    def __enter__(self) -> "Asking":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = perf_counter() - self._started
        found, cache = self.found, self._cache
        if exc is None and self.served and found.entry is not None:
            cache.writer.hit(found.entry, time())
        cache.events.tell(
            queried(self._api, self._question, found, self.served, self.seconds, failed=exc is not None)
        )
        log(cache, self._question, found, self.served, self.seconds, exc)


def queried(
    api: str, question: Question, found: Found, served: bool, seconds: float, *, failed: bool = False
) -> Queried:
    """Return what is told of a look-up."""
    similarity, confidence = found.likeness
    entry = found.entry
    is_hit = served and entry is not None and not failed
    return Queried(
        api,
        question.model,
        question.model_key,
        HIT if is_hit else ERROR if failed else BYPASS if found.skipped else MISS,
        seconds,
        "" if not is_hit else EXACT if found.exact else SEMANTIC,
        found.skipped,
        found.veto,
        entry is not None and not is_hit,
        similarity,
        confidence,
        None if entry is None else entry.id,
        question=question.dialogue,
    )


def log(
    cache: Cache, question: Question, found: Found, served: bool, seconds: float, error: BaseException | None
) -> None:
    """Leave the query's log line to the background, where there is a log."""
    if not cache.settings.query_log:
        return
    code, description = 0, f"{VETOED}{found.veto}" if found.veto else ""
    if isinstance(error, ModelCacheError):
        code, description = error.code("query"), error.public
    elif error is not None:
        code, description = LOGGED_UNEXPECTED, ""
    entry = found.entry if served else None
    cache.writer.log(
        LogLine(
            created_at=time(),
            error_code=code,
            error_desc=description,
            cache_hit=entry is not None,
            delta_time=seconds,
            model=question.model,
            model_key=question.model_key,
            query=question.dialogue,
            hit_query="" if entry is None else entry.question,
            answer="" if entry is None else entry.answer,
            entry_id=found.nearest_id if found.entry is None else found.entry.id,
            confidence=found.likeness.confidence,
        )
    )


def keep(
    cache: Cache, model: str, answered: Sequence[Answered], asked_at: float | None = None, *, api: str
) -> list[int]:
    """Store answers of one model, all or none, and return their ids, in order.

    Every question is embedded in one batch, then they are written. Raises EmbeddingError and StoreError,
    and OutdatedError where something of theirs was removed since ``asked_at``, when they were looked up.
    """
    questions = [one.question for one in answered]
    texts = list(
        {text: None for question in questions if cache.lookup.compares(question) for text in question.texts}
    )
    # Read before: should the embedder change meanwhile, nothing of the old one is taken for the new one's.
    embedder = cache.data_manager.embedder
    vectors = cache.gathering.embed(texts) if texts else ()
    embeddings = {text: to_bytes(vector) for text, vector in zip(texts, vectors, strict=True)}
    ttl = cache.learner.policy(questions[0].model_key).ttl
    default = None if ttl is None else time() + ttl
    answers = []
    for one in answered:
        question = one.question
        embedded = cache.lookup.compares(question)
        answers.append(
            NewAnswer(
                model=model,
                model_key=question.model_key,
                partition=question.partition,
                fingerprint=question.fingerprint,
                question=question.dialogue,
                answer=one.answer,
                embedder=embedder if embedded else "",
                embedding=b"".join(embeddings[text] for text in question.texts) if embedded else None,
                expires_at=default if one.expires_at is None else one.expires_at,
                tags=one.tags,
                sources=one.sources,
                scope=canonical(one.scope),
                metadata=None if one.metadata is None else json.dumps(one.metadata, ensure_ascii=False),
                envelope=one.envelope,
            )
        )
    ids = cache.data_manager.insert(model, answers, asked_at)
    cache.events.tell(Inserted(api, model, questions[0].model_key, len(ids)))
    cache.learner.inserted(
        questions[0].model_key,
        [(new.fingerprint, id_, new.answer) for id_, new in zip(ids, answers, strict=True)],
    )
    return ids
