"""A question with its answer: as it is written, as it is read, and as it was found near another one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


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
    scope: Mapping[str, Any] = field(default_factory=dict)
    """The keys of the scope besides the model, by which entries can be removed."""
    scope_keys: tuple[str, ...] = ()
    """The same as hashes, where only these are known."""
    metadata: str | None = None
    """JSON of the client's own, which a hit brings back; None: none was given."""
    envelope: str = ""
    """What an API keeps beside the answer, as it reads it; "" for nothing."""
    sources: tuple[str, ...] = ()
    """What the answer was made from."""
    created_at: float | None = None
    """Seconds since the epoch, of an entry from another store; None: now."""


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
    metadata: str | None = None
    observed: int = 0
    """1 where the store has observations of the entry, otherwise 0."""
    embedding: bytes = b""
    """As it was inserted; only ``get_live`` reads it."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A live row with all that goes with it."""

    id: int
    model: str
    partition: str
    fingerprint: str
    question: str
    answer: str
    embedder: str
    embedding: bytes | None
    expires_at: float | None
    metadata: str | None
    hit_count: int
    last_used_at: float
    created_at: float = 0.0
    scope: str | None = None
    """The keys of the scope besides the model, as JSON; None where only their hashes are known."""
    tags: tuple[str, ...] = ()
    scope_keys: tuple[str, ...] = ()
    envelope: str = ""
    sources: tuple[str, ...] = ()


class Place(NamedTuple):
    """Where an entry stands in a list."""

    hit_count: int
    """0 in the order of ids."""
    id: int


@dataclass(frozen=True, slots=True)
class EntrySearch:
    """Which entries are sought. Tags, sources and a scope are of one model."""

    model_key: str = ""
    """"" for all models."""
    text: str = ""
    """Part of the question or the answer; "" for any."""
    tags: tuple[str, ...] = ()
    """All of them, and so with the sources and the keys of the scope."""
    sources: tuple[str, ...] = ()
    scope: Mapping[str, Any] = field(default_factory=dict)
    by_hits: bool = False
    """Those first that answered most often, of one model; otherwise the newest."""
    after: Place | None = None
    """Where the page before ended."""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Some of the entries that are sought."""

    entries: tuple[StoredEntry, ...]
    next: Place | None
    """Where the next page begins; None: there is none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live entry near the question."""

    entry: CachedAnswer
    similarity: float
    """Cosine of the two questions' embeddings, -1..1."""
    context_similarities: tuple[float, ...] = ()
    """The cosine of each two earlier turns at the same place that are compared by meaning, oldest first."""
