"""Rank by the squared L2 distance of the two normalised embeddings, as ModelCache does."""

from modelcache.records.entry import Candidate
from modelcache.records.question import Question
from modelcache.settings import Settings
from modelcache.similarity_evaluation.base import SimilarityEvaluation


class DistanceEvaluation(SimilarityEvaluation):
    """Rank = maximum − squared L2, which is 2 − 2·cosine for vectors of unit length and at most 4.

    With ``positive`` the measure is one that grows with likeness, the inner product, and is the rank.
    """

    def __init__(self, maximum: float = 4.0, positive: bool = False) -> None:
        self.positive = positive
        self.highest = 1.0 if positive else maximum

    @classmethod
    def from_settings(cls, settings: Settings) -> "DistanceEvaluation":
        return cls(settings.distance_max, settings.distance_positive)

    def rank(self, question: Question, candidate: Candidate) -> float:
        return self._rank_of(candidate.similarity)

    def threshold(self, cosine: float) -> float:
        return self._rank_of(cosine) / self.highest

    def _rank_of(self, cosine: float) -> float:
        rank = cosine if self.positive else self.highest - (2.0 - 2.0 * cosine)
        return min(self.highest, max(0.0, rank))
