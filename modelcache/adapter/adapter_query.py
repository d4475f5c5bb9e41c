"""Answer a query from what the look-up finds, as far as the model's mode serves it."""

import random
from time import perf_counter, time

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import QueryRequest
from modelcache.core import Cache
from modelcache.errors import BlacklistError, FieldError, ModelCacheError
from modelcache.learning.policy import OFF, SERVE
from modelcache.processor.pre import make_question
from modelcache.records.found import Found
from modelcache.records.log_line import LogLine
from modelcache.records.question import Question

LOGGED_UNEXPECTED = 202
HIGHEST_TEMPERATURE = 2.0


def answer(cache: Cache, asked: QueryRequest) -> Reply:
    """Return the reply and leave the query's log line and the hit's count to the background."""
    started = perf_counter()
    messages = [message.to_message() for message in asked.query]
    question = make_question(asked.scope.model, asked.scope.keys, messages, cache.settings)
    found, served = Found(), False
    code, description = LOGGED_UNEXPECTED, ""
    try:
        if question.model in cache.settings.model_blacklist:
            raise BlacklistError(f"model: {question.model} in blacklist")
        found, served = _look_up(cache, question, asked)
        code, description = 0, f"veto: {found.veto}" if found.veto else ""
    except ModelCacheError as exc:
        code, description = exc.code("query"), exc.public
        raise
    finally:
        seconds = perf_counter() - started
        if cache.settings.query_log:
            cache.writer.log(_log_line(question, found, served, seconds, code, description))
    return reply.queried(found, served, seconds)


def _look_up(cache: Cache, question: Question, asked: QueryRequest) -> tuple[Found, bool]:
    """Return what was found, and whether the model's mode serves it."""
    policy = cache.learner.policy(question.model_key)
    if policy.mode == OFF or asked.cache_skip or _is_skipped(cache, asked):
        return Found(), False
    least = cache.settings.threshold_floor
    if asked.threshold is not None and asked.threshold < least:
        raise FieldError(f"threshold: expected a number from {least:g} to 1")
    if policy.mode == SERVE:
        found = cache.lookup.find(question, asked.threshold, asked.top_k)
        served = found.entry is not None
    else:
        found = cache.lookup.find(question, asked.threshold, asked.top_k, unsure=True)
        served = cache.learner.serves(question, found, policy)
    if served and found.entry is not None:
        cache.writer.hit(found.entry, time())
    return found, served


def _is_skipped(cache: Cache, asked: QueryRequest) -> bool:
    """Draw whether a query goes to its model, where that is set: the higher its temperature, the likelier."""
    temperature = asked.scope.keys.get("temperature")
    if not cache.settings.temperature_skips or not isinstance(temperature, int | float):
        return False
    return random.random() * HIGHEST_TEMPERATURE < temperature


def _log_line(
    question: Question, found: Found, served: bool, seconds: float, code: int, description: str
) -> LogLine:
    entry = found.entry if served else None
    return LogLine(
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
