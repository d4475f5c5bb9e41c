"""Prepare a model's collection before its first insert."""

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import RegisterRequest
from modelcache.core import Cache


def register(cache: Cache, asked: RegisterRequest) -> Reply:
    """Create the collection if it is not there, and set the mode and error rate that are given."""
    if asked.mode is not None or asked.error_rate is not None:
        cache.learner.set_policy(asked.scope.model, asked.mode, asked.error_rate)
    return reply.registered(cache.data_manager.register(asked.scope.model))
