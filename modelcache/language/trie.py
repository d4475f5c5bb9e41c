"""Spellings of one or more words, in one trie of tokens."""

from dataclasses import dataclass, field
from typing import NamedTuple

from modelcache.language.tokens import Token, words_of


class Mark(NamedTuple):
    """What a spelling stands for: a value of one axis of one rule."""

    rule: str
    axis: str
    value: str


@dataclass(slots=True)
class Node:
    """The spellings that begin alike; ``marks`` is None where none ends."""

    following: dict[str, "Node"] = field(default_factory=dict)
    marks: tuple[Mark, ...] | None = None

    def add(self, spelling: str, *marks: Mark) -> None:
        """Let a spelling stand for these marks, beside those it has."""
        node = self
        for word in words_of(spelling):
            node = node.following.setdefault(word, Node())
        node.marks = tuple(dict.fromkeys((node.marks or ()) + marks))


def longest(root: Node, tokens: list[Token], start: int) -> tuple[tuple[Mark, ...], int]:
    """Return the marks of the longest spelling that begins here, and its number of tokens; 0 for none."""
    node = root
    marks: tuple[Mark, ...] = ()
    length = 0
    for place in range(start, len(tokens)):
        following = node.following.get(tokens[place].text)
        if following is None:
            break
        node = following
        if node.marks is not None:
            marks, length = node.marks, place + 1 - start
    return marks, length
