"""A calibration that has seen nothing of what is asked."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.trust.split import Split
from modelcache.calibration.command import fitted
from modelcache.calibration.pairs import LabelledPair
from modelcache.calibration.reading import see
from modelcache.embedding.base import Embedder
from modelcache.records.vectors import Embeddings
from modelcache.settings import Settings, load_settings
from modelcache.similarity_evaluation.paraphrase import ParaphraseReader
from modelcache.slots.guard import SlotGuard
from tests.support.question_pairs import FILES, read_pairs

# As the shipped calibration is made: of all hits, and of those in one language.
WRONG_SHARES = (0.03, 0.06)


class RememberingEmbedder(Embedder):
    """An embedder, open, with all it has embedded: the same texts are fitted to, cached and asked."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Embeddings] = {}
        self.thresholds, self.is_read = embedder.thresholds, embedder.is_read
        self.max_chars, self.parallel = embedder.max_chars, embedder.parallel
        self.batch_texts, self.batch_chars = embedder.batch_texts, embedder.batch_chars

    @classmethod
    def from_settings(cls, settings: Settings) -> "RememberingEmbedder":
        raise NotImplementedError

    def open(self) -> None:
        self._embedder.open()
        self.name, self.dimension = self._embedder.name, self._embedder.dimension

    def embed(self, texts: Sequence[str]) -> Embeddings:
        unknown = list(dict.fromkeys(text for text in texts if text not in self._known))
        if unknown:
            self._known.update(zip(unknown, self._embedder.embed(unknown), strict=True))
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return np.stack([self._known[text] for text in texts])


def calibrated(data: Path, embedder: Embedder, path: Path) -> Path:
    """Fit to the pairs that are not asked, and write it."""
    suites = {}
    for language in FILES:
        of_language = read_pairs(data, language)
        split = Split.of(of_language, language)
        suites[language] = [
            LabelledPair(pair.cached, pair.asked, pair.same) for pair in of_language if split.is_fitted(pair)
        ]
    slot_guard = SlotGuard.from_settings(load_settings("demo", {}))
    reader = ParaphraseReader()
    reader.open()
    tables = fitted(see(suites, embedder, slot_guard, reader), embedder.name, reader.name, WRONG_SHARES)
    reader.close()
    path.write_text(json.dumps(tables), encoding="utf-8")
    return path
