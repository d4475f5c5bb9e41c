"""A question with its answer: as it is written, as it is read, and as it was found near another one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """One question with its answer, as it is first written (state WRITING)."""

    model: str
    model_key: str
    """Hash of the full model name: two names never share one, whatever the collation."""
    partition: str
    fingerprint: str
    question: str
    answer: str
    embedder: str
    """Name of the embedder that made ``embedding``; empty where there is none."""
    embedding: bytes | None
    """float32, little-endian, dimension × 4 bytes, and as many again for each earlier turn that is compared
    by meaning; None for a text too long for that."""
    expires_at: float | None = None
    """Seconds since the epoch; None: never."""
    tags: tuple[str, ...] = ()
    envelope: str = ""
    """What an API keeps beside the answer, as it reads it; "" for nothing."""


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A live row."""

    id: int
    model_key: str
    partition: str
    fingerprint: str
    question: str
    answer: str
    hit_count: int
    expires_at: float | None
    observed: int = 0
    """1 where the store has observations of the entry, otherwise 0."""
    embedding: bytes = b""
    """As it was inserted; only ``get_live`` reads it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live entry near the question."""

    entry: CachedAnswer
    similarity: float
    """Cosine of the two questions' embeddings, -1..1."""
    context_similarities: tuple[float, ...] = ()
    """The cosine of each two earlier turns at the same place that are compared by meaning, oldest first."""
