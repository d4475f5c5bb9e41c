"""The entries that may answer a query by meaning."""

from modelcache.adapter.request import QueryRequest
from modelcache.core import Cache
from modelcache.decision.judge import Judged
from modelcache.manager.scalar_data.base import Observation
from modelcache.processor.pre import Question

Observations = dict[int, list[Observation]]


def judged_candidates(
    cache: Cache, question: Question, asked: QueryRequest, threshold: float
) -> tuple[list[Judged], Observations]:
    """Return the nearest entries, judged also by what was observed of them, and these observations by id.

    ``threshold`` is the one that an entry's own is not under. Observations cost a read only where a row said,
    when it was read, that there are some.
    """
    embedding = cache.gathering.embed([question.text])[0]
    candidates = cache.data_manager.search(
        question.model, question.partition, embedding, asked.top_k or cache.settings.top_k
    )
    judged = cache.judge.judge(question, candidates)
    ids = [one.candidate.entry.id for one in judged if one.candidate.entry.observed]
    observations = cache.data_manager.scalars.observations(ids) if ids else {}
    refused = [
        cache.feedback_rule.refuse(one, question.fingerprint, embedding, seen, threshold)
        if (seen := observations.get(one.candidate.entry.id))
        else one
        for one in judged
    ]
    return refused, observations
