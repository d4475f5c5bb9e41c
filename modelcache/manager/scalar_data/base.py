"""What every scalar store promises: the rows are the truth, the vectors an index over them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from modelcache.manager.scalar_data.log_store import LogStore
from modelcache.records.day_count import DayCount
from modelcache.records.entry import CachedAnswer, EntryPage, EntrySearch, NewAnswer, StoredEntry
from modelcache.records.observation import ModelPolicy, Observation, PendingLookup, Tally
from modelcache.records.removal import Unremoved
from modelcache.settings import Settings

MAX_ID = 2**63 - 1


class RowState(IntEnum):
    """The column ``is_deleted``: a row is written, then lives, then is soft-deleted, then purged."""

    WRITING = 1
    LIVE = 0
    DELETED = -1


@dataclass(frozen=True, slots=True)
class StoredEmbedding:
    id: int
    partition: str
    embedding: bytes
    embedder: str


@dataclass(frozen=True, slots=True)
class DeadAnswer:
    """A soft-deleted row that waits for its vector, then itself, to be removed."""

    id: int
    model: str
    embedder: str


@dataclass(frozen=True, slots=True)
class HitUse:
    """How often an entry answered since the last record, and when it last did (epoch seconds)."""

    count: int
    last_used_at: float


@dataclass(frozen=True, slots=True)
class RowUse:
    """How a live row was used: what an eviction policy decides by."""

    id: int
    fingerprint: str
    hit_count: int
    last_used_at: float


@dataclass(frozen=True, slots=True)
class DeadCount:
    """How many rows of a model are soft-deleted."""

    model: str
    model_key: str
    count: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What an embedder once made of a fixed text."""

    embedder: str
    generation: int
    """How often its vectors have changed under the same name."""
    embedding: bytes


class AnswerStore(ABC):
    """Rows and their states.

    A row is live when its state is LIVE and it has not expired; ``now`` is in epoch seconds.
    Ids are positive, grow, and are never used twice, not even after a row is gone.
    """

    @abstractmethod
    def add(self, answers: Sequence[NewAnswer]) -> list[int]:
        """Write all rows in state WRITING in one transaction and return their ids, in order.

        Not to be repeated: every call makes new rows. They answer nothing before ``activate``.
        """

    def insert_live(
        self,
        answers: Sequence[NewAnswer],
        index: Callable[[list[int]], None],
        unremoved: Unremoved | None = None,
    ) -> list[int]:
        """Do ``add`` and ``activate`` in one transaction, with ``index`` called in between with the ids.

        Only of stores that can be ``exclusive``. If ``index`` raises, nothing is written. A process that is
        killed before the end leaves nothing either, except what ``index`` did. Not to be repeated.
        """
        raise NotImplementedError

    @abstractmethod
    def activate(
        self, ids: Sequence[int], fingerprints: Sequence[str], unremoved: Unremoved | None = None
    ) -> None:
        """Make the rows live, all or none; older live rows with an equal fingerprint are deleted.

        OutdatedError, and nothing is changed, where something of ``unremoved`` was removed since.
        Within one call the last row of a fingerprint wins. ScalarStoreError when a row is no
        longer in state WRITING. When this returns, the rows are on disk; a repetition changes nothing.
        """

    @abstractmethod
    def discard(self, ids: Sequence[int]) -> None:
        """Soft-delete those of the rows that are still WRITING."""

    @abstractmethod
    def discard_unfinished(self, before: float) -> int:
        """Soft-delete the rows that entered state WRITING before this time; returns how many.

        Younger ones may still be on their way to being live in another process.
        """

    @abstractmethod
    def find_exact(self, fingerprint: str, now: float) -> CachedAnswer | None:
        """Return the live row with this fingerprint, or None."""

    @abstractmethod
    def get_live(self, ids: Sequence[int], now: float) -> dict[int, CachedAnswer]:
        """Return the live rows among ``ids``, in one read; absent ids are absent."""

    @abstractmethod
    def envelope(self, id_: int) -> str:
        """Return what an API keeps beside an entry's answer; "" where it keeps nothing."""

    @abstractmethod
    def answers(self, ids: Sequence[int]) -> dict[int, CachedAnswer]:
        """Return those of the rows that were not purged yet, whatever their state."""

    @abstractmethod
    def dead_counts(self) -> list[DeadCount]:
        """Return how many rows are soft-deleted, for each model that has any."""

    @abstractmethod
    def dead(self, model_key: str, limit: int) -> list[DeadAnswer]:
        """Return up to ``limit`` soft-deleted rows of a model, oldest first."""

    @abstractmethod
    def uses(self, model_key: str) -> list[RowUse]:
        """Return the use of every LIVE row of a model, in the order of their last use."""

    @abstractmethod
    def record_hits(self, uses: Mapping[int, HitUse]) -> None:
        """Add to the hit counts; not to be repeated."""

    @abstractmethod
    def purge(self, ids: Sequence[int]) -> None:
        """Remove those of the rows that are soft-deleted, with all that goes with them."""

    @abstractmethod
    def models(self) -> list[str]:
        """Return the names of the models that have LIVE rows."""

    @abstractmethod
    def count(self, model_key: str) -> int:
        """Return how many rows of this model are LIVE."""

    @abstractmethod
    def embedded_ids(self, model_key: str, embedder: str) -> list[int]:
        """Return the ids of the rows of this model, not deleted, that carry a vector of this embedder.

        Rows in state WRITING count: their vectors are about to be needed.
        """

    @abstractmethod
    def embeddings(self, ids: Sequence[int]) -> list[StoredEmbedding]:
        """Return the vectors of those of the rows that are not deleted."""


