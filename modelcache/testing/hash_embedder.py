"""A deterministic embedder for tests that are not about meaning."""

import hashlib
from collections.abc import Sequence

import numpy as np

from modelcache.embedding.base import Embedder, Thresholds
from modelcache.records.vectors import Embeddings, normalise_rows
from modelcache.settings import Settings

NEAR = " (again)"


class HashEmbedder(Embedder):
    """Gives each text a random direction, and a text that ends in ``NEAR`` one close to its stem's."""

    name = "hash-v1"
    dimension = 32
    thresholds = Thresholds(short=0.9, long=0.95, context=0.9, answered=0.9)

    @classmethod
    def from_settings(cls, settings: Settings) -> "HashEmbedder":
        return cls()

    def open(self) -> None:
        pass

    def embed(self, texts: Sequence[str]) -> Embeddings:
        rows = np.array([self._direction(text) for text in texts], np.float32)
        return normalise_rows(rows.reshape(len(texts), self.dimension))

    def _direction(self, text: str) -> np.ndarray:
        if text.endswith(NEAR):
            # 0.3 of another unit vector beside the stem's: a cosine of about 0.958.
            stem, own = self._direction(text.removesuffix(NEAR)), self._random(text)
            own -= stem * (own @ stem)
            return stem + 0.3 * own / np.linalg.norm(own)
        return self._random(text)

    def _random(self, text: str) -> np.ndarray:
        seed = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        vector = np.random.default_rng(list(seed)).normal(size=self.dimension)
        return vector / np.linalg.norm(vector)
