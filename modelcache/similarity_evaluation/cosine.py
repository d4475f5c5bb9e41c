"""Rank by the cosine of the two embeddings."""

from modelcache.records.entry import Candidate
from modelcache.records.question import Question
from modelcache.similarity_evaluation.base import SimilarityEvaluation


class CosineEvaluation(SimilarityEvaluation):
    """The rank is the cosine; a negative one counts as 0."""

    def rank(self, question: Question, candidate: Candidate) -> float:
        return min(1.0, max(0.0, candidate.similarity))

    def threshold(self, cosine: float) -> float:
        return cosine
