"""The judge that the settings and the embedder ask for."""

import logging
from typing import TYPE_CHECKING

from modelcache.decision.confidence import SHIPPED, Confidence
from modelcache.decision.conversations import Conversations
from modelcache.decision.judge import Judge
from modelcache.decision.rerank import Reranker
from modelcache.embedding.base import Embedder
from modelcache.errors import ConfigError
from modelcache.processor.post import POST_PROCESSES
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.slots.guard import SlotGuard

if TYPE_CHECKING:
    from modelcache.settings import Settings

logger = logging.getLogger(__name__)

CONFIDENCE = "confidence"


def make_judge(
    settings: "Settings",
    embedder: Embedder,
    evaluation: SimilarityEvaluation,
    slot_guard: SlotGuard,
    reranker: Reranker | None,
) -> Judge:
    """Build it for an open embedder; ConfigError says in one sentence what is wrong."""
    confidence = None
    if settings.evaluation == CONFIDENCE:
        confidence = load_confidence(settings, embedder, slot_guard)
    return Judge(
        evaluation,
        slot_guard,
        Conversations.from_settings(settings, slot_guard, embedder.thresholds),
        POST_PROCESSES[settings.post_process],
        embedder.thresholds,
        confidence,
        settings.long_text_chars,
        reranker,
    )


def load_confidence(settings: "Settings", embedder: Embedder, slot_guard: SlotGuard) -> Confidence | None:
    """Read the calibration that is configured, or the embedder's own; None if it has none."""
    if settings.calibration is not None:
        confidence = Confidence.load(settings.calibration, slot_guard)
        if confidence.embedder != embedder.name:
            raise ConfigError(
                f"the calibration {settings.calibration} was fitted for the embedder "
                f"{confidence.embedder!r}, not {embedder.name!r}"
            )
        if confidence.dimension != embedder.dimension:
            raise ConfigError(
                f"the calibration {settings.calibration} was fitted to {confidence.dimension} dimensions, "
                f"but the embedder makes {embedder.dimension}"
            )
        return confidence
    if embedder.calibration:
        confidence = Confidence.load(SHIPPED / f"{embedder.calibration}.json", slot_guard)
        if confidence.embedder == embedder.name:
            return confidence
    logger.info(
        "no calibration for the embedder %s: the cosine decides alone, see `python -m modelcache calibrate`",
        embedder.name,
    )
    return None
