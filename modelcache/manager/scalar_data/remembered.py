"""Exact answers in memory, over a scalar store that no other process writes to."""

import threading
from collections.abc import Callable, Mapping, Sequence
from sys import getsizeof
from typing import Any

from cachetools import LRUCache

from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.scalar_data.proxy import ScalarStoreProxy
from modelcache.records.entry import CachedAnswer, NewAnswer
from modelcache.records.observation import Observation
from modelcache.records.removal import Unremoved

# What an entry takes beside its question and its answer: the record, its hashes, two dict slots.
ENTRY_BYTES = 600


class RememberingScalars(ScalarStoreProxy):
    """Keeps what ``find_exact`` finds until it may no longer answer.

    ``most_bytes`` bounds the memory. Whatever makes a row stop answering must pass through this: nothing
    is remembered beyond that moment.
    """

    def __init__(self, proxied: ScalarStore, most_bytes: int) -> None:
        super().__init__(proxied)
        self._entries = _Entries(most_bytes)
        self._lock = threading.Lock()
        # Grows whenever something is forgotten: what was read before may be outdated by then.
        self._version = 0

    def find_exact(self, fingerprint: str, now: float) -> CachedAnswer | None:
        with self._lock:
            entry = self._entries.get(fingerprint)
            version = self._version
        if entry is not None and (entry.expires_at is None or entry.expires_at > now):
            return entry
        found = self.proxied.find_exact(fingerprint, now)
        if found is not None:
            with self._lock:
                if version == self._version:
                    self._entries.keep(found)
        return found

    def activate(
        self, ids: Sequence[int], fingerprints: Sequence[str], unremoved: Unremoved | None = None
    ) -> None:
        try:
            self.proxied.activate(ids, fingerprints, unremoved)
        finally:
            # Also when it failed: a failure does not tell whether it was done.
            self._forget(fingerprints)

    def insert_live(
        self,
        answers: Sequence[NewAnswer],
        index: Callable[[list[int]], None],
        unremoved: Unremoved | None = None,
    ) -> list[int]:
        try:
            return self.proxied.insert_live(answers, index, unremoved)
        finally:
            self._forget([new.fingerprint for new in answers])

    def delete(self, model_key: str, ids: Sequence[int]) -> int:
        try:
            return self.proxied.delete(model_key, ids)
        finally:
            self._forget_ids(ids)

    def observe(self, observations: Sequence[Observation]) -> None:
        try:
            self.proxied.observe(observations)
        finally:
            # A row tells whether anything was observed of it.
            self._forget_ids([one.answer_id for one in observations])

    def delete_tagged(self, model_key: str, tags: Sequence[str], *, dry_run: bool = False) -> int:
        try:
            return self.proxied.delete_tagged(model_key, tags, dry_run=dry_run)
        finally:
            self._forget_all()

    def delete_sourced(self, model_key: str, sources: Sequence[str], *, dry_run: bool = False) -> int:
        try:
            return self.proxied.delete_sourced(model_key, sources, dry_run=dry_run)
        finally:
            self._forget_all()

    def delete_scoped(self, model_key: str, scope: Mapping[str, Any], *, dry_run: bool = False) -> int:
        try:
            return self.proxied.delete_scoped(model_key, scope, dry_run=dry_run)
        finally:
            self._forget_all()

    def delete_older(self, model_key: str, before: float, *, dry_run: bool = False) -> int:
        try:
            return self.proxied.delete_older(model_key, before, dry_run=dry_run)
        finally:
            self._forget_all()

    def truncate(self, model_key: str) -> int:
        try:
            return self.proxied.truncate(model_key)
        finally:
            self._forget_all()

    def delete_expired(self, now: float) -> int:
        count = self.proxied.delete_expired(now)
        if count:
            self._forget_all()
        return count

    def close(self) -> None:
        self._forget_all()
        self.proxied.close()

    def _forget(self, fingerprints: Sequence[str]) -> None:
        with self._lock:
            self._version += 1
            for fingerprint in fingerprints:
                self._entries.pop(fingerprint, None)

    def _forget_ids(self, ids: Sequence[int]) -> None:
        with self._lock:
            self._version += 1
            for id_ in ids:
                self._entries.drop(id_)

    def _forget_all(self) -> None:
        with self._lock:
            self._version += 1
            self._entries.clear()


class _Entries(LRUCache[str, CachedAnswer]):
    """Entries by fingerprint, and by id."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes, getsizeof=_bytes_of)
        self._fingerprints: dict[int, str] = {}

    def keep(self, entry: CachedAnswer) -> None:
        """Remember an entry, unless it alone is more than there is room for."""
        if _bytes_of(entry) <= self.maxsize:
            self[entry.fingerprint] = entry
            self._fingerprints[entry.id] = entry.fingerprint

    def drop(self, id_: int) -> None:
        """Forget the entry with this id, if it is known."""
        fingerprint = self._fingerprints.get(id_)
        if fingerprint is not None:
            del self[fingerprint]

    def __delitem__(self, fingerprint: str) -> None:
        self._fingerprints.pop(self[fingerprint].id, None)
        super().__delitem__(fingerprint)

    def clear(self) -> None:
        """Forget every entry."""
        super().clear()
        self._fingerprints.clear()


def _bytes_of(entry: CachedAnswer) -> int:
    texts = (entry.question, entry.answer, entry.metadata)
    return ENTRY_BYTES + sum(map(getsizeof, texts))
