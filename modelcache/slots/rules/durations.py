"""Lengths of time, of which both texts have some and none is the same."""

from collections.abc import Iterator

from modelcache.slots.pair import Pair


def differ(pair: Pair) -> Iterator[str]:
    if pair.asked.durations and pair.cached.durations and not pair.same:
        yield "unit"
