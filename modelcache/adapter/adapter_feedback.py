"""Learn from what a user says of a hit."""

from time import time

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import FeedbackRequest
from modelcache.core import Cache
from modelcache.learning.feedback import is_to_be_retired
from modelcache.processor.pre import make_question
from modelcache.records.entry import CachedAnswer
from modelcache.records.observation import Observation
from modelcache.records.question import Question
from modelcache.records.vectors import to_bytes

RECORDED = "recorded"
RETIRED = "retired"
UNKNOWN = "unknown"


def learn(cache: Cache, asked: FeedbackRequest) -> Reply:
    """Record whether an entry answered a question rightly; it holds at once, for all workers.

    An entry that is wrong for its own question has a bad answer and is retired, as is one that was
    wrong too often.
    """
    messages = [message.to_message() for message in asked.query]
    question = make_question(asked.scope.model, asked.scope.keys, messages, cache.settings)
    entry = cache.data_manager.find_live(question.model, asked.hit_id)
    # An entry of another partition cannot have answered this question.
    if entry is None or entry.partition not in (question.partition, question.without_context):
        return reply.learned(UNKNOWN)
    if entry.fingerprint == question.fingerprint and not asked.correct:
        return _retire(cache, question, entry)
    observation = _observation(cache, question, entry, correct=asked.correct)
    if observation is None:
        return reply.learned(UNKNOWN)
    scalars = cache.data_manager.scalars
    scalars.observe([observation])
    observations = scalars.observations([entry.id]).get(entry.id, [])
    if is_to_be_retired(observations, cache.settings.feedback_retire_share):
        return _retire(cache, question, entry)
    return reply.learned(RECORDED)


def _retire(cache: Cache, question: Question, entry: CachedAnswer) -> Reply:
    cache.data_manager.delete(question.model, [entry.id])
    return reply.learned(RETIRED)


def _observation(
    cache: Cache, question: Question, entry: CachedAnswer, *, correct: bool
) -> Observation | None:
    """Return what is to be recorded; None if the entry cannot have answered this question."""
    score, embedding = 1.0, None
    if entry.fingerprint != question.fingerprint:
        rated = cache.lookup.rate(question, entry)
        if rated is None:
            return None
        score, embedding = rated.confidence, rated.embedding
    return Observation(
        answer_id=entry.id,
        fingerprint=question.fingerprint,
        told=True,
        model_key=question.model_key,
        score=score,
        correct=correct,
        at=time(),
        embedder="" if embedding is None else cache.data_manager.embedder,
        embedding=None if embedding is None else to_bytes(embedding),
    )
