"""Accept equal questions only."""

from modelcache.records.entry import Candidate
from modelcache.records.question import Question
from modelcache.similarity_evaluation.base import SimilarityEvaluation


class ExactMatchEvaluation(SimilarityEvaluation):
    """The rank is 1 for a question with the same fingerprint, otherwise 0, whatever the threshold.

    Equal questions are found without a search; entries are embedded all the same, for other evaluations.
    """

    searches = False

    def rank(self, question: Question, candidate: Candidate) -> float:
        return 1.0 if candidate.entry.fingerprint == question.fingerprint else 0.0

    def threshold(self, cosine: float) -> float:
        return 1.0

    def accepts(self, confidence: float, threshold: float) -> bool:
        return confidence == 1.0
