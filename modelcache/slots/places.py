"""Who does it to whom: what changes places between two texts though their words stay the same."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelcache.slots.directions import Turn
from modelcache.slots.tokens import FORM_WORDS, SMALL_HAN, Token

# The people of a question, whose parts are not for exchange whatever they do to each other.
PERSON = "person"
PEOPLE = frozenset({"sex", "family", "young"})
SPEAKER = "我"
# 告诉我, 帮我 and the like name nobody.
SERVING = frozenset("诉帮给为求教")
UNLISTED = "unlisted name"
# Other things that act on each other: each may change places with one of its own kind.
ACTING = frozenset({"name", "device", "numeral", "animal", "language", "garment"})
NAMES = frozenset({"name", UNLISTED})
# By these the one who acts may be named last.
PASSIVE = frozenset({"被", "由", "by"})
BREAK = re.compile("[,，、;；。?？!！/]")
ENDS = ",，、;；。.?？!！/~…)）\"”’' \t\n"
# Characters that say nothing by their places.
PLACELESS = SMALL_HAN - frozenset("的我谁你她他它")
# Shares of common words, of which names need more: they stand in many places of a text.
ALIKE = 0.6
ALIKE_NAMES = 0.8
LONGEST_ORDER = 40
MOST_ROLES = 40

# Who beat Germany, and who did Germany beat?
ACTS, SUFFERS = "acts", "suffers"
DOING = frozenset({"do", "does", "did"})

Role = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Places:
    """What stands where in a text."""

    order: tuple[str, ...]
    """The Chinese characters that say something by their places, and all other words."""
    turning: frozenset[str]
    """The words that say which of two acts on the other."""
    roles: tuple[Role, ...]
    """Those who act on each other, in their order."""
    asked_for: str
    """What the one does whom the text asks for, "" where that is not plain."""
    mutual: bool
    """Whether something puts two on one footing, as "and" does."""
    clauses: bool
    """Whether clauses follow each other."""
    passive: frozenset[str]


def places_of(
    text: str,
    tokens: Sequence[Token],
    turns: Iterable[Turn],
    listed: Mapping[int, Role],
    names: frozenset[str],
    *,
    mutual: bool,
) -> Places:
    """Read a text; ``listed`` are the roles of the tables by place, ``names`` those told by their looks."""
    roles = dict(listed)
    roles.update((place, (PERSON, SPEAKER)) for place in _speaker(tokens))
    if len(names) > 1:
        roles.update((place, (UNLISTED, one.text)) for place, one in enumerate(tokens) if one.text in names)
    return Places(
        order=tuple([token.text for token in tokens if token.text not in PLACELESS]),
        turning=frozenset([one.text for start, length, _ in turns for one in tokens[start : start + length]]),
        roles=tuple([role for _, role in sorted(roles.items())])[:MOST_ROLES],
        asked_for=_asked_for(tokens),
        mutual=mutual,
        clauses=bool(BREAK.search(text.rstrip(ENDS))),
        passive=PASSIVE.intersection([token.text for token in tokens]),
    )


def change(asked: Places, cached: Places, *, chinese: bool, linked: bool) -> bool:
    """Tell who does it to whom, unless two are on one footing or one text only is in the passive voice.

    ``linked``: direction words stand between things in both texts.
    """
    if asked.mutual or cached.mutual or asked.passive != cached.passive:
        return False
    clauses = asked.clauses or cached.clauses
    if not chinese:
        # Where there are direction words, these tell.
        return not (clauses or linked) and (
            _roles_change(asked.roles, cached.roles, asked.order, cached.order)
            or _sides_change(asked.order, cached.order)
        )
    # Places and brands stand where they like in Chinese, and clauses as well.
    people, others = ([role for role in places.roles if role[0] not in NAMES] for places in (asked, cached))
    return _roles_change(people, others, asked.order, cached.order) or (
        not clauses and _sides_change(asked.order, cached.order, asked.turning & cached.turning)
    )


def other_is_asked_for(asked: Places, cached: Places) -> bool:
    """Tell the one who acts from the one who suffers, in texts of the same words."""
    return {asked.asked_for, cached.asked_for} == {ACTS, SUFFERS}


def role_of(axis: str, value: str) -> Role | None:
    """Return the role that a listed value may play; None: it is no actor."""
    if axis in PEOPLE:
        return PERSON, f"{axis} {value}"
    return (axis, value) if axis in ACTING else None


def _speaker(tokens: Sequence[Token]) -> Iterator[int]:
    """Give the places where the speaker is one of the people in question."""
    for place, token in enumerate(tokens):
        if token.text == SPEAKER and not (place and tokens[place - 1].text in SERVING):
            yield place


def _asked_for(tokens: Sequence[Token]) -> str:
    """Return what the one does whom an English text asks for: acts, suffers, or "" where neither is plain."""
    if len(tokens) < 3 or tokens[0].text not in ("who", "whom"):
        return ""
    if tokens[1].text in DOING or tokens[0].text == "whom":
        return SUFFERS
    return "" if tokens[1].text in FORM_WORDS else ACTS


def _roles_change(
    asked: Sequence[Role], cached: Sequence[Role], words: Sequence[str], other_words: Sequence[str]
) -> bool:
    """Tell two roles of one kind that follow each other the other way round, in texts alike otherwise."""
    if asked == cached or len(asked) < 2:
        return False
    once = _once(asked) & _once(cached)
    ours, theirs = ([role for role in side if role in once] for side in (asked, cached))
    if ours == theirs:
        return False
    place = {role: number for number, role in enumerate(theirs)}
    kinds = {
        one[0]
        for number, one in enumerate(ours)
        for other in ours[number + 1 :]
        if one[0] == other[0] and place[one] > place[other]
    }
    if not kinds:
        return False
    common = sum((Counter(words) & Counter(other_words)).values())
    alike = common / max(len(words), len(other_words), 1)
    return alike >= (ALIKE if kinds - NAMES else ALIKE_NAMES)


def _sides_change(asked: Sequence[str], cached: Sequence[str], turning: frozenset[str] | None = None) -> bool:
    """Tell A … B from B … A in texts of the same words.

    ``turning`` is what between them says which acts on which, and one character more on either side does
    no harm then; None: any word between them may.
    """
    if max(len(asked), len(cached)) > LONGEST_ORDER or asked == cached:
        return False
    common = Counter(asked) & Counter(cached)
    if max(len(asked), len(cached)) - sum(common.values()) > (turning is not None):
        return False
    ours, theirs = _kept(asked, common), _kept(cached, common)
    while ours and ours[0] == theirs[0]:
        ours, theirs = ours[1:], theirs[1:]
    while ours and ours[-1] == theirs[-1]:
        ours, theirs = ours[:-1], theirs[:-1]
    length = len(ours)
    for first in range(1, length - 1):
        if theirs[length - first :] != ours[:first]:
            continue
        for last in range(1, length - first):
            between = ours[first : length - last]
            if ours[length - last :] == theirs[:last] and between == theirs[last : length - first]:
                return turning is None or not turning.isdisjoint(between)
    return False


def _once(roles: Iterable[Role]) -> set[Role]:
    return {role for role, count in Counter(roles).items() if count == 1}


def _kept(words: Sequence[str], common: Counter[str]) -> list[str]:
    left = Counter(common)
    kept = []
    for word in words:
        if left[word] > 0:
            left[word] -= 1
            kept.append(word)
    return kept
