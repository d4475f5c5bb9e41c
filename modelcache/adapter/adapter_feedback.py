"""Learn from what a user says of a hit."""

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import FeedbackRequest
from modelcache.core import Cache
from modelcache.processor.pre import make_question
from modelcache.telling import tell


def learn(cache: Cache, asked: FeedbackRequest) -> Reply:
    """Record whether an entry answered a question rightly, and reply with what became of that."""
    messages = [message.to_message() for message in asked.query]
    question = make_question(asked.scope.model, asked.scope.keys, messages, cache.settings)
    return reply.learned(tell(cache, question, asked.hit_id, correct=asked.correct))
