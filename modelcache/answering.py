"""What every API does with questions: looks them up as their model's mode says, logs them, keeps answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any

from modelcache.core import Cache
from modelcache.errors import FieldError, ModelCacheError
from modelcache.learning.policy import OFF, SERVE
from modelcache.processor.canonical import canonical
from modelcache.records.entry import NewAnswer
from modelcache.records.found import Found
from modelcache.records.log_line import LogLine
from modelcache.records.question import Question
from modelcache.records.vectors import to_bytes

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
        return Found(), False
    is_served = policy.mode == SERVE
    found = cache.lookup.find(question, threshold, top_k, unsure=not is_served, exact_only=exact_only)
    if is_served:
        return found, found.entry is not None
    return found, cache.learner.serves(question, found, policy)


def log(
    cache: Cache, question: Question, found: Found, served: bool, seconds: float, error: Exception | None
) -> None:
    """Leave the query's log line to the background, where there is a log."""
    if not cache.settings.query_log:
        return
    code, description = 0, f"veto: {found.veto}" if found.veto else ""
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
        )
    )


def keep(cache: Cache, model: str, answered: Sequence[Answered], asked_at: float | None = None) -> list[int]:
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
    cache.learner.inserted(
        questions[0].model_key,
        [(new.fingerprint, id_, new.answer) for id_, new in zip(ids, answers, strict=True)],
    )
    return ids
