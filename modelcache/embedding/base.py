"""What every embedder promises."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from modelcache.records.vectors import Embeddings
from modelcache.settings import Settings


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The cosine similarity from which on two texts count as the same question.

    A cosine means nothing across embedders (some score unrelated texts 0.8), so each embedder
    brings its own; ``long`` is for texts over the setting ``long_text_chars``, ``context`` for the earlier
    turns of two conversations with like last turns, ``answered`` for those of them that got the same reply.
    """

    short: float
    long: float
    context: float
    answered: float

    @property
    def different(self) -> float:
        """The cosine under which two texts say different things.

        Ten times as far from 1 as ``short``: of labelled question pairs under it, with the bundled embedder,
        less than 5 % say the same.
        """
        return 1 - 10 * (1 - self.short)


# Where nothing is known about a model, only near-identical texts match until its user has calibrated it
# or set MODELCACHE_SIMILARITY_THRESHOLD.
UNKNOWN_MODEL = Thresholds(short=0.97, long=0.99, context=0.97, answered=0.93)


class Embedder(ABC):
    """Turns texts into vectors of unit length; safe to call from many threads at once.

    Nothing heavy happens before ``open``: it may be called once, in the process that will embed
    (some engines do not survive a fork). ``dimension`` is known after ``open``.
    """

    name: str
    """Identifies model, version and pooling: vectors of two names are never compared."""
    dimension: int
    thresholds: Thresholds
    may_change: bool = False
    """Whether other vectors may come while it is open: another process makes them."""
    is_read: bool = False
    """Whether the model that reads both questions decides on what it finds; otherwise the cosine does."""
    max_chars: int = 8192
    """``embed`` reads no more of a text: of a longer one, the first and the last half of this many
    characters. Texts that differ in between would look the same, so the cache compares none."""

    parallel: int = 1
    """How many calls of ``embed`` at a time make it faster; an engine that uses all cores: one."""
    batch_texts: int = 32
    """How many texts are given to it at once. More than it takes to be fast only keep others waiting. Lowered
    where it refuses so many."""
    batch_chars: int = 4096
    """How many characters at once, more or less."""
    own_settings: ClassVar[type[Any] | None] = None
    """Of another package's embedder: a frozen dataclass of its settings (``modelcache.own_settings``)."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings) -> "Embedder":
        """Build one from the service's settings, loading nothing."""

    @abstractmethod
    def open(self) -> None:
        """Load weights or reach the server; ConfigError says in one sentence what is missing."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return a float32 array (len(texts), dimension), each row L2-normalised.

        Any str is accepted: empty, control characters, lone surrogates, a megabyte. Equal texts
        give equal vectors up to rounding. Raises EmbeddingError; repeating the call is harmless.
        """

    def unknown_tokens(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of each part of the text that the tokenizer does not know, in their order.

        Two texts that differ only in such parts may have the same vector. They are ranges of characters of
        ``text``; of what ``embed`` does not read, none is told. An embedder that cannot tell returns none.
        Raises EmbeddingError when it is not open.
        """
        return []

    def close(self) -> None:  # noqa: B027 - most embedders hold nothing to release
        """Release what ``open`` took; harmless when repeated."""


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
