"""What stands before and behind words such as ``to`` and 到, which cannot change places."""

from collections.abc import Mapping
from itertools import pairwise

from modelcache.language.tokens import PLAIN_WORDS, SMALL_HAN, Token

# How many words that say something make a side, and among how many they are looked for.
NEIGHBOURS = 5
REACH = 10
# So that the cost of a long text is bounded.
MOST_TURNS = 12
REVERSED = "reversed"
# Who does it, and to whom: "I owe my landlord", "my landlord owes me".
SUBJECTS = {"i": "@i", "we": "@we", "you": "@you"}
OBJECTS = {"me": "@i", "us": "@we", "you": "@you"}

Link = tuple[frozenset[str], frozenset[str]]
Turn = tuple[int, int, str]


def links_of(tokens: list[Token], turns: list[Turn]) -> tuple[Link, ...]:
    """Return both sides of each direction word, given by place, length and kind.

    A side reaches no further than the next such word. ``from A … to B`` links what follows both.
    """
    turns = _joined(turns)[:MOST_TURNS]
    ends = [0, *(start + length for start, length, _ in turns)]
    starts = [*(start for start, _, _ in turns), len(tokens)]
    links: list[Link] = []
    origin = goal = frozenset[str]()
    for index, (start, length, kind) in enumerate(turns):
        end = start + length
        left = tokens[max(ends[index], start - REACH) : start]
        right = tokens[end : min(starts[index + 1], end + REACH)]
        before = _parts(_said(left)[-NEIGHBOURS:]) | _person(left[::-1], SUBJECTS)
        behind = _parts(_said(right)[:NEIGHBOURS]) | _person(right, OBJECTS)
        if kind == REVERSED:
            origin = behind
            links += [(origin, before), (origin, goal)]
        else:
            goal = behind
            links += [(before, goal), (origin, goal)]
    return tuple(links)


def _joined(turns: list[Turn]) -> list[Turn]:
    """Take words that follow each other, such as 转 and 到, for one."""
    joined: list[Turn] = []
    for start, length, kind in turns:
        if joined and joined[-1][2] == kind and sum(joined[-1][:2]) == start:
            start, length = joined[-1][0], joined.pop()[1] + length
        joined.append((start, length, kind))
    return joined


def _person(tokens: list[Token], names: Mapping[str, str]) -> frozenset[str]:
    """Return who is named next to a direction word, the nearest token first, where it is a pronoun."""
    return frozenset(names[token.text] for token in tokens[:1] if token.text in names)


def _said(tokens: list[Token]) -> list[Token]:
    """Leave out the words of a question's form; in A公司收购B公司 the A is no article."""
    return [
        token
        for token in tokens
        if token.text not in (SMALL_HAN if token.kind == "han" else PLAIN_WORDS) or token.shown == "A"
    ]


def _parts(tokens: list[Token]) -> frozenset[str]:
    """Return words, numbers and pairs of neighbouring Chinese characters: a single one says too little."""
    parts = [token.text for token in tokens if token.kind != "han"]
    pairs = [one.text + next_.text for one, next_ in pairwise(tokens) if one.kind == next_.kind == "han"]
    return frozenset(parts + pairs)
