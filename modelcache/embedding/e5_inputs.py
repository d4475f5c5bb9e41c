"""From a text to what the encoder of multilingual-e5-small is given: its tokens' vectors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from marisa_trie import Trie

from modelcache.embedding.e5_weights import UNKNOWN, E5Weights, Floats, dequantise
from modelcache.embedding.shipped import shipped_folder
from modelcache.embedding.unigram import Unigram
from modelcache.errors import ConfigError

PREFIX = "query: "
SHIPPED = "e5"
TRIE = "pieces.marisa"
IDS = "pieces.npy"
LONGEST_PIECE = 16


class E5Inputs:
    """Cuts texts into windows of tokens, and looks the tokens' vectors up; safe to use from many threads."""

    def __init__(self, weights: E5Weights, folder: Path | None = None) -> None:
        """Open the folder's trie of pieces, or else the shipped one; ConfigError when it is not there."""
        if folder is None or not (folder / TRIE).is_file():
            folder = shipped_folder(SHIPPED)
        trie = Trie()
        try:
            trie.mmap(str(folder / TRIE))
            ids = np.load(folder / IDS)
        except (OSError, RuntimeError, ValueError) as exc:
            raise ConfigError(f"{folder} holds no {TRIE} and {IDS} that `build-e5` made") from exc
        scores = weights.scores[ids]
        self._tokens = Unigram(trie, ids, scores, weights.replaced, UNKNOWN, LONGEST_PIECE)
        self.begin, self.end = weights.begin, weights.end
        self._words = weights.words()
        # All tokens have the first type.
        kind = weights.floats("emb.type")[: weights.hidden]
        self._positions = weights.floats("emb.pos").reshape(-1, weights.hidden) + kind

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of a text as it is, without a beginning and an end."""
        return self._tokens.ids(text)

    def windows(self, text: str) -> list[list[int]]:
        """Return the token ids of a text, in windows that the model takes, each begun and ended."""
        ids = self._tokens.ids(PREFIX + text)
        room = len(self._positions) - 2
        starts = range(0, max(1, len(ids)), room)
        return [[self.begin, *ids[start : start + room], self.end] for start in starts]

    def states(self, ids: Sequence[int]) -> Floats:
        """Return the sum of each token's word, position and type vectors, float32 (1, tokens, 384)."""
        return (dequantise(self._words[ids]) + self._positions[: len(ids)])[None]

    def unknown(self, text: str) -> list[tuple[int, int]]:
        """Return the characters that no token stands for, as ranges (start, end)."""
        return self._tokens.unknown(text)
