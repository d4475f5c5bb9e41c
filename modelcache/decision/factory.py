"""The judge that the settings and the embedder ask for."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from modelcache.decision.confidence import FORMAT, Confidence, LanguageModel
from modelcache.decision.conversations import Conversations
from modelcache.decision.judge import Judge
from modelcache.decision.languages import LANGUAGES
from modelcache.decision.rerank import Reranker
from modelcache.embedding.base import Embedder
from modelcache.embedding.e5 import E5Embedder
from modelcache.errors import ConfigError
from modelcache.processor.post import POST_PROCESSES
from modelcache.settings import Settings
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.similarity_evaluation.paraphrase import ParaphraseReader
from modelcache.slots.guard import SlotGuard

CONFIDENCE = "confidence"
SHIPPED = Path(__file__).parent / "calibrations" / "shipped.json"


def make_judge(
    settings: Settings,
    embedder: Embedder,
    evaluation: SimilarityEvaluation,
    slot_guard: SlotGuard,
    confidence: Confidence | None,
    reranker: Reranker | None,
) -> Judge:
    """Build it for an open embedder."""
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


def open_confidence(settings: Settings, embedder: Embedder) -> Confidence | None:
    """Open the models that decide beside an open embedder; None where the cosine decides alone.

    ConfigError says in one sentence what is wrong with a model or the calibration.
    """
    if settings.evaluation != CONFIDENCE or not (settings.calibration or embedder.is_read):
        return None
    path = settings.calibration or SHIPPED
    tables = read_tables(path)
    with ExitStack() as opened:
        reader = ParaphraseReader(settings.embedding_threads, settings.reader_path)
        opened.callback(reader.close)
        reader.open()
        taught: Embedder = embedder
        if embedder.name != tables["embedder"]:
            taught = E5Embedder(settings.embedding_threads)
            opened.callback(taught.close)
            taught.open()
        for kind, fitted, used in (
            ("embedder", tables["embedder"], taught.name),
            ("reader", tables["reader"], reader.name),
        ):
            if fitted != used:
                raise ConfigError(
                    f"the calibration {path} was fitted for the {kind} {fitted!r}, not {used!r}: "
                    "fit it anew with `python -m modelcache calibrate --fit`"
                )
        confidence = Confidence(tables, reader, taught, shared=taught is embedder)
        # The tables of the languages are read now, and not while somebody waits.
        confidence.threshold("")
        opened.pop_all()
    return confidence


def read_tables(path: Path) -> dict[str, Any]:
    """Read a calibration; ConfigError says in one sentence what is wrong with it."""
    try:
        tables: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if tables["format"] != FORMAT:
            raise ValueError("it is of another version")
        for language in LANGUAGES:
            LanguageModel(tables["languages"][language])
        str(tables["embedder"]), str(tables["reader"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"the calibration {path} cannot be used ({exc!r}): fit it anew") from exc
    return tables
