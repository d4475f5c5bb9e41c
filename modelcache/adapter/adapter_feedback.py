"""Learn from what a user says of a hit."""

from collections.abc import Sequence
from time import time

import numpy as np

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import FeedbackRequest
from modelcache.core import Cache
from modelcache.decision.feedback import is_to_be_retired
from modelcache.decision.judge import Judged
from modelcache.embedding.base import Embeddings
from modelcache.manager.data_manager import Candidate
from modelcache.manager.reconcile import from_bytes, to_bytes
from modelcache.manager.scalar_data.base import CachedAnswer, Observation
from modelcache.processor.pre import Question, make_question

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
        if not cache.compares(question):
            return None
        embedding, *turns = cache.gathering.embed(question.texts)
        judged = _judged(cache, question, entry, embedding, turns)
        if judged is None:
            return None
        score = judged.confidence
    return Observation(
        answer_id=entry.id,
        fingerprint=question.fingerprint,
        told=True,
        model_key=question.model_key,
        score=score,
        correct=correct,
        at=time(),
        embedder="" if embedding is None else cache.embedder.name,
        embedding=None if embedding is None else to_bytes(embedding),
    )


def _judged(
    cache: Cache, question: Question, entry: CachedAnswer, embedding: Embeddings, turns: Sequence[Embeddings]
) -> Judged | None:
    """Judge the entry as the query did, or by its row where it is not near any more."""
    context = np.stack(turns) if turns and entry.partition == question.partition else None
    top_k = cache.settings.top_k
    for near in cache.data_manager.search(question.model, entry.partition, embedding, top_k, context):
        if near.entry.id == entry.id:
            return cache.judge.judge(question, [near])[0]
    stored = cache.data_manager.scalars.embeddings([entry.id])
    if not stored or stored[0].embedder != cache.embedder.name:
        return None
    similarity = float(from_bytes(stored[0].embedding)[: len(embedding)] @ embedding)
    return cache.judge.judge(question, [Candidate(entry, similarity)])[0]
