"""Apply to a query what was learned of the candidates."""

from collections.abc import Sequence

from modelcache.core import Cache
from modelcache.decision.judge import Judged
from modelcache.embedding.base import Embeddings
from modelcache.processor.pre import Question


def learned(
    cache: Cache, question: Question, embedding: Embeddings, judged: Sequence[Judged], threshold: float
) -> list[Judged]:
    """Return the candidates with the vetoes of what was observed of them.

    Costs a read only where a row said, when it was read, that there are observations.
    """
    ids = [one.candidate.entry.id for one in judged if one.candidate.entry.observed]
    observations = cache.data_manager.scalars.observations(ids) if ids else {}
    return [
        cache.feedback_rule.refuse(one, question.fingerprint, embedding, seen, threshold)
        if (seen := observations.get(one.candidate.entry.id))
        else one
        for one in judged
    ]
