"""What every eviction book promises: it knows which entries of a model are worth the least."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelcache.manager.scalar_data.base import HitUse, RowUse

# Hits are recorded in the background, this much late when there is much to do; insertions at once.
RECORDING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class EntryKey:
    """An entry as a book knows it: by its question, which stays the same when it is inserted again."""

    id: int
    fingerprint: str


class EvictionBook(ABC):
    """The order in which a model's entries would be evicted. Safe to call from many threads.

    A book may know ids that are gone, or not know all: the rows are the truth, and the eviction
    manager asks until enough living entries were found. Raises StoreError.
    """

    @abstractmethod
    def add(self, model_key: str, entries: Sequence[EntryKey]) -> None:
        """Note entries that have just become live."""

    @abstractmethod
    def use(self, model_key: str, uses: Mapping[EntryKey, HitUse]) -> None:
        """Note that entries answered; they are worth more now."""

    @abstractmethod
    def victims(self, model_key: str, count: int) -> list[int]:
        """Take up to ``count`` ids off the book, the least worth first; empty when it has no more."""

    @abstractmethod
    def forget(self, model_key: str) -> None:
        """Drop what is known of a model; it is read anew from the rows when it is needed."""


def recency(row: RowUse) -> float:
    """Return when an entry was last used (epoch seconds), at the latest.

    What is hit all the time would look idle for as long as its last hit is not recorded: where a model
    is turned over within seconds, entries that nobody asks for would stay and it would go.
    """
    return row.last_used_at + (RECORDING_SECONDS if row.hit_count else 0.0)