class RemovalStore(ABC):
    """What stops answering at once; ``dry_run`` counts what would, and changes nothing."""

    @abstractmethod
    def delete(self, model_key: str, ids: Sequence[int]) -> int:
        """Soft-delete the LIVE rows of this model among ``ids`` (any integers) and return how many."""

    @abstractmethod
    def delete_tagged(self, model_key: str, tags: Sequence[str], *, dry_run: bool = False) -> int:
        """Soft-delete the LIVE rows of this model that carry any of ``tags`` and return how many."""

    @abstractmethod
    def delete_sourced(self, model_key: str, sources: Sequence[str], *, dry_run: bool = False) -> int:
        """Soft-delete the model's LIVE rows that were made from any of ``sources`` and return how many."""

    @abstractmethod
    def delete_scoped(self, model_key: str, scope: Mapping[str, Any], *, dry_run: bool = False) -> int:
        """Soft-delete the model's live rows whose scope has all of these keys and values, at least one.

        Returns how many there were. Not to be repeated.
        """

    @abstractmethod
    def delete_older(self, model_key: str, before: float, *, dry_run: bool = False) -> int:
        """Soft-delete the model's LIVE rows that were made in a second before this time; returns how many."""

    @abstractmethod
    def delete_expired(self, now: float) -> int:
        """Soft-delete the LIVE rows whose time is over and return how many."""

    @abstractmethod
    def note_removal(self, keys: Sequence[str]) -> None:
        """Hold back what was looked up before now and is removed by any of these keys (records.removal).

        When it returns, every insert that checked its keys before is live, so that a removal that follows
        meets it, and every later one fails.
        """

    @abstractmethod
    def trim_removals(self, before: float) -> int:
        """Forget the removals noted before this time (epoch seconds) and return how many."""


class EntryStore(ABC):
    """Live rows with all that goes with them."""

    @abstractmethod
    def entries(self, model_key: str, after: int, limit: int, now: float) -> list[StoredEntry]:
        """Return a model's live rows with an id over ``after``, by id, at most ``limit`` of them."""

    @abstractmethod
    def entry(self, id_: int, now: float) -> StoredEntry | None:
        """Return the live row with this id, or None."""

    @abstractmethod
    def find_entries(self, search: EntrySearch, now: float) -> EntryPage:
        """Return live rows, the newest first or those that answered most often.

        A page reads a limited number of rows. It may have fewer than were asked for, or none, and more may
        follow all the same: ``next`` tells.
        """


