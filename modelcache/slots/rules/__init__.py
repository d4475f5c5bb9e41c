"""By what two texts differ: a rule is a file with its ``differ``, and a line here."""

from collections.abc import Callable, Iterator

from modelcache.slots.pair import Pair
from modelcache.slots.rules import (
    asking,
    directions,
    durations,
    identifiers,
    languages,
    listed,
    measures,
    names,
    negation,
    numbers,
    payload,
    signs,
    times,
)

Rule = Callable[[Pair], Iterator[str]]
"""Gives the names under which a pair differs, if it does; the order of its two texts does not matter."""

# The plainest first: the first name is the one that is told.
RULES: tuple[Rule, ...] = (
    numbers.differ,
    times.differ,
    listed.differ,
    durations.differ,
    measures.differ,
    signs.differ,
    directions.differ,
    names.differ,
    negation.differ,
    languages.differ,
    identifiers.differ,
    asking.differ,
    payload.differ,
)
