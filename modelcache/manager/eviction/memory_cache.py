"""Eviction policies, and the book that keeps one per model in this process."""

import math
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from zlib import crc32

from cachetools import Cache, FIFOCache, LFUCache, LRUCache, RRCache

from modelcache.manager.eviction.base import EntryKey, EvictionBook
from modelcache.manager.eviction.limits import SizeLimits
from modelcache.manager.scalar_data.base import HitUse, ScalarStore

# A policy maps fingerprints to ids. It is built with a size far over what it will hold, and gives up
# an item only when asked by popitem.
Policy = Cache[str, int]

STALE_FACTOR = 2
STALE_ENTRIES = 1000


class ARCCache(Cache[str, int]):
    """Adaptive replacement (Megiddo and Modha, FAST 2003): recency and frequency, balanced by itself.

    Keys used once stand in one list, keys used again in another; keys that were evicted from either
    are remembered, and one that comes back makes the list it was evicted from larger.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(math.inf)
        self.capacity = capacity
        self._target = 0.0
        self._once: OrderedDict[str, None] = OrderedDict()
        self._often: OrderedDict[str, None] = OrderedDict()
        self._gone_once: OrderedDict[str, None] = OrderedDict()
        self._gone_often: OrderedDict[str, None] = OrderedDict()

    def __getitem__(self, key: str) -> int:
        value: int = super().__getitem__(key)
        self._once.pop(key, None)
        self._often[key] = None
        self._often.move_to_end(key)
        return value

    def __setitem__(self, key: str, value: int) -> None:
        is_new = key not in self
        super().__setitem__(key, value)
        if not is_new:
            return
        if key in self._gone_once:
            step = max(1.0, len(self._gone_often) / len(self._gone_once))
            self._target = min(float(self.capacity), self._target + step)
            del self._gone_once[key]
            self._often[key] = None
        elif key in self._gone_often:
            step = max(1.0, len(self._gone_once) / len(self._gone_often))
            self._target = max(0.0, self._target - step)
            del self._gone_often[key]
            self._often[key] = None
        else:
            self._once[key] = None

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._once.pop(key, None)
        self._often.pop(key, None)

    def popitem(self) -> tuple[str, int]:
        """Remove and return the least recently used item of the list that is over its target."""
        from_once = bool(self._once) and (len(self._once) > self._target or not self._often)
        source, ghosts = (self._once, self._gone_once) if from_once else (self._often, self._gone_often)
        if not source:
            raise KeyError(f"{type(self).__name__} is empty")
        key = next(iter(source))
        value: int = Cache.__getitem__(self, key)
        del self[key]
        ghosts[key] = None
        if len(ghosts) > self.capacity:
            ghosts.popitem(last=False)
        return key, value


class FrequencySketch:
    """Counts uses of keys approximately in bounded memory, and halves the counts as time goes on.

    A count-min sketch with four rows, as TinyLFU uses it (Einziger et al., ACM ToS 2017).
    """

    ROWS = 4
    LARGEST = 255
    SAMPLES_PER_ITEM = 10

    def __init__(self, capacity: int) -> None:
        self._width = 1 << max(6, (2 * capacity - 1).bit_length())
        self._rows = [array("B", bytes(self._width)) for _ in range(self.ROWS)]
        self._samples_left = self._period = self.SAMPLES_PER_ITEM * max(1, capacity)

    def add(self, key: str) -> None:
        for row, place in zip(self._rows, self._places(key), strict=True):
            row[place] = min(self.LARGEST, row[place] + 1)
        self._samples_left -= 1
        if self._samples_left <= 0:
            self._samples_left = self._period
            self._rows = [array("B", (count >> 1 for count in row)) for row in self._rows]

    def count(self, key: str) -> int:
        return min(row[place] for row, place in zip(self._rows, self._places(key), strict=True))

    def _places(self, key: str) -> Iterator[int]:
        data = key.encode()
        return (crc32(data, seed * 0x9E3779B1 & 0xFFFFFFFF) & (self._width - 1) for seed in range(self.ROWS))


class WTinyLFUCache(Cache[str, int]):
    """W-TinyLFU (Einziger et al., ACM ToS 2017): a small window of new keys before a main part, into
    which a key is only let when it is used more often than the one that would have to leave.

    The main part is segmented: keys on probation, and keys that were used again and are protected.
    """

    WINDOW_SHARE = 0.01
    PROTECTED_SHARE = 0.8

    def __init__(self, capacity: int) -> None:
        super().__init__(math.inf)
        self._window_size = max(1, int(capacity * self.WINDOW_SHARE))
        self._main_size = capacity - self._window_size
        self._protected_size = max(1, int(self._main_size * self.PROTECTED_SHARE))
        self._window: OrderedDict[str, None] = OrderedDict()
        self._probation: OrderedDict[str, None] = OrderedDict()
        self._protected: OrderedDict[str, None] = OrderedDict()
        self._sketch = FrequencySketch(capacity)

    def __getitem__(self, key: str) -> int:
        value: int = super().__getitem__(key)
        self._sketch.add(key)
        if key in self._window:
            self._window.move_to_end(key)
        else:
            self._probation.pop(key, None)
            self._protected[key] = None
            self._protected.move_to_end(key)
            if len(self._protected) > self._protected_size:
                self._probation[self._protected.popitem(last=False)[0]] = None
        return value

    def __setitem__(self, key: str, value: int) -> None:
        is_new = key not in self
        super().__setitem__(key, value)
        self._sketch.add(key)
        if is_new:
            self._window[key] = None
            has_room = len(self._probation) + len(self._protected) < self._main_size
            if len(self._window) > self._window_size and has_room:
                self._probation[self._window.popitem(last=False)[0]] = None

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        for segment in (self._window, self._probation, self._protected):
            segment.pop(key, None)

    def popitem(self) -> tuple[str, int]:
        """Remove and return the less often used of the window's and the main part's oldest."""
        main = self._probation or self._protected
        if self._window and main and len(self._window) > self._window_size:
            newcomer, settled = next(iter(self._window)), next(iter(main))
            if self._sketch.count(newcomer) > self._sketch.count(settled):
                del self._window[newcomer]
                self._probation[newcomer] = None
                return self._pop(settled)
            return self._pop(newcomer)
        source = main or self._window
        if not source:
            raise KeyError(f"{type(self).__name__} is empty")
        return self._pop(next(iter(source)))

    def _pop(self, key: str) -> tuple[str, int]:
        value: int = Cache.__getitem__(self, key)
        del self[key]
        return key, value


POLICIES: Mapping[str, Callable[[int], Policy]] = {
    "LRU": lambda capacity: LRUCache(math.inf),
    "LFU": lambda capacity: LFUCache(math.inf),
    "FIFO": lambda capacity: FIFOCache(math.inf),
    "RR": lambda capacity: RRCache(math.inf),
    "ARC": ARCCache,
    "W_TINYLFU": WTinyLFUCache,
}


class MemoryBook(EvictionBook):
    """Keeps a policy per model in this process, filled from the rows in the order of their last use."""

    def __init__(self, scalars: ScalarStore, policy: str, limits: SizeLimits) -> None:
        self._scalars = scalars
        self._make_policy = POLICIES[policy]
        self._limits = limits
        self._policies: dict[str, Policy] = {}
        self._lock = threading.Lock()

    def add(self, model_key: str, entries: Sequence[EntryKey]) -> None:
        with self._lock:
            policy = self._filled(model_key)
            for entry in entries:
                policy[entry.fingerprint] = entry.id
            if len(policy) > STALE_FACTOR * self._limits.of(model_key) + STALE_ENTRIES:
                # Entries that were removed one by one are still in it; the rows know which.
                del self._policies[model_key]

    def use(self, model_key: str, uses: Mapping[EntryKey, HitUse]) -> None:
        with self._lock:
            policy = self._policies.get(model_key)
            if policy is None:
                return  # the rows know of these uses, too, when it is filled from them
            for entry, use in sorted(uses.items(), key=lambda item: item[1].last_used_at):
                for _ in range(use.count):
                    policy.get(entry.fingerprint)

    def victims(self, model_key: str, count: int) -> list[int]:
        with self._lock:
            policy = self._filled(model_key)
            return [policy.popitem()[1] for _ in range(min(count, len(policy)))]

    def forget(self, model_key: str) -> None:
        with self._lock:
            self._policies.pop(model_key, None)

    def _filled(self, model_key: str) -> Policy:
        policy = self._policies.get(model_key)
        if policy is None:
            policy = self._make_policy(max(1, self._limits.of(model_key)))
            for row in self._scalars.uses(model_key):
                policy[row.fingerprint] = row.id
                for _ in range(min(row.hit_count, FrequencySketch.LARGEST)):
                    policy.get(row.fingerprint)
            self._policies[model_key] = policy
        return policy
