"""Two texts' slots side by side: the rules by which they differ."""

from collections.abc import Iterator

from modelcache.slots.pair import pair_of
from modelcache.slots.record import Slots
from modelcache.slots.rules import RULES
from modelcache.slots.tables import Tables


def differences(asked: Slots, cached: Slots, tables: Tables) -> Iterator[str]:
    """Give every rule by which two texts differ, the plainest first; their order does not matter."""
    pair = pair_of(asked, cached, tables)
    for rule in RULES:
        yield from rule(pair)
