"""What every evaluation promises: a candidate's rank, and whether that is near enough."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from modelcache.records.entry import Candidate
from modelcache.records.question import Question
from modelcache.settings import Settings


class SimilarityEvaluation(ABC):
    """Ranks a candidate from 0 (unlike) to ``highest`` (the same question)."""

    highest: float = 1.0
    searches: bool = True
    """Whether a question with another text may be near enough, so that a search is worth its time."""
    own_settings: ClassVar[type[Any] | None] = None
    """Of another package's evaluation: a frozen dataclass of its settings (``modelcache.own_settings``)."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "SimilarityEvaluation":
        return cls()

    @abstractmethod
    def rank(self, question: Question, candidate: Candidate) -> float:
        """Return the candidate's rank, 0..highest."""

    @abstractmethod
    def threshold(self, cosine: float) -> float:
        """Return the threshold that means the same as this cosine."""

    def accepts(self, confidence: float, threshold: float) -> bool:
        """Tell whether a rank, as a share (0..1) of the highest, reaches a threshold on the same scale."""
        return confidence >= threshold
