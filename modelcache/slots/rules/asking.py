"""The word that is asked about, its part, and whom a question is about."""

from collections.abc import Iterator, Sequence

from modelcache.slots.asking import MEANING, PERSONS, Voice
from modelcache.slots.pair import Pair

# How do you boil an egg? is asked of nobody in particular.
GENERAL = frozenset({"how", "what", "where"}), frozenset({"do", "can", "should", "could", "to"})
REFLEXIVE = frozenset({"myself", "yourself"})
# "How do you work?" is.
LEAST_WORDS = 5


def differ(pair: Pair) -> Iterator[str]:
    asked, cached = pair.asked, pair.cached
    if asked.mentioned - cached.mentioned and cached.mentioned - asked.mentioned:
        yield "mention"
    if _person_differs(asked.voice, cached.voice):
        yield "whom"
    if asked.parts != cached.parts and MEANING in asked.han and MEANING in cached.han:
        yield "part"


def _person_differs(asked: Voice, cached: Voice) -> bool:
    """Tell texts of the same words that are about me in one and about you in the other."""
    (words, ours), (other_words, theirs) = asked, cached
    if words != other_words:
        return False
    changed = [PERSONS[one] != PERSONS[other] for one, other in zip(ours, theirs, strict=True)]
    if not any(changed):
        return False
    alone = len({PERSONS[one] for one in ours}) == len({PERSONS[one] for one in theirs}) == 1
    return not (alone and _is_general(words) and REFLEXIVE.isdisjoint(ours + theirs))


def _is_general(words: Sequence[str]) -> bool:
    return len(words) >= LEAST_WORDS and words[0] in GENERAL[0] and words[1] in GENERAL[1] and not words[2]
