"""Find the slots of a key, among a million, in a few bytes each."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]
Slots = NDArray[np.int32]

# A dictionary of a million Python integers takes over 100 bytes an entry, two sorted arrays take 12. What
# is new waits in a dictionary until it is worth merging.
MERGE_AT_LEAST = 1024
MERGE_SHARE = 16


class _State(NamedTuple):
    keys: Keys
    slots: Slots
    recent: dict[int, list[int]]


class SlotLookup:
    """From 64-bit keys to slots, any number for a key, each key's in ascending order.

    One thread at a time may write; others may read meanwhile, without a lock: they see one state, old
    or new.
    """

    def __init__(self) -> None:
        self._state = _State(np.empty(0, np.int64), np.empty(0, np.int32), {})
        self._waiting = 0

    def add(self, keys: Keys, first_slot: int) -> None:
        """Give these keys the slots that follow ``first_slot``, which are higher than any before."""
        recent = self._state.recent
        for slot, key in enumerate(keys.tolist(), start=first_slot):
            recent.setdefault(key, []).append(slot)
        self._waiting += len(keys)
        if self._waiting > max(MERGE_AT_LEAST, len(self._state.keys) // MERGE_SHARE):
            self._merge()

    def add_many(self, keys: Keys, first_slot: int) -> None:
        """Do the same for more keys than a dictionary should hold."""
        self._merge_in(keys, np.arange(first_slot, first_slot + len(keys), dtype=np.int32))

    def find(self, key: int, start: int = 0) -> Slots:
        """Return the slots of a key from slot ``start`` on."""
        state = self._state
        # In the arrays' own types, since numpy would otherwise convert a whole array first.
        wanted, lowest = np.int64(key), np.int32(start)
        left, right = np.searchsorted(state.keys, wanted), np.searchsorted(state.keys, wanted, side="right")
        settled = state.slots[left:right]
        if start:
            settled = settled[np.searchsorted(settled, lowest) :]
        recent = state.recent.get(key)
        if not recent:
            return settled
        slots = np.array(recent, np.int32)
        return np.concatenate([settled, slots[np.searchsorted(slots, lowest) :]])

    def find_last(self, keys: Keys) -> Slots:
        """Return the last slot of each key, -1 where there is none."""
        state = self._state
        found = np.full(len(keys), -1, np.int32)
        if len(state.keys):
            places = np.searchsorted(state.keys, keys, side="right") - 1
            is_there = (places >= 0) & (state.keys[places] == keys)
            found[is_there] = state.slots[places[is_there]]
        for place, key in enumerate(keys.tolist()):
            if recent := state.recent.get(key):
                found[place] = recent[-1]
        return found

    def counts(self, keys: Keys) -> NDArray[np.int64]:
        """Return how many slots each key has."""
        state = self._state
        counts = np.searchsorted(state.keys, keys, side="right") - np.searchsorted(state.keys, keys)
        return counts + np.array([len(state.recent.get(key, ())) for key in keys.tolist()], np.int64)

    def different(self) -> Keys:
        """Return each key once, of those that were there when the last were merged."""
        keys = self._state.keys
        is_first = np.ones(len(keys), np.bool_)
        is_first[1:] = keys[1:] != keys[:-1]
        return keys[is_first]

    @property
    def nbytes(self) -> int:
        return self._state.keys.nbytes + self._state.slots.nbytes

    def _merge(self) -> None:
        recent = self._state.recent
        lengths = np.fromiter(map(len, recent.values()), np.int64, len(recent))
        keys = np.repeat(np.fromiter(recent, np.int64, len(recent)), lengths)
        slots = np.fromiter((slot for of_key in recent.values() for slot in of_key), np.int32, len(keys))
        self._merge_in(keys, slots)

    def _merge_in(self, new_keys: Keys, new_slots: Slots) -> None:
        keys, slots, _ = self._state
        order = np.argsort(new_keys, kind="stable")
        new_keys, new_slots = new_keys[order], new_slots[order]
        places = np.searchsorted(keys, new_keys, side="right")
        self._state = _State(np.insert(keys, places, new_keys), np.insert(slots, places, new_slots), {})
        self._waiting = 0
