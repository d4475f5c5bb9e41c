"""Two texts' slots side by side: the first rule by which they differ."""

from collections.abc import Iterator

from modelcache.slots.reading import Slots
from modelcache.slots.tables import Tables

# Names that begin alike are taken for forms of one: India and Indian.
NAME_STEM = 4
# What a direction, a negation, a kind of question or a word with a capital means to the whole is plain only where most
# of the other words are equal.
ALIKE = 0.6
# A Chinese text shares more characters than words, and says plainly what it asks for.
ALIKE_QUESTION_HAN = 0.3
ALIKE_ONE_SIDED = 0.5
ALIKE_LISTED = 0.5
SEPARATE = frozenset({"question", "name"})


def difference(asked: Slots, cached: Slots, tables: Tables) -> str:
    """Return the rule by which two texts differ, "" if none does; the order of the two does not matter."""
    return next((rule for rule in differences(asked, cached, tables) if rule not in tables.off), "")


def differences(asked: Slots, cached: Slots, tables: Tables) -> Iterator[str]:
    """Give every rule by which two texts differ, the plainest first."""
    alike = _likeness(asked, cached)
    yield from _numbers(asked, cached)
    yield from _values(asked, cached, tables, alike)
    if alike >= ALIKE and _direction_differs(asked, cached):
        yield "direction"
    if _surname_differs(asked.han, cached.han, tables.surnames) or _name_differs(asked, cached, alike):
        yield "name"
    if alike >= ALIKE and _negation_differs(asked, cached):
        yield "negation"
    if alike >= (ALIKE_QUESTION_HAN if asked.han and cached.han else ALIKE) and _question_differs(asked, cached):
        yield "question"


def _likeness(asked: Slots, cached: Slots) -> float:
    """Return the share of equal words in the longer text."""
    return len(asked.words & cached.words) / max(len(asked.words), len(cached.words), 1)


def _numbers(asked: Slots, cached: Slots) -> Iterator[str]:
    ours = asked.numbers.keys() - cached.numbers.keys() - cached.vague
    theirs = cached.numbers.keys() - asked.numbers.keys() - asked.vague
    if not (ours or theirs):
        return
    if (ours and theirs) or (ours and cached.vague) or (theirs and asked.vague):
        rules = {asked.numbers[value] for value in ours} | {cached.numbers[value] for value in theirs}
        yield next((rule for rule in ("version", "date", "time") if rule in rules), "number")


def _values(asked: Slots, cached: Slots, tables: Tables, alike: float) -> Iterator[str]:
    floor = 0.0 if asked.han and cached.han else ALIKE_ONE_SIDED
    for axis in sorted(asked.values.keys() | cached.values.keys()):
        ours, theirs = asked.values.get(axis, frozenset()), cached.values.get(axis, frozenset())
        rule = asked.rules.get(axis) or cached.rules[axis]
        if rule in SEPARATE:
            continue
        if not ours or not theirs:
            differs = rule in tables.one_sided and alike >= floor
        else:
            differs = bool(ours - theirs) and bool(theirs - ours)
        if differs:
            yield rule


def _negation_differs(asked: Slots, cached: Slots) -> bool:
    return ("words" in asked.negation) != ("words" in cached.negation) and "maybe" not in (
        asked.negation | cached.negation
    )


def _direction_differs(asked: Slots, cached: Slots) -> bool:
    return any(
        (before - behind) & (other_behind - other_before) and (behind - before) & (other_before - other_behind)
        for before, behind in asked.links
        for other_before, other_behind in cached.links
    )


def _question_differs(asked: Slots, cached: Slots) -> bool:
    """Tell two kinds of question apart; agreeing in one kind is enough."""
    ours, theirs = _kinds(asked), _kinds(cached)
    return bool(ours and theirs) and not ours & theirs and "any" not in ours | theirs


def _kinds(slots: Slots) -> frozenset[str]:
    return slots.values.get("question", frozenset())


def _name_differs(asked: Slots, cached: Slots, alike: float) -> bool:
    """Tell texts that each have a name which the other lacks."""
    listed, other_listed = (slots.values.get("name", frozenset()) for slots in (asked, cached))
    ours, theirs = listed - other_listed, other_listed - listed
    if ours and theirs and alike >= (0.0 if asked.han and cached.han else ALIKE_LISTED):
        return True
    unknown = {name for name in asked.names if not _has_name(cached, name)}
    other_unknown = {name for name in cached.names if not _has_name(asked, name)}
    rest = max(len(asked.words - unknown), len(cached.words - other_unknown), 1)
    if len(asked.words & cached.words) / rest >= ALIKE and (ours or unknown) and (theirs or other_unknown):
        return True
    titles = asked.titles and cached.titles
    return bool(titles) and not any(one in other or other in one for one in asked.titles for other in cached.titles)


def _has_name(slots: Slots, name: str) -> bool:
    if name in slots.words:
        return True
    stem = name[:NAME_STEM]
    return any(word.startswith(stem) or len(word) > 2 and name.startswith(word) for word in slots.words)


def _surname_differs(asked: str, cached: str, surnames: set[str]) -> bool:
    """Tell texts of one length that differ in one character, which is a surname on both sides."""
    if len(asked) != len(cached):
        return False
    changed = [(one, other) for one, other in zip(asked, cached, strict=True) if one != other]
    return len(changed) == 1 and changed[0][0] in surnames and changed[0][1] in surnames
