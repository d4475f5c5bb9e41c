"""What is known of a model's traffic: which answers were right, what became of queries, how it is served."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observation:
    """Whether an entry's answer was right for a question: told by feedback, or seen by the true answer."""

    answer_id: int
    fingerprint: str
    """Of the question asked; the entry's own for an exact hit."""
    told: bool
    """By feedback; otherwise the entry's answer was compared with the one that was inserted."""
    model_key: str
    score: float
    """The confidence, 0..1, that the decision had in the entry."""
    correct: bool
    at: float
    """Seconds since the epoch."""
    embedder: str = ""
    embedding: bytes | None = None
    """The question's vector, as a row keeps it; None where nobody needs it."""


@dataclass(frozen=True, slots=True)
class PendingLookup:
    """A query that was answered by a miss although an entry might have answered it."""

    fingerprint: str
    partition: str
    model_key: str
    answer_id: int
    score: float
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """What is set for one model while the service runs; None: as the settings say."""

    model_key: str
    model: str
    mode: str | None = None
    error_rate: float | None = None
    ttl: float | None = None
    """Seconds that an entry without a time to live of its own answers; 0: for ever."""
    max_size: int | None = None
    """Entries the model may have; 0: no limit."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A number of queries of a model, by what became of them and the score of their best entry."""

    model_key: str
    outcome: str
    bucket: int
    count: int
