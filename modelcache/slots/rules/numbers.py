"""Numbers, versions and dates: another one, or one of the text's own that changed its place."""

import re
from collections.abc import Iterator

from modelcache.slots.pair import Pair

ALIKE_COUNTED = 0.75
# A year, whether a text calls it one or not.
YEAR = re.compile("(?:19|20)[0-9]{2}")


def differ(pair: Pair) -> Iterator[str]:
    yield from _values_differ(pair)
    if pair.alike >= ALIKE_COUNTED and _counts_differ(pair):
        yield "number"


def _values_differ(pair: Pair) -> Iterator[str]:
    """Compare numbers where both texts have some; one more or less is often said in passing."""
    asked, cached = pair.asked, pair.cached
    # Two weeks and 14 days agree, whatever their numbers.
    ours = asked.numbers.keys() - cached.numbers.keys() - cached.vague
    theirs = cached.numbers.keys() - asked.numbers.keys() - asked.vague
    for one, other in pair.same:
        ours, theirs = ours - one.numbers, theirs - other.numbers
    if (ours and (theirs or cached.vague)) or (theirs and asked.vague):
        if _apart(
            {asked.numbers[value] for value in ours}, {cached.numbers[value] for value in theirs}
        ) and not (any(map(YEAR.fullmatch, ours)) and any(map(YEAR.fullmatch, theirs))):
            return
        rules = {asked.numbers[value] for value in ours} | {cached.numbers[value] for value in theirs}
        yield next((rule for rule in ("version", "date") if rule in rules), "number")


def _counts_differ(pair: Pair) -> bool:
    """Tell that a number was changed for one that the text has already."""
    asked, cached = pair.asked, pair.cached
    if sum(asked.counts.values()) != sum(cached.counts.values()):
        return False
    agreed_otherwise = {
        number
        for one, other in pair.same
        if one.numbers != other.numbers
        for number in one.numbers | other.numbers
    }
    return any(
        asked.counts.get(number, 0) != cached.counts.get(number, 0)
        for number in (asked.counts.keys() | cached.counts.keys()) - agreed_otherwise
    )


def _apart(ours: set[str], theirs: set[str]) -> bool:
    """Tell a year that only one text names from another kind of number that only the other has."""
    return {*ours, *theirs} == {"date", "number"} and ours.isdisjoint(theirs)
