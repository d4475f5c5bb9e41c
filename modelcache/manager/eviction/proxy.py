"""An eviction book before another one: what watches all of its methods builds on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from modelcache.manager.eviction.base import EntryKey, EvictionBook
from modelcache.manager.scalar_data.base import HitUse

P = ParamSpec("P")
T = TypeVar("T")


class EvictionBookProxy(EvictionBook):
    """Hands every call on to the book behind it; each method of the contract is written out."""

    def __init__(self, proxied: EvictionBook) -> None:
        self.proxied = proxied

    def through(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what every call passes through; here nothing but the call."""
        return method(*args, **kwargs)

    def add(self, model_key: str, entries: Sequence[EntryKey]) -> None:
        self.through(self.proxied.add, model_key, entries)

    def use(self, model_key: str, uses: Mapping[EntryKey, HitUse]) -> None:
        self.through(self.proxied.use, model_key, uses)

    def victims(self, model_key: str, count: int) -> list[int]:
        return self.through(self.proxied.victims, model_key, count)

    def forget(self, model_key: str) -> None:
        self.through(self.proxied.forget, model_key)
