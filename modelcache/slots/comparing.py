"""Two texts' slots side by side: the first rule by which they differ."""

from collections.abc import Callable, Iterator

from modelcache.slots.reading import Slots
from modelcache.slots.tables import Tables

# Names that begin alike are taken for forms of one: India and Indian.
NAME_STEM = 4
# Rules whose values are alternatives: agreeing in one is enough.
ALTERNATIVES = frozenset({"question"})


def difference(asked: Slots, cached: Slots, tables: Tables) -> str:
    """Return the rule by which two texts differ, "" if none does; the order of the two does not matter."""
    return next((rule for rule in differences(asked, cached, tables) if rule not in tables.off), "")


def differences(asked: Slots, cached: Slots, tables: Tables) -> Iterator[str]:
    """Give every rule by which two texts differ, the plainest first."""
    yield from _numbers(asked, cached)
    yield from _values(asked, cached, tables)
    checks: dict[str, Callable[[Slots, Slots], bool]] = {
        "negation": _negation_differs,
        "direction": _direction_differs,
        "name": _name_differs,
    }
    for rule, differs in checks.items():
        if differs(asked, cached):
            yield rule
    if _surname_differs(asked.han, cached.han, tables.surnames):
        yield "name"


def _numbers(asked: Slots, cached: Slots) -> Iterator[str]:
    ours = asked.numbers.keys() - cached.numbers.keys() - cached.vague
    theirs = cached.numbers.keys() - asked.numbers.keys() - asked.vague
    if not (ours or theirs):
        return
    if (ours and theirs) or (ours and cached.vague) or (theirs and asked.vague):
        rules = {asked.numbers[value] for value in ours} | {cached.numbers[value] for value in theirs}
        yield next((rule for rule in ("version", "date", "time") if rule in rules), "number")


def _values(asked: Slots, cached: Slots, tables: Tables) -> Iterator[str]:
    for axis in sorted(asked.values.keys() | cached.values.keys()):
        ours, theirs = asked.values.get(axis, frozenset()), cached.values.get(axis, frozenset())
        rule = asked.rules.get(axis) or cached.rules[axis]
        if not ours or not theirs:
            differs = rule in tables.one_sided
        elif rule in ALTERNATIVES:
            differs = not ours & theirs
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


def _name_differs(asked: Slots, cached: Slots) -> bool:
    ours = [name for name in asked.names if not _has_name(cached, name)]
    theirs = [name for name in cached.names if not _has_name(asked, name)]
    if ours and theirs:
        return True
    titles = asked.titles and cached.titles
    return bool(titles) and not any(one in other or other in one for one in asked.titles for other in cached.titles)


def _has_name(slots: Slots, name: str) -> bool:
    if name in slots.words:
        return True
    stem = name[:NAME_STEM]
    return len(stem) == NAME_STEM and any(word.startswith(stem) for word in slots.words)


def _surname_differs(asked: str, cached: str, surnames: set[str]) -> bool:
    """Tell texts of one length that differ in one character, which is a surname on both sides."""
    if len(asked) != len(cached):
        return False
    changed = [(one, other) for one, other in zip(asked, cached, strict=True) if one != other]
    return len(changed) == 1 and changed[0][0] in surnames and changed[0][1] in surnames
