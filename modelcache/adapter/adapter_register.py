"""Prepare a model's collection before its first insert."""

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import RegisterRequest
from modelcache.core import Cache


def register(cache: Cache, asked: RegisterRequest) -> Reply:
    """Create the collection if it is not there, and set what is given for the model."""
    if asked.policy:
        cache.learner.set_policy(asked.scope.model, **asked.policy)
    return reply.registered(cache.data_manager.register(asked.scope.model))
