"""Two texts' slots side by side: the first rule by which they differ."""

import re
from collections.abc import Iterator, Sequence

from modelcache.slots.asking import MEANING, person_differs
from modelcache.slots.clock import unlike
from modelcache.slots.content import stem_of
from modelcache.slots.directions import change_places
from modelcache.slots.durations import Duration, agreed
from modelcache.slots.identifiers import identifiers_differ
from modelcache.slots.languages import languages_differ
from modelcache.slots.payload import payloads_differ
from modelcache.slots.places import change, other_is_asked_for
from modelcache.slots.record import Slots
from modelcache.slots.signs import differing
from modelcache.slots.tables import Tables
from modelcache.slots.tokens import SMALL_WORDS

# Shares of equal words from which on a difference is plain: in texts put differently, a negation, a direction
# or a name may well mean the same. Chinese texts share fewer characters and say more with each.
ALIKE = 0.6
ALIKE_NAMES = 0.5
ALIKE_DIRECTION_HAN = 0.5
ALIKE_ONE_SIDED = 0.5
ALIKE_COUNTED = 0.75
# How many further words, or Chinese characters, may be one text's own: a sentence more is another story.
FURTHER_WORDS = 2
FURTHER_HAN = 3
FURTHER_DENIED = 1
# Names that begin alike are taken for forms of one: India and Indian.
NAME_STEM = 4
# What makes another name of one.
NAME_ENDINGS = frozenset({"on", "son", "ton", "man", "mann", "er", "ers", "y", "ie", "a", "o", "e", "ville"})
# A year, whether a text calls it one or not.
YEAR = re.compile("(?:19|20)[0-9]{2}")
# Rules that are not decided by one side's value missing on the other.
SEPARATE = frozenset({"name", "negation"})


def difference(asked: Slots, cached: Slots, tables: Tables) -> str:
    """Return the rule by which two texts differ, "" if none does; the order of the two does not matter."""
    return next((rule for rule in differences(asked, cached, tables) if rule not in tables.off), "")


def differences(asked: Slots, cached: Slots, tables: Tables) -> Iterator[str]:
    """Give every rule by which two texts differ, the plainest first."""
    chinese = bool(asked.han and cached.han)
    alike = _likeness(asked.words, cached.words)
    further = _further(asked.words, cached.words)
    close = alike >= ALIKE and further <= (FURTHER_HAN if chinese else FURTHER_WORDS)
    same = agreed(asked.durations, cached.durations)
    yield from _numbers(asked, cached, same)
    if alike >= ALIKE_COUNTED and _counts_differ(asked, cached, same):
        yield "number"
    if _times(asked, cached):
        yield "time"
    yield from _values(asked, cached, tables, chinese or alike >= ALIKE_ONE_SIDED, same)
    if asked.durations and cached.durations and not same:
        yield "unit"
    for amount, units in asked.measures.items():
        # 100 dollars in euros is not 100 euros in dollars.
        if amount in cached.measures and not units & cached.measures[amount]:
            yield amount[0]
    akin = _likeness(asked.content, cached.content)
    yield from differing(
        asked.signs, cached.signs, same_content=akin == 1 and bool(asked.content), alike=alike >= ALIKE
    )
    near_enough = max(alike, akin) >= (ALIKE_DIRECTION_HAN if chinese else ALIKE)
    if (
        (near_enough and change_places(asked.links, cached.links))
        or change(asked.places, cached.places, chinese=chinese, linked=bool(asked.links and cached.links))
        or (
            (akin == 1 and asked.initials != cached.initials)
            and other_is_asked_for(asked.places, cached.places)
        )
    ):
        yield "direction"
    if (
        _names_differ(asked, cached, chinese)
        or _none_in_common(asked.titles, cached.titles)
        or _none_in_common(asked.persons, cached.persons)
        or _surnames_differ(asked.han, cached.han, tables.surnames)
    ):
        yield "name"
    further = _further(asked.content, cached.content)
    near = akin >= ALIKE and further <= (FURTHER_HAN if chinese else FURTHER_DENIED)
    if (close and _negation_differs(asked, cached)) or (near and _denial_differs(asked, cached)):
        yield "negation"
    # Where both say which language they want, it is the rule of that name that tells.
    wanted = _of(asked, "language") & _of(cached, "language")
    if not wanted and languages_differ(asked.language, cached.language):
        yield "written-in"
    if identifiers_differ(asked.identifiers, cached.identifiers, asked.words, cached.words):
        yield "identifier"
    if asked.mentioned - cached.mentioned and cached.mentioned - asked.mentioned:
        yield "mention"
    if person_differs(asked.voice, cached.voice):
        yield "whom"
    if asked.parts != cached.parts and MEANING in asked.han and MEANING in cached.han:
        yield "part"
    if payloads_differ(asked.payload, cached.payload):
        yield "payload"


def _likeness(words: frozenset[str], other_words: frozenset[str]) -> float:
    """Return the share of equal words in the longer text."""
    return len(words & other_words) / max(len(words), len(other_words), 1)


