"""The judge that the settings and the embedder ask for."""

from typing import TYPE_CHECKING

from modelcache.decision.confidence import SHIPPED, Confidence
from modelcache.decision.conversations import Conversations
from modelcache.decision.judge import Judge
from modelcache.decision.rerank import Reranker
from modelcache.embedding.base import Embedder
from modelcache.errors import ConfigError
from modelcache.processor.post import POST_PROCESSES
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.similarity_evaluation.paraphrase import ParaphraseReader
from modelcache.slots.guard import SlotGuard

if TYPE_CHECKING:
    from modelcache.settings import Settings

CONFIDENCE = "confidence"


def make_judge(
    settings: "Settings",
    embedder: Embedder,
    evaluation: SimilarityEvaluation,
    slot_guard: SlotGuard,
    reader: ParaphraseReader | None,
    reranker: Reranker | None,
) -> Judge:
    """Build it for an open embedder and an open reader; ConfigError says in one sentence what is wrong."""
    confidence = None
    if reader is not None:
        confidence = load_confidence(settings, embedder, reader)
    return Judge(
        evaluation,
        slot_guard,
        Conversations.from_settings(settings, slot_guard, embedder.thresholds, confidence),
        POST_PROCESSES[settings.post_process],
        embedder.thresholds,
        confidence,
        settings.long_text_chars,
        settings.read_candidates,
        reranker,
    )


def make_reader(settings: "Settings", embedder: Embedder) -> ParaphraseReader | None:
    """Return the reader that the settings ask for, not yet open; None where the cosine decides alone."""
    if settings.evaluation != CONFIDENCE or not (settings.calibration or embedder.is_read):
        return None
    return ParaphraseReader(settings.embedding_threads, settings.reader_path)


def load_confidence(settings: "Settings", embedder: Embedder, reader: ParaphraseReader) -> Confidence:
    """Read the calibration that is configured, or the shipped one; ConfigError if it is of other models."""
    path = settings.calibration or SHIPPED
    confidence = Confidence.load(path, reader, embedder.name)
    if settings.calibration is not None and not confidence.knows_cosines:
        raise ConfigError(
            f"the calibration {path} was fitted for the embedder {confidence.embedder!r}, "
            f"not {embedder.name!r}"
        )
    if confidence.reader != reader.name:
        raise ConfigError(
            f"the calibration {path} was fitted for the reader {confidence.reader!r}, not {reader.name!r}: "
            "fit it anew with `python -m modelcache calibrate --fit`"
        )
    return confidence
