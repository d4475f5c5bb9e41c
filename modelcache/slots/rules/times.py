"""Times of day."""

from collections.abc import Iterator

from modelcache.language.clock import unlike
from modelcache.slots.pair import Pair


def differ(pair: Pair) -> Iterator[str]:
    """Tell times of day of which each text has one, or a plain number, that the other lacks."""
    asked, cached = pair.asked, pair.cached
    ours = unlike(asked.clocks, cached.clocks, cached.numbers)
    theirs = unlike(cached.clocks, asked.clocks, asked.numbers)
    if (ours and (theirs or bool(cached.numbers.keys() - asked.numbers.keys()))) or (
        theirs and bool(asked.numbers.keys() - cached.numbers.keys())
    ):
        yield "time"
