"""What a user tells of an answer: it holds at once, for all workers."""

from time import time

from modelcache.core import Cache
from modelcache.learning.feedback import is_to_be_retired
from modelcache.records.entry import CachedAnswer
from modelcache.records.event import RIGHT, WRONG, Told
from modelcache.records.observation import Observation
from modelcache.records.question import Question
from modelcache.records.vectors import to_bytes

RECORDED = "recorded"
RETIRED = "retired"
UNKNOWN = "unknown"


def tell(cache: Cache, question: Question, entry_id: int, *, correct: bool) -> str:
    """Record whether an entry answered a question rightly, and return what became of that.

    An entry that is wrong for its own question has a bad answer and is retired, as is one that was
    wrong too often. ``unknown`` where it is of no entry that can have answered. Raises StoreError.
    """
    entry = cache.data_manager.find_live(question.model, entry_id)
    # An entry of another partition cannot have answered this question.
    if entry is None or entry.partition not in (question.partition, question.without_context):
        return _told(cache, question.model, question.model_key, correct, UNKNOWN)
    if entry.fingerprint == question.fingerprint:
        return tell_of_itself(cache, question.model, entry, correct=correct)
    rated = cache.lookup.rate(question, entry)
    if rated is None:
        return _told(cache, question.model, question.model_key, correct, UNKNOWN)
    observation = Observation(
        answer_id=entry.id,
        fingerprint=question.fingerprint,
        told=True,
        model_key=question.model_key,
        score=rated.confidence,
        correct=correct,
        at=time(),
        embedder=cache.data_manager.embedder,
        embedding=to_bytes(rated.embedding),
    )
    return _record(cache, question.model, entry, observation)


def tell_of_itself(cache: Cache, model: str, entry: CachedAnswer, *, correct: bool) -> str:
    """Record whether an entry's answer is right for its own question, as ``tell`` does."""
    if not correct:
        return _told(cache, model, entry.model_key, False, _retire(cache, model, entry))
    observation = Observation(
        answer_id=entry.id,
        fingerprint=entry.fingerprint,
        told=True,
        model_key=entry.model_key,
        score=1.0,
        correct=True,
        at=time(),
    )
    return _record(cache, model, entry, observation)


def _record(cache: Cache, model: str, entry: CachedAnswer, observation: Observation) -> str:
    scalars = cache.data_manager.scalars
    scalars.observe([observation])
    observations = scalars.observations([entry.id]).get(entry.id, [])
    is_over = is_to_be_retired(observations, cache.settings.feedback_retire_share)
    status = _retire(cache, model, entry) if is_over else RECORDED
    return _told(cache, model, entry.model_key, observation.correct, status)


def _told(cache: Cache, model: str, model_key: str, correct: bool, status: str) -> str:
    """Tell those who listen, and return the status."""
    cache.events.tell(Told(model, model_key, RIGHT if correct else WRONG, status))
    return status


def _retire(cache: Cache, model: str, entry: CachedAnswer) -> str:
    cache.data_manager.delete(model, [entry.id])
    return RETIRED
