"""Answer a query of a model that is not simply served: looked up and not answered, or verified."""

import math
from dataclasses import dataclass

from modelcache.adapter.candidates import decide
from modelcache.adapter.reply import EQUAL, NOTHING_COMPARED, Likeness
from modelcache.adapter.request import QueryRequest
from modelcache.core import Cache
from modelcache.decision.judge import Judged
from modelcache.learner import VERIFIED, Policy, evidence
from modelcache.manager.scalar_data.base import CachedAnswer, Observation
from modelcache.processor.pre import Question


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found: an entry that might answer it, or none."""

    entry: CachedAnswer | None = None
    score: float = 1.0
    observations: tuple[Observation, ...] = ()
    """Of the entry."""
    exact: bool = False
    likeness: Likeness = NOTHING_COMPARED
    """Of the entry, or else of the nearest one."""
    veto: str = ""


def find(cache: Cache, question: Question, asked: QueryRequest) -> Found:
    """Return the entry of an equal question, or the surest one that no rule refuses.

    The threshold of all does not count here, but one that the request brings does.
    """
    exact = cache.data_manager.find_exact(question.fingerprint)
    if exact is not None:
        seen = cache.data_manager.scalars.observations([exact.id]) if exact.observed else {}
        return Found(exact, 1.0, tuple(seen.get(exact.id, ())), exact=True, likeness=EQUAL)
    if not cache.searches(question):
        return Found()
    verdict, observations = decide(cache, question, asked, asked.threshold or 0.0, math.inf)
    if verdict.chosen is None:
        return Found(likeness=likeness_of(verdict.nearest), veto=verdict.veto)
    entry = verdict.chosen.candidate.entry
    return Found(
        entry,
        min(max(verdict.chosen.confidence, 0.0), 1.0),
        tuple(observations.get(entry.id, ())),
        likeness=likeness_of(verdict.chosen),
        veto=verdict.veto,
    )


def is_served(cache: Cache, question: Question, found: Found, policy: Policy) -> bool:
    """Tell whether the found entry answers under this policy, and learn from the query."""
    served = policy.mode == VERIFIED and found.entry is not None and _verified(cache, question, found, policy)
    cache.learner.asked(question, found.entry, found.score, missed=not served)
    return served


def likeness_of(judged: Judged | None) -> Likeness:
    """Return what a reply tells of a candidate."""
    if judged is None:
        return NOTHING_COMPARED
    return Likeness(_shown(judged.candidate.similarity), _shown(judged.confidence))


def _verified(cache: Cache, question: Question, found: Found, policy: Policy) -> bool:
    verifier = cache.learner.verifier(question.model_key)
    if found.exact:
        own = [one for one in found.observations if one.fingerprint == question.fingerprint]
        return verifier.serves_exact(question.fingerprint, evidence(own), policy.error_rate)
    if any(
        one.told and one.correct and one.fingerprint == question.fingerprint for one in found.observations
    ):
        return True
    entry = found.entry
    own = [one for one in found.observations if entry is not None and one.fingerprint != entry.fingerprint]
    return verifier.serves(question.fingerprint, found.score, evidence(own), policy.error_rate)


def _shown(share: float) -> float:
    """Clip to 0..1, where rounding may have left it, and keep six digits."""
    return round(min(1.0, max(0.0, share)), 6)
