"""The entries that may answer a query by meaning, and the one that does."""

from collections.abc import Sequence

import numpy as np

from modelcache.adapter.request import QueryRequest
from modelcache.core import Cache
from modelcache.decision.judge import Judged, Verdict
from modelcache.embedding.base import Embeddings
from modelcache.manager.data_manager import Candidate
from modelcache.manager.scalar_data.base import Observation
from modelcache.processor.pre import Question

Observations = dict[int, list[Observation]]


def decide(
    cache: Cache, question: Question, asked: QueryRequest, threshold: float, common: float
) -> tuple[Verdict, Observations]:
    """Search and judge, also by what was observed of the entries; returns these observations by id.

    ``common`` is the threshold that an entry's own is not under. Where no entry of the conversation
    answers, those cached without one may, if the question stands alone.
    """
    embedding, *turns = cache.gathering.embed(question.texts, urgent=True)
    context = np.stack(turns) if turns else None
    most = asked.top_k or cache.settings.top_k
    search = cache.data_manager.search

    def judged(found: Sequence[Candidate]) -> tuple[Verdict, Observations]:
        return judge_nearest_first(cache, question, embedding, found, threshold, common)

    with cache.turns.turn():
        verdict = judged(search(question.model, question.partition, embedding, most, context))
        if verdict[0].chosen is None and cache.judge.conversations.stands_alone(question):
            alone = judged(search(question.model, question.without_context, embedding, most))
            if alone[0].chosen is not None or verdict[0].nearest is None:
                return alone
    return verdict


def judge_nearest_first(
    cache: Cache,
    question: Question,
    embedding: Embeddings,
    candidates: Sequence[Candidate],
    threshold: float,
    common: float,
) -> tuple[Verdict, Observations]:
    """Judge as many of the candidates as it takes: the most alike come first.

    As a rule the nearest answers or none does, and the others need not be read.
    """
    judge = cache.judge
    worth = max(1, judge.worth_judging(question, candidates, threshold))
    judged: list[Judged] = []
    for count in (1, worth) if worth > 1 and judge.nearest_decides(question) else (worth,):
        judged = judge.judge(question, candidates[:count], judged)
        found, observations = _observed(cache, question, judged, embedding, common)
        verdict = judge.choose(question, found, threshold)
        if verdict.chosen is not None:
            break
    return verdict, observations


def _observed(
    cache: Cache, question: Question, judged: list[Judged], embedding: Embeddings, common: float
) -> tuple[list[Judged], Observations]:
    """Refuse what observations speak against.

    They cost a read only where a row said, when it was read, that there are some.
    """
    ids = [one.candidate.entry.id for one in judged if one.candidate.entry.observed]
    observations = cache.data_manager.scalars.observations(ids) if ids else {}
    refused = [
        cache.feedback_rule.refuse(one, question.fingerprint, embedding, seen, common)
        if (seen := observations.get(one.candidate.entry.id))
        else one
        for one in judged
    ]
    return refused, observations
