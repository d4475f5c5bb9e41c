"""BERT weights from a folder, run with transformers and torch: the mean of the token states."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelcache.embedding.base import Embedder, Thresholds
from modelcache.embedding.folder import CONFIG_FILE, PROJECT_ROOT, fingerprint, resolve_folder
from modelcache.embedding.text import clean, ranges_before_clean, safe_name
from modelcache.embedding.transformer import (
    PYTORCH_FILE,
    SAFETENSORS_FILE,
    TOKENIZER_FILES,
    TOKENIZER_OPTIONS,
    TransformerEncoder,
    check_probe,
    weights_file,
)
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.records.vectors import Embeddings, normalise_rows
from modelcache.settings import Settings

HUB_NAME = "shibing624/text2vec-base-chinese"

# Published with the reference for text2vec-base-chinese; not measured here.
THRESHOLDS = Thresholds(short=0.95, long=0.95, context=0.95, answered=0.9)


def missing_file(folder: Path) -> str | None:
    """Return the name of the first file that the folder lacks, or None when all is in place."""
    folder = resolve_folder(folder, PROJECT_ROOT)
    for names in ((CONFIG_FILE,), TOKENIZER_FILES, (PYTORCH_FILE, SAFETENSORS_FILE)):
        if not any((folder / name).is_file() for name in names):
            return " or ".join(names)
    return None


class Text2VecEmbedder(Embedder):
    """Mean pooling over a BERT-like model; on the GPU where torch finds one.

    A text longer than the model's limit is cut into windows, each with its special tokens; its
    vector is the mean over the tokens of all of them.
    """

    BATCH_WINDOWS: ClassVar[int] = TransformerEncoder.BATCH_WINDOWS

    thresholds = THRESHOLDS
    is_read = True
    # A BERT of base size takes about 1.4 ms a character of Chinese on two idle cores.
    max_chars = 4096

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encoder: TransformerEncoder | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "Text2VecEmbedder":
        """Take the folder from the settings."""
        return cls(settings.text2vec_path)

    def open(self) -> None:
        """Load tokenizer and weights; ConfigError names the file that is missing or damaged."""
        folder = self._folder = resolve_folder(self._folder, PROJECT_ROOT)
        missing = missing_file(folder)
        if missing is not None:
            raise ConfigError(f"{folder} has no {missing}: download {HUB_NAME} and put the file there")
        self._encoder = TransformerEncoder(folder, "text2vec")
        self.dimension = self._encoder.dimension
        files = (CONFIG_FILE, *TOKENIZER_FILES, *TOKENIZER_OPTIONS, weights_file(folder).name)
        self.name = f"text2vec-{safe_name(folder.absolute().name)}-mean-{fingerprint(folder, files)}"
        check_probe(self, folder)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one unit vector per text; EmbeddingError when torch fails or nothing is open."""
        encoder = self._opened()
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        windows, owners = encoder.windows([clean(text, self.max_chars) for text in texts])
        window_sums = np.empty((len(windows), self.dimension), dtype=np.float32)
        for batch, batch_sums in encoder.run(windows, _sum_states):
            window_sums[batch] = batch_sums
        sums = np.zeros((len(texts), self.dimension), dtype=np.float32)
        np.add.at(sums, owners, window_sums)
        counts = np.zeros((len(texts), 1), dtype=np.float32)
        np.add.at(counts[:, 0], owners, [len(window) for window in windows])
        return normalise_rows(sums / counts)

    def unknown_tokens(self, text: str) -> list[tuple[int, int]]:
        """Return where the tokenizer writes its unknown word; EmbeddingError when nothing is open."""
        ranges = self._opened().unknown_ranges(clean(text, self.max_chars))
        return ranges_before_clean(ranges, len(text), self.max_chars)

    def close(self) -> None:
        """Let the weights go."""
        self._encoder = None

    def _opened(self) -> TransformerEncoder:
        if self._encoder is None:
            raise EmbeddingError("the text2vec embedder is not open")
        return self._encoder


def _sum_states(states: Any, mask: Any) -> Any:
    """Return the sum of each window's token states, shape (windows, dimension)."""
    return (states * mask.unsqueeze(-1)).sum(dim=1)
