"""Exact answers in memory, over a scalar store that no other process writes to."""

import threading
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import Any, cast

from cachetools import LRUCache

from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.records.entry import CachedAnswer, NewAnswer
from modelcache.records.observation import Observation

# What an entry takes beside its question and its answer: the record, its hashes, two dict slots.
ENTRY_BYTES = 600


def remember(store: ScalarStore, most_bytes: int) -> ScalarStore:
    """Return the store with a memory of the entries that answered last, to be used in its place.

    ``most_bytes`` bounds it. Whatever makes a row stop answering must pass through what is returned:
    nothing is remembered beyond that moment.
    """
    return cast(ScalarStore, _Remembering(store, most_bytes))


class _Remembering:
    """Passes everything through, and keeps what ``find_exact`` finds until it may no longer answer."""

    def __init__(self, store: ScalarStore, most_bytes: int) -> None:
        self._store = store
        self._entries = _Entries(most_bytes)
        self._lock = threading.Lock()
        # Grows whenever something is forgotten: what was read before may be outdated by then.
        self._version = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def find_exact(self, fingerprint: str, now: float) -> CachedAnswer | None:
        with self._lock:
            entry = self._entries.get(fingerprint)
            version = self._version
        if entry is not None and (entry.expires_at is None or entry.expires_at > now):
            return entry
        found = self._store.find_exact(fingerprint, now)
        if found is not None:
            with self._lock:
                if version == self._version:
                    self._entries.keep(found)
        return found

    def activate(self, ids: Sequence[int], fingerprints: Sequence[str]) -> None:
        try:
            self._store.activate(ids, fingerprints)
        finally:
            # Also when it failed: a failure does not tell whether it was done.
            self._forget(fingerprints)

    def insert_live(self, answers: Sequence[NewAnswer], index: Callable[[list[int]], None]) -> list[int]:
        try:
            return self._store.insert_live(answers, index)
        finally:
            self._forget([new.fingerprint for new in answers])

    def delete(self, model_key: str, ids: Sequence[int]) -> int:
        try:
            return self._store.delete(model_key, ids)
        finally:
            self._forget_ids(ids)

    def observe(self, observations: Sequence[Observation]) -> None:
        try:
            self._store.observe(observations)
        finally:
            # A row tells whether anything was observed of it.
            self._forget_ids([one.answer_id for one in observations])

    def delete_tagged(self, model_key: str, tags: Sequence[str]) -> int:
        try:
            return self._store.delete_tagged(model_key, tags)
        finally:
            self._forget_all()

    def truncate(self, model_key: str) -> int:
        try:
            return self._store.truncate(model_key)
        finally:
            self._forget_all()

    def delete_expired(self, now: float) -> int:
        count = self._store.delete_expired(now)
        if count:
            self._forget_all()
        return count

    def close(self) -> None:
        self._forget_all()
        self._store.close()

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
    return ENTRY_BYTES + getsizeof(entry.question) + getsizeof(entry.answer)
