"""Vectors as they are computed, searched and kept."""

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]
Ids = NDArray[np.int64]


def normalise_rows(vectors: NDArray[np.floating]) -> Embeddings:
    """Return float32 rows of unit length; a row of zeros stays zeros."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: Embeddings = rows / lengths
    return unit


def to_bytes(embedding: Embeddings) -> bytes:
    """Pack one vector as a row keeps it: float32, little-endian."""
    return embedding.astype("<f4").tobytes()


def from_bytes(data: bytes) -> Embeddings:
    """Unpack a row's vectors, float32, in a line."""
    return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
