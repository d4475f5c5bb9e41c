"""Negations, and what one text denies that the other says."""

from collections.abc import Iterator

from modelcache.slots.pair import ALIKE, FURTHER_HAN, FURTHER_WORDS, Pair, further
from modelcache.slots.record import Slots

FURTHER_DENIED = 1


def differ(pair: Pair) -> Iterator[str]:
    asked, cached = pair.asked, pair.cached
    more = further(asked.words, cached.words)
    close = pair.alike >= ALIKE and more <= (FURTHER_HAN if pair.chinese else FURTHER_WORDS)
    more_said = further(asked.content, cached.content)
    near = pair.akin >= ALIKE and more_said <= (FURTHER_HAN if pair.chinese else FURTHER_DENIED)
    if (close and _negation_differs(asked, cached)) or (near and _denial_differs(asked, cached)):
        yield "negation"


def _negation_differs(asked: Slots, cached: Slots) -> bool:
    ours, theirs = asked.of("negation"), cached.of("negation")
    return "maybe" not in ours | theirs and ours != theirs


def _denial_differs(asked: Slots, cached: Slots) -> bool:
    """Tell that one text denies what the other, which denies nothing, says."""
    for one, other in ((asked, cached), (cached, asked)):
        # What may deny says nothing where both texts have it, as 怎么办 is.
        may_deny = other.of("negation") - one.of("negation")
        if one.denied & other.content and "words" not in other.of("negation") and not may_deny:
            return True
    return False
