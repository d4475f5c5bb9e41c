"""Signs, rarer characters, quotations, case and the space in a command."""

from collections.abc import Iterator

from modelcache.slots.pair import ALIKE, Pair
from modelcache.slots.signs import STRONG, Signs

LONG_QUOTE = 20


def differ(pair: Pair) -> Iterator[str]:
    asked, cached = pair.asked.signs, pair.cached.signs
    # In small words only, at most.
    same_content = pair.akin == 1 and bool(pair.asked.content)
    if _signs_differ(asked, cached, same_content=same_content):
        yield "sign"
    if pair.alike >= ALIKE and asked.characters - cached.characters and cached.characters - asked.characters:
        yield "character"
    if _quotes_differ(asked, cached):
        yield "quoted"
    if _case_differs(asked, cached):
        yield "case"
    if asked.letters == cached.letters and (
        (asked.parts and cached.parts and asked.parts != cached.parts)
        or (len(asked.lines) == len(cached.lines) and asked.lines != cached.lines)
    ):
        yield "space"


def _signs_differ(asked: Signs, cached: Signs, *, same_content: bool) -> bool:
    if asked.letters == cached.letters:
        if asked.at == cached.at:
            return False
        for place in asked.at.keys() | cached.at.keys():
            ours, theirs = asked.at.get(place, ""), cached.at.get(place, "")
            if ours != theirs and ((ours and theirs) or STRONG in ours + theirs):
                return True
        return False
    if asked.strong == cached.strong:
        return False
    more, less = asked.strong - cached.strong, cached.strong - asked.strong
    return bool(more and less) or same_content


def _quotes_differ(asked: Signs, cached: Signs) -> bool:
    """Tell that each text quotes what the other does not say; a long quotation may be cut."""
    if not (asked.quoted and cached.quoted) or asked.quoted == cached.quoted:
        return False
    return _unsaid(asked, cached) and _unsaid(cached, asked)


def _unsaid(one: Signs, other: Signs) -> bool:
    for quoted in one.quoted - other.quoted:
        if not quoted.strip():
            return True
        cut = [said for said in other.quoted if min(len(said), len(quoted)) >= LONG_QUOTE]
        # What both texts say outside their quotes, such as a question's form, is not what is quoted.
        said_bare = other.unquoted.count(quoted.lower()) > one.unquoted.count(quoted.lower())
        if not said_bare and not any(said in quoted or quoted in said for said in cut):
            return True
    return False


def _case_differs(asked: Signs, cached: Signs) -> bool:
    if asked.letters == cached.letters and asked.cased != cached.cased:
        common = asked.cased.keys() & cached.cased.keys()
        if any(asked.cased[place] != cached.cased[place] for place in common):
            return True
    return any(
        one.lower() == other.lower() and _with_small_k(one) != _with_small_k(other)
        for one in asked.units - cached.units
        for other in cached.units - asked.units
        if not (one.islower() or other.islower())
    )


def _with_small_k(unit: str) -> str:
    # KB is kB to most.
    return "k" + unit[1:] if unit[0] == "K" else unit
