"""A scalar store before another one: what changes some of its methods, or watches all, builds on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from modelcache.manager.scalar_data.base import (
    DeadAnswer,
    DeadCount,
    HitUse,
    Probe,
    RowUse,
    ScalarStore,
    StoredEmbedding,
)
from modelcache.records.day_count import DayCount
from modelcache.records.entry import CachedAnswer, EntryPage, EntrySearch, NewAnswer, StoredEntry
from modelcache.records.log_line import LogLine
from modelcache.records.observation import ModelPolicy, Observation, PendingLookup, Tally
from modelcache.records.removal import Unremoved

P = ParamSpec("P")
T = TypeVar("T")


class ScalarStoreProxy(ScalarStore):
    """Hands every call on to the store behind it; what the methods promise is what that store does.

    Each method of the contract is written out, so that the type checker sees them all, and a test fails
    until a new one is here too. ``open`` and ``close`` do not pass ``through``: they are the operator's
    doing, and happen whatever the store's state.
    """

    def __init__(self, proxied: ScalarStore) -> None:
        self.proxied = proxied

    @property
    def remote(self) -> bool:  # type: ignore[override]
        return self.proxied.remote

    @property
    def exclusive(self) -> bool:  # type: ignore[override]
        return self.proxied.exclusive

    def through(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what every call passes through; here nothing but the call."""
        return method(*args, **kwargs)

    def add(self, answers: Sequence[NewAnswer]) -> list[int]:
        return self.through(self.proxied.add, answers)

    def insert_live(
        self,
        answers: Sequence[NewAnswer],
        index: Callable[[list[int]], None],
        unremoved: Unremoved | None = None,
    ) -> list[int]:
        return self.through(self.proxied.insert_live, answers, index, unremoved)

    def activate(
        self, ids: Sequence[int], fingerprints: Sequence[str], unremoved: Unremoved | None = None
    ) -> None:
        self.through(self.proxied.activate, ids, fingerprints, unremoved)

    def discard(self, ids: Sequence[int]) -> None:
        self.through(self.proxied.discard, ids)

    def discard_unfinished(self, before: float) -> int:
        return self.through(self.proxied.discard_unfinished, before)

    def find_exact(self, fingerprint: str, now: float) -> CachedAnswer | None:
        return self.through(self.proxied.find_exact, fingerprint, now)

    def get_live(self, ids: Sequence[int], now: float) -> dict[int, CachedAnswer]:
        return self.through(self.proxied.get_live, ids, now)

    def answers(self, ids: Sequence[int]) -> dict[int, CachedAnswer]:
        return self.through(self.proxied.answers, ids)

    def delete(self, model_key: str, ids: Sequence[int]) -> int:
        return self.through(self.proxied.delete, model_key, ids)

    def delete_tagged(self, model_key: str, tags: Sequence[str], *, dry_run: bool = False) -> int:
        return self.through(self.proxied.delete_tagged, model_key, tags, dry_run=dry_run)

    def delete_sourced(self, model_key: str, sources: Sequence[str], *, dry_run: bool = False) -> int:
        return self.through(self.proxied.delete_sourced, model_key, sources, dry_run=dry_run)

    def delete_scoped(self, model_key: str, scope: Mapping[str, Any], *, dry_run: bool = False) -> int:
        return self.through(self.proxied.delete_scoped, model_key, scope, dry_run=dry_run)

    def delete_older(self, model_key: str, before: float, *, dry_run: bool = False) -> int:
        return self.through(self.proxied.delete_older, model_key, before, dry_run=dry_run)

    def note_removal(self, keys: Sequence[str]) -> None:
        self.through(self.proxied.note_removal, keys)

    def trim_removals(self, before: float) -> int:
        return self.through(self.proxied.trim_removals, before)

    def delete_expired(self, now: float) -> int:
        return self.through(self.proxied.delete_expired, now)

    def dead_counts(self) -> list[DeadCount]:
        return self.through(self.proxied.dead_counts)

    def dead(self, model_key: str, limit: int) -> list[DeadAnswer]:
        return self.through(self.proxied.dead, model_key, limit)

    def uses(self, model_key: str) -> list[RowUse]:
        return self.through(self.proxied.uses, model_key)

    def record_hits(self, uses: Mapping[int, HitUse]) -> None:
        self.through(self.proxied.record_hits, uses)

    def purge(self, ids: Sequence[int]) -> None:
        self.through(self.proxied.purge, ids)

    def models(self) -> list[str]:
        return self.through(self.proxied.models)

    def count(self, model_key: str) -> int:
        return self.through(self.proxied.count, model_key)

    def entries(self, model_key: str, after: int, limit: int, now: float) -> list[StoredEntry]:
        return self.through(self.proxied.entries, model_key, after, limit, now)

    def entry(self, id_: int, now: float) -> StoredEntry | None:
        return self.through(self.proxied.entry, id_, now)

    def find_entries(self, search: EntrySearch, now: float) -> EntryPage:
        return self.through(self.proxied.find_entries, search, now)

    def embedded_ids(self, model_key: str, embedder: str) -> list[int]:
        return self.through(self.proxied.embedded_ids, model_key, embedder)

    def embeddings(self, ids: Sequence[int]) -> list[StoredEmbedding]:
        return self.through(self.proxied.embeddings, ids)

    def observe(self, observations: Sequence[Observation]) -> None:
        self.through(self.proxied.observe, observations)

    def observations(self, ids: Sequence[int]) -> dict[int, list[Observation]]:
        return self.through(self.proxied.observations, ids)

    def model_observations(self, model_key: str, limit: int) -> list[Observation]:
        return self.through(self.proxied.model_observations, model_key, limit)

    def keep_lookups(self, lookups: Sequence[PendingLookup]) -> None:
        self.through(self.proxied.keep_lookups, lookups)

    def take_lookups(self, fingerprints: Sequence[str], since: float) -> list[PendingLookup]:
        return self.through(self.proxied.take_lookups, fingerprints, since)

    def trim_lookups(self, before: float) -> int:
        return self.through(self.proxied.trim_lookups, before)

    def add_tallies(self, tallies: Sequence[Tally]) -> None:
        self.through(self.proxied.add_tallies, tallies)

    def tallies(self, model_key: str) -> list[Tally]:
        return self.through(self.proxied.tallies, model_key)

    def add_day_counts(self, counts: Sequence[DayCount]) -> None:
        self.through(self.proxied.add_day_counts, counts)

    def day_counts(self, first: int, last: int, model_key: str | None = None) -> list[DayCount]:
        return self.through(self.proxied.day_counts, first, last, model_key)

    def trim_day_counts(self, before: int) -> int:
        return self.through(self.proxied.trim_day_counts, before)

    def envelope(self, id_: int) -> str:
        return self.through(self.proxied.envelope, id_)

    def release_lease(self, name: str, holder: str) -> None:
        self.through(self.proxied.release_lease, name, holder)

    def trim_leases(self, before: float) -> int:
        return self.through(self.proxied.trim_leases, before)

    def probe(self, embedder: str) -> Probe | None:
        return self.through(self.proxied.probe, embedder)

    def keep_probe(self, probe: Probe) -> None:
        self.through(self.proxied.keep_probe, probe)

    def set_policy(self, policy: ModelPolicy) -> None:
        self.through(self.proxied.set_policy, policy)

    def policies(self) -> list[ModelPolicy]:
        return self.through(self.proxied.policies)

    def take_lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        return self.through(self.proxied.take_lease, name, holder, now, seconds)

    def write_log(self, lines: Sequence[LogLine]) -> None:
        self.through(self.proxied.write_log, lines)

    def logged(self, model_key: str, limit: int) -> list[str]:
        return self.through(self.proxied.logged, model_key, limit)

    def recent(self, model_key: str | None, limit: int, *, hits: bool) -> list[LogLine]:
        return self.through(self.proxied.recent, model_key, limit, hits=hits)

    def trim_log(self, before: float) -> int:
        return self.through(self.proxied.trim_log, before)

    def open(self) -> None:
        self.proxied.open()

    def close(self) -> None:
        self.proxied.close()

    def ping(self) -> None:
        self.through(self.proxied.ping)

    def truncate(self, model_key: str) -> int:
        return self.through(self.proxied.truncate, model_key)
