"""Evaluations by name."""

from modelcache.backends import EVALUATIONS
from modelcache.settings import Settings
from modelcache.similarity_evaluation.base import SimilarityEvaluation


def get_evaluation(settings: Settings) -> SimilarityEvaluation:
    """Build the evaluation that the settings name."""
    return EVALUATIONS.load(settings.evaluation).from_settings(settings)
