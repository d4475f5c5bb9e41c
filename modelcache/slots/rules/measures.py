"""What a number is a number of."""

from collections.abc import Iterator

from modelcache.slots.pair import Pair


def differ(pair: Pair) -> Iterator[str]:
    """Tell one amount of two units; gives the rule of the unit's name."""
    cached = pair.cached.measures
    for amount, units in pair.asked.measures.items():
        # 100 dollars in euros is not 100 euros in dollars.
        if amount in cached and not units & cached[amount]:
            yield amount[0]