def _further(words: frozenset[str], other_words: frozenset[str]) -> int:
    """Return how many words with a meaning of their own one text has that the other lacks."""
    return max(len(words - other_words - SMALL_WORDS), len(other_words - words - SMALL_WORDS))


def _of(slots: Slots, rule: str, axis: str | None = None) -> frozenset[str]:
    return slots.values.get((rule, axis or rule), frozenset())


def _numbers(asked: Slots, cached: Slots, same: Sequence[tuple[Duration, Duration]]) -> Iterator[str]:
    """Compare numbers where both texts have some; one more or less is often said in passing."""
    # Two weeks and 14 days agree, whatever their numbers.
    ours = asked.numbers.keys() - cached.numbers.keys() - cached.vague
    theirs = cached.numbers.keys() - asked.numbers.keys() - asked.vague
    for one, other in same:
        ours, theirs = ours - one.numbers, theirs - other.numbers
    if (ours and (theirs or cached.vague)) or (theirs and asked.vague):
        if _apart(
            {asked.numbers[value] for value in ours}, {cached.numbers[value] for value in theirs}
        ) and not (any(map(YEAR.fullmatch, ours)) and any(map(YEAR.fullmatch, theirs))):
            return
        rules = {asked.numbers[value] for value in ours} | {cached.numbers[value] for value in theirs}
        yield next((rule for rule in ("version", "date") if rule in rules), "number")


def _counts_differ(asked: Slots, cached: Slots, same: Sequence[tuple[Duration, Duration]]) -> bool:
    """Tell that a number was changed for one that the text has already."""
    if sum(asked.counts.values()) != sum(cached.counts.values()):
        return False
    agreed_otherwise = {
        number
        for one, other in same
        if one.numbers != other.numbers
        for number in one.numbers | other.numbers
    }
    return any(
        asked.counts.get(number, 0) != cached.counts.get(number, 0)
        for number in (asked.counts.keys() | cached.counts.keys()) - agreed_otherwise
    )


def _times(asked: Slots, cached: Slots) -> bool:
    """Tell times of day of which each text has one, or a plain number, that the other lacks."""
    ours = unlike(asked.clocks, cached.clocks, cached.numbers)
    theirs = unlike(cached.clocks, asked.clocks, asked.numbers)
    return (ours and (theirs or bool(cached.numbers.keys() - asked.numbers.keys()))) or (
        theirs and bool(asked.numbers.keys() - cached.numbers.keys())
    )


def _apart(ours: set[str], theirs: set[str]) -> bool:
    """Tell a year that only one text names from another kind of number that only the other has."""
    return {*ours, *theirs} == {"date", "number"} and ours.isdisjoint(theirs)


def _values(
    asked: Slots, cached: Slots, tables: Tables, plain: bool, same: Sequence[tuple[Duration, Duration]]
) -> Iterator[str]:
    """Compare what the tables list: each text has a value the other lacks, or only one has any."""
    for rule, axis in sorted(asked.values.keys() | cached.values.keys()):
        ours, theirs = _of(asked, rule, axis), _of(cached, rule, axis)
        if rule in SEPARATE:
            continue
        if rule == "unit":
            ours = ours.difference(*(one.units for one, _ in same))
            theirs = theirs.difference(*(other.units for _, other in same))
        if ours and theirs:
            differs = bool(ours - theirs) and bool(theirs - ours)
        else:
            differs = plain and rule in tables.one_sided
        if differs:
            yield rule


def _negation_differs(asked: Slots, cached: Slots) -> bool:
    ours, theirs = _of(asked, "negation"), _of(cached, "negation")
    return "maybe" not in ours | theirs and ours != theirs


def _denial_differs(asked: Slots, cached: Slots) -> bool:
    """Tell that one text denies what the other, which denies nothing, says."""
    for one, other in ((asked, cached), (cached, asked)):
        # What may deny says nothing where both texts have it, as 怎么办 is.
        may_deny = _of(other, "negation") - _of(one, "negation")
        if one.denied & other.content and "words" not in _of(other, "negation") and not may_deny:
            return True
    return False


def _names_differ(asked: Slots, cached: Slots, chinese: bool) -> bool:
    """Tell texts that each have a name which the other lacks, listed in the tables or told by its looks."""
    listed, other_listed = _of(asked, "name"), _of(cached, "name")
    ours, theirs = listed - other_listed, other_listed - listed
    if chinese and ours and theirs:
        return True
    unknown = {name for name in asked.names if not _has_name(cached, name)}
    other_unknown = {name for name in cached.names if not _has_name(asked, name)}
    if not ((ours or unknown) and (theirs or other_unknown)):
        return False
    words, other_words = asked.words - unknown, cached.words - other_unknown
    close = chinese or _further(words, other_words) <= FURTHER_WORDS
    if close and _likeness(words, other_words) >= ALIKE_NAMES:
        return True
    words, other_words = asked.content - _stems(unknown), cached.content - _stems(other_unknown)
    return _further(words, other_words) <= FURTHER_WORDS and _likeness(words, other_words) >= ALIKE_NAMES


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
