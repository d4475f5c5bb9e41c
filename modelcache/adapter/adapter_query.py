"""Answer a query from what the look-up finds, as far as the model's mode serves it."""

import random
from time import perf_counter, time

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import QueryRequest
from modelcache.answering import Asking, look_up
from modelcache.core import Cache
from modelcache.errors import BlacklistError
from modelcache.processor.pre import make_question
from modelcache.records.found import Found

API = "modelcache"
HIGHEST_TEMPERATURE = 2.0
SKIPPED = "skip"


def answer(cache: Cache, asked: QueryRequest) -> Reply:
    """Return the reply and leave the query's log line and the hit's count to the background."""
    started, asked_at = perf_counter(), time()
    messages = [message.to_message() for message in asked.query]
    question = make_question(asked.scope.model, asked.scope.keys, messages, cache.settings)
    with Asking(cache, API, question, started) as asking:
        if question.model in cache.settings.model_blacklist:
            raise BlacklistError(f"model: {question.model} in blacklist")
        if asked.cache_skip or _is_skipped(cache, asked):
            asking.found = Found(skipped=SKIPPED)
        else:
            asking.found, asking.served = look_up(cache, question, asked.threshold, asked.top_k)
    return reply.queried(asking.found, asking.served, asking.seconds, asked_at)


def _is_skipped(cache: Cache, asked: QueryRequest) -> bool:
    """Draw whether a query goes to its model, where that is set: the higher its temperature, the likelier."""
    temperature = asked.scope.keys.get("temperature")
    if not cache.settings.temperature_skips or not isinstance(temperature, int | float):
        return False
    return random.random() * HIGHEST_TEMPERATURE < temperature
