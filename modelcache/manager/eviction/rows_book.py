"""The order of eviction read from the rows themselves: for many workers without anything else."""

import random
from collections.abc import Mapping, Sequence

from modelcache.errors import ConfigError
from modelcache.manager.eviction.base import EntryKey, EvictionBook, recency
from modelcache.manager.scalar_data.base import HitUse, RowUse, ScalarStore


def _by_last_use(row: RowUse) -> tuple[float, int]:
    return recency(row), row.id


def _by_frequency(row: RowUse) -> tuple[int, float, int]:
    return row.hit_count, row.last_used_at, row.id


def _by_age(row: RowUse) -> tuple[int]:
    return (row.id,)


def _by_chance(row: RowUse) -> tuple[float]:
    return (random.random(),)


ORDERS = {"LRU": _by_last_use, "LFU": _by_frequency, "FIFO": _by_age, "RR": _by_chance}


class RowsBook(EvictionBook):
    """Keeps nothing: last use and hit count are columns, which every worker's hits are written to."""

    def __init__(self, scalars: ScalarStore, policy: str) -> None:
        if policy not in ORDERS:
            raise ConfigError(
                f"eviction policy {policy} needs eviction_book = memory; from the rows: {', '.join(ORDERS)}"
            )
        self._scalars = scalars
        self._order = ORDERS[policy]

    def add(self, model_key: str, entries: Sequence[EntryKey]) -> None:
        pass

    def use(self, model_key: str, uses: Mapping[EntryKey, HitUse]) -> None:
        pass

    def victims(self, model_key: str, count: int) -> list[int]:
        rows = sorted(self._scalars.uses(model_key), key=self._order)
        return [row.id for row in rows[:count]]

    def forget(self, model_key: str) -> None:
        pass
