"""Two texts side by side: their slots, and how much of their wording is equal."""

from typing import NamedTuple

from modelcache.language.durations import Duration, agreed
from modelcache.language.tokens import SMALL_WORDS
from modelcache.slots.record import Slots
from modelcache.slots.tables import Tables

# Shares of equal words from which on a difference is plain: in texts put differently, a negation, a direction
# or a name may well mean the same. Chinese texts share fewer characters and say more with each.
ALIKE = 0.6
# How many further words, or Chinese characters, may be one text's own: a sentence more is another story.
FURTHER_WORDS = 2
FURTHER_HAN = 3


class Pair(NamedTuple):
    """What the rules compare; the order of the two texts does not matter."""

    asked: Slots
    cached: Slots
    tables: Tables
    chinese: bool
    """Whether both have Chinese characters."""
    alike: float
    """The share of equal words."""
    akin: float
    """The share of equal stems among the words that say something."""
    same: list[tuple[Duration, Duration]]
    """Lengths of time that are the same, however they are put."""


def pair_of(asked: Slots, cached: Slots, tables: Tables) -> Pair:
    """Put two texts side by side."""
    return Pair(
        asked,
        cached,
        tables,
        chinese=bool(asked.han and cached.han),
        alike=likeness(asked.words, cached.words),
        akin=likeness(asked.content, cached.content),
        same=agreed(asked.durations, cached.durations),
    )


def likeness(words: frozenset[str], other_words: frozenset[str]) -> float:
    """Return the share of equal words in the longer text."""
    return len(words & other_words) / max(len(words), len(other_words), 1)


def further(words: frozenset[str], other_words: frozenset[str]) -> int:
    """Return how many words with a meaning of their own one text has that the other lacks."""
    return max(len(words - other_words - SMALL_WORDS), len(other_words - words - SMALL_WORDS))
