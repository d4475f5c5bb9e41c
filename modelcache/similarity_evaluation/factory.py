"""Evaluations by name."""

from typing import TYPE_CHECKING

from modelcache.registry import Registry
from modelcache.similarity_evaluation.base import SimilarityEvaluation

if TYPE_CHECKING:
    from modelcache.settings import Settings

EVALUATIONS = Registry(
    "evaluation",
    {
        # What decides for an embedder without a calibration.
        "confidence": "modelcache.similarity_evaluation.cosine:CosineEvaluation",
        "cosine": "modelcache.similarity_evaluation.cosine:CosineEvaluation",
        "distance": "modelcache.similarity_evaluation.distance:DistanceEvaluation",
        "exact_match": "modelcache.similarity_evaluation.exact_match:ExactMatchEvaluation",
    },
)


def get_evaluation(settings: "Settings") -> SimilarityEvaluation:
    """Build the evaluation that the settings name."""
    evaluation: SimilarityEvaluation = EVALUATIONS.load(settings.evaluation).from_settings(settings)
    return evaluation
