"""Who does it to whom: what changes places between two texts though their words stay the same."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelcache.language.tokens import FORM_WORDS, SMALL_HAN, Token
from modelcache.slots.directions import Turn

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
