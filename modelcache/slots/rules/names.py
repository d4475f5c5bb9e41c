"""Names: listed in the tables, told by their looks, titles, and persons with a form of address."""

from collections.abc import Iterator

from modelcache.slots.content import stem_of
from modelcache.slots.pair import FURTHER_WORDS, Pair, further, likeness
from modelcache.slots.record import Slots

ALIKE_NAMES = 0.5
# Names that begin alike are taken for forms of one: India and Indian.
NAME_STEM = 4
# What makes another name of one.
NAME_ENDINGS = frozenset({"on", "son", "ton", "man", "mann", "er", "ers", "y", "ie", "a", "o", "e", "ville"})


def differ(pair: Pair) -> Iterator[str]:
    asked, cached = pair.asked, pair.cached
    if (
        _names_differ(pair)
        or _none_in_common(asked.titles, cached.titles)
        or _none_in_common(asked.persons, cached.persons)
        or _surnames_differ(asked.han, cached.han, pair.tables.surnames)
    ):
        yield "name"


def _names_differ(pair: Pair) -> bool:
    """Tell texts that each have a name which the other lacks, listed in the tables or told by its looks."""
    asked, cached = pair.asked, pair.cached
    listed, other_listed = asked.of("name"), cached.of("name")
    ours, theirs = listed - other_listed, other_listed - listed
    if pair.chinese and ours and theirs:
        return True
    unknown = {name for name in asked.names if not _has_name(cached, name)}
    other_unknown = {name for name in cached.names if not _has_name(asked, name)}
    if not ((ours or unknown) and (theirs or other_unknown)):
        return False
    words, other_words = asked.words - unknown, cached.words - other_unknown
    close = pair.chinese or further(words, other_words) <= FURTHER_WORDS
    if close and likeness(words, other_words) >= ALIKE_NAMES:
        return True
    words, other_words = asked.content - _stems(unknown), cached.content - _stems(other_unknown)
    return further(words, other_words) <= FURTHER_WORDS and likeness(words, other_words) >= ALIKE_NAMES


def _stems(words: set[str]) -> set[str]:
    return {stem_of(word) for word in words}


def _has_name(slots: Slots, name: str) -> bool:
    if name in slots.words or (len(name) > 2 and name in slots.initials):
        return True
    return any(_forms_of_one(word, name) for word in slots.words)


def _forms_of_one(word: str, name: str) -> bool:
    """Tell India and Indian, and a slip such as Micheal, from Harris and Harrison."""
    shorter, longer = sorted((word, name), key=len)
    if longer.startswith(shorter):
        return len(shorter) > 2 and longer[len(shorter) :] not in NAME_ENDINGS
    return word[:NAME_STEM] == name[:NAME_STEM] and len(longer) > NAME_STEM


def _none_in_common(names: frozenset[str], other_names: frozenset[str]) -> bool:
    """Tell names of which none is, or is part of, one of the others; both texts have some."""
    if not (names and other_names):
        return False
    return not any(one in other or other in one for one in names for other in other_names)


def _surnames_differ(asked: str, cached: str, surnames: set[str]) -> bool:
    """Tell texts of one length that differ in one character, which is a surname on both sides."""
    if len(asked) != len(cached):
        return False
    changed = [{one, other} for one, other in zip(asked, cached, strict=True) if one != other]
    return len(changed) == 1 and changed[0] <= surnames
