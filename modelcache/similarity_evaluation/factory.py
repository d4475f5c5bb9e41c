"""Evaluations by name."""

from typing import TYPE_CHECKING

from modelcache.backends import EVALUATIONS
from modelcache.similarity_evaluation.base import SimilarityEvaluation

if TYPE_CHECKING:
    from modelcache.settings import Settings


def get_evaluation(settings: "Settings") -> SimilarityEvaluation:
    """Build the evaluation that the settings name."""
    return EVALUATIONS.load(settings.evaluation).from_settings(settings)