class ObservationStore(ABC):
    """What was observed of entries and queries."""

    @abstractmethod
    def observe(self, observations: Sequence[Observation]) -> None:
        """Keep observations of entries; those of rows that were purged are dropped.

        A later one of the same entry, question and way of knowing takes the place of an earlier one.
        """

    @abstractmethod
    def observations(self, ids: Sequence[int]) -> dict[int, list[Observation]]:
        """Return all that was observed of these entries, oldest first; absent ids are absent."""

    @abstractmethod
    def model_observations(self, model_key: str, limit: int) -> list[Observation]:
        """Return a model's observations without their vectors, the newest first."""

    @abstractmethod
    def keep_lookups(self, lookups: Sequence[PendingLookup]) -> None:
        """Keep look-ups until their answers come; of each fingerprint the last."""

    @abstractmethod
    def take_lookups(self, fingerprints: Sequence[str], since: float) -> list[PendingLookup]:
        """Return and forget the look-ups of these questions that are not older than ``since``.

        Not to be repeated: of several who ask for one, one gets it.
        """

    @abstractmethod
    def trim_lookups(self, before: float) -> int:
        """Forget the look-ups older than ``before`` (epoch seconds) and return how many."""

    @abstractmethod
    def add_tallies(self, tallies: Sequence[Tally]) -> None:
        """Add to the counts; not to be repeated."""

    @abstractmethod
    def tallies(self, model_key: str) -> list[Tally]:
        """Return the counts of a model."""


class PolicyStore(ABC):
    """What is set for each model, and who does what one process can do for all."""

    @abstractmethod
    def probe(self, embedder: str) -> Probe | None:
        """Return what is kept of this embedder, None if nothing is."""

    @abstractmethod
    def keep_probe(self, probe: Probe) -> None:
        """Keep a probe in place of the embedder's last one."""

    @abstractmethod
    def set_policy(self, policy: ModelPolicy) -> None:
        """Set what holds for one model; it outlives a truncate."""

    @abstractmethod
    def policies(self) -> list[ModelPolicy]:
        """Return what is set, for each model of which anything is."""

    @abstractmethod
    def take_lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        """Become, or stay, the one holder of this name for so many seconds; False if another is.

        It keeps work that one process can do for all, such as a sweep, from being done by each.
        """

    @abstractmethod
    def release_lease(self, name: str, holder: str) -> None:
        """Let another take this name at once, if this one holds it."""

    @abstractmethod
    def trim_leases(self, before: float) -> int:
        """Forget the leases that ended before this time (epoch seconds) and return how many."""


class StatisticsStore(ABC):
    """What happened on each day, in numbers."""

    @abstractmethod
    def add_day_counts(self, counts: Sequence[DayCount]) -> None:
        """Add to what is counted; not to be repeated."""

    @abstractmethod
    def day_counts(self, first: int, last: int, model_key: str | None = None) -> list[DayCount]:
        """Return the counts from one day to another, both included, of one model or of all."""

    @abstractmethod
    def trim_day_counts(self, before: int) -> int:
        """Forget the counts of the days before this one and return how many."""


class ScalarStore(
    RemovalStore, AnswerStore, EntryStore, ObservationStore, PolicyStore, LogStore, StatisticsStore
):
    """All that is kept. Every method raises ScalarStoreError when the store fails, having changed
    nothing; unless said otherwise it may be repeated. Safe to call from many threads.
    """

    remote: bool = False
    """Whether calls go to another process, which may hang or be gone."""
    exclusive: bool = False
    """Whether to keep every other process out while open, where that is possible; set before ``open``."""
    own_settings: ClassVar[type[Any] | None] = None
    """Of another package's store: a frozen dataclass of its settings (``modelcache.own_settings``)."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "ScalarStore":
        """Build one from the service's settings, opening nothing; every store that has a name does."""
        raise NotImplementedError

    @abstractmethod
    def open(self) -> None:
        """Connect, and create or migrate the schema; ConfigError if it is from a newer version."""

    @abstractmethod
    def close(self) -> None:
        """Release connections; harmless when repeated."""

    @abstractmethod
    def ping(self) -> None:
        """Return if the store answers."""

    @abstractmethod
    def truncate(self, model_key: str) -> int:
        """Soft-delete every row of this model, delete its query log and all that was observed of it.

        Returns how many rows were LIVE.
        """
