"""Store questions with their answers, all of a request or none."""

from time import time

from modelcache.adapter import reply
from modelcache.adapter.adapter_query import API
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import InsertRequest
from modelcache.answering import Answered, keep
from modelcache.core import Cache
from modelcache.errors import BlacklistError
from modelcache.processor.pre import make_question


def insert(cache: Cache, asked: InsertRequest) -> Reply:
    """Prepare every question of the request, then keep all with their answers."""
    model = asked.scope.model
    if model in cache.settings.model_blacklist:
        raise BlacklistError(f"model: {model} in blacklist")
    now = time()
    answered = [
        Answered(
            make_question(
                model, asked.scope.keys, [message.to_message() for message in info.query], cache.settings
            ),
            info.answer,
            expires_at=None if info.ttl is None else now + info.ttl,
            tags=tuple(info.tags or ()),
            sources=tuple(info.sources or ()),
            scope=asked.scope.keys,
            metadata=info.metadata,
        )
        for info in asked.chat_info
    ]
    return reply.inserted(keep(cache, model, answered, asked.asked_at, api=API))
