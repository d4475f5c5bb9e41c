"""What users told of an entry: the pairs it must not answer, and its own threshold."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from modelcache.decision.judge import Judged
from modelcache.learning.verified import Evidence, own_threshold
from modelcache.records.observation import Observation
from modelcache.records.vectors import Embeddings, from_bytes

TOLD_WRONG = "feedback"
UNDER_OWN_THRESHOLD = "own-threshold"
RETIRE_WRONG = 3


class FeedbackRule:
    """Refuses a candidate by what was observed of it; safe to call from many threads.

    Two questions are near copies when their cosine is at least halfway between ``threshold``, the
    embedder's own for short texts, and 1. Vectors of other embedders than the one in use say nothing.
    """

    def __init__(self, embedder: Callable[[], str], threshold: float) -> None:
        self._embedder = embedder
        self._near_copy = (1 + threshold) / 2

    def refuse(
        self,
        judged: Judged,
        fingerprint: str,
        embedding: Embeddings,
        observations: Sequence[Observation],
        threshold: float,
    ) -> Judged:
        """Return the candidate with its veto, if there is one, for the question of this fingerprint.

        ``observations`` are the candidate's, oldest first; ``threshold`` is the one that holds for all.
        """
        if judged.veto:
            return judged
        if self._is_told_wrong(judged, fingerprint, embedding, observations):
            return replace(judged, veto=TOLD_WRONG)
        if judged.confidence < threshold or _verdict(observations, fingerprint):
            return judged
        own = judged.candidate.entry.fingerprint
        # What is right for the entry's own question says nothing of one that is only alike.
        evidence = [Evidence(one.score, one.correct) for one in observations if one.fingerprint != own]
        if judged.confidence < own_threshold(evidence, threshold):
            return replace(judged, veto=UNDER_OWN_THRESHOLD)
        return judged

    def _is_told_wrong(
        self, judged: Judged, fingerprint: str, embedding: Embeddings, observations: Sequence[Observation]
    ) -> bool:
        """Tell whether the question, or one that it is a copy of, was told to be answered wrongly.

        A question is also refused when it is nearer to such a one than to the entry's own question and to
        all that the entry was told right for.
        """
        own = _verdict(observations, fingerprint)
        if own is not None:
            return not own
        wrong = self._nearest(embedding, observations, correct=False)
        right = self._nearest(embedding, observations, correct=True)
        return wrong > right and wrong >= min(self._near_copy, judged.candidate.similarity)

    def _nearest(self, embedding: Embeddings, observations: Sequence[Observation], *, correct: bool) -> float:
        embedder = self._embedder()
        cosines = [
            float(from_bytes(one.embedding) @ embedding)
            for one in observations
            if one.told and one.correct is correct and one.embedding and one.embedder == embedder
        ]
        return max(cosines, default=-1.0)


def _verdict(observations: Sequence[Observation], fingerprint: str) -> bool | None:
    """Return what was told of this very question, None if nothing was."""
    told = [one.correct for one in observations if one.told and one.fingerprint == fingerprint]
    return told[-1] if told else None


def is_to_be_retired(observations: Sequence[Observation], share: float) -> bool:
    """Tell whether an entry was wrong too often, by feedback, to answer anything further."""
    told = [one.correct for one in observations if one.told]
    wrong = told.count(False)
    return wrong >= RETIRE_WRONG and wrong >= share * len(told)
