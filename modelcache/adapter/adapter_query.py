"""Answer a query: an equal question first, then the nearest one that means the same."""

from time import perf_counter, time

from modelcache.adapter import modes, reply
from modelcache.adapter.candidates import decide
from modelcache.adapter.modes import likeness_of
from modelcache.adapter.reply import NOTHING_COMPARED, Reply
from modelcache.adapter.request import QueryRequest
from modelcache.core import Cache
from modelcache.errors import BlacklistError, ModelCacheError
from modelcache.learner import OFF, SERVE, Policy
from modelcache.manager.scalar_data.base import LogLine
from modelcache.processor.pre import Question, make_question

LOGGED_UNEXPECTED = 202


def answer(cache: Cache, asked: QueryRequest) -> Reply:
    """Return the reply and leave the query's log line and the hit's count to the background."""
    started = perf_counter()
    messages = [message.to_message() for message in asked.query]
    question = make_question(asked.scope.model, asked.scope.keys, messages, cache.settings)
    found: Reply = {"errorCode": LOGGED_UNEXPECTED}
    try:
        if question.model in cache.settings.model_blacklist:
            raise BlacklistError(f"model: {question.model} in blacklist")
        found = _look_up(cache, question, asked, started)
    except ModelCacheError as exc:
        found = reply.error("query", exc.code("query"), exc.public)
        raise
    finally:
        _record(cache, question, found, perf_counter() - started)
    return found


def _look_up(cache: Cache, question: Question, asked: QueryRequest, started: float) -> Reply:
    policy = cache.learner.policy(question.model_key)
    if policy.mode == OFF:
        return reply.miss(NOTHING_COMPARED, perf_counter() - started)
    if policy.mode != SERVE:
        return _look_up_and_learn(cache, question, asked, policy, started)
    exact = cache.data_manager.find_exact(question.fingerprint)
    if exact is not None:
        cache.writer.hit(exact, time())
        return reply.hit(exact, reply.EXACT, perf_counter() - started)
    if not cache.searches(question):
        return reply.miss(NOTHING_COMPARED, perf_counter() - started)
    threshold = cache.threshold(question) if asked.threshold is None else asked.threshold
    verdict, _ = decide(cache, question, asked, threshold, threshold)
    seconds = perf_counter() - started
    if verdict.chosen is not None:
        entry = verdict.chosen.candidate.entry
        cache.writer.hit(entry, time())
        return reply.hit(entry, reply.SEMANTIC, seconds, likeness_of(verdict.chosen), verdict.veto)
    return reply.miss(likeness_of(verdict.nearest), seconds, verdict.veto)


def _look_up_and_learn(
    cache: Cache, question: Question, asked: QueryRequest, policy: Policy, started: float
) -> Reply:
    found = modes.find(cache, question, asked)
    served = modes.is_served(cache, question, found, policy)
    seconds = perf_counter() - started
    if served and found.entry is not None:
        cache.writer.hit(found.entry, time())
        hit_type = reply.EXACT if found.exact else reply.SEMANTIC
        return reply.hit(found.entry, hit_type, seconds, found.likeness, found.veto)
    return reply.miss(found.likeness, seconds, found.veto)


def _vetoed(found: Reply) -> str:
    """Return what the log says of a refusal by the slot guard, which is no error."""
    return f"veto: {found['veto']}" if found.get("veto") else ""


def _record(cache: Cache, question: Question, found: Reply, seconds: float) -> None:
    if cache.settings.query_log:
        cache.writer.log(
            LogLine(
                created_at=time(),
                error_code=found["errorCode"],
                error_desc=found.get("errorDesc", "") or _vetoed(found),
                cache_hit=found.get("cacheHit", False),
                delta_time=seconds,
                model=question.model,
                model_key=question.model_key,
                query=question.dialogue,
                hit_query=found.get("hit_query", ""),
                answer=found.get("answer", ""),
            )
        )
