"""From a text to its slots: what it says of numbers, names, negation and whatever the tables list."""

from collections import defaultdict
from dataclasses import dataclass

from modelcache.slots.directions import Link, Turn, links_of
from modelcache.slots.names import names_of, titles_of
from modelcache.slots.number_reading import NumberReader
from modelcache.slots.numbers import HAN_NUMERALS
from modelcache.slots.tables import Mark, Node, Tables
from modelcache.slots.tokens import Token, tokens_of

# A longer text is read up to here, so that its cost is bounded.
LONGEST = 4096
EITHER = frozenset("不没未")

Axis = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Slots:
    """What a text says, for each rule."""

    values: dict[Axis, frozenset[str]]
    """Values by rule and axis: ("language", "language") has {"french"}."""
    numbers: dict[str, str]
    """Rule by number: a version or a date differs by its own name."""
    vague: frozenset[str]
    """Numbers that agree with an absence."""
    names: frozenset[str]
    """Words that look like names."""
    titles: frozenset[str]
    links: tuple[Link, ...]
    """What is before and behind each direction word."""
    words: frozenset[str]
    han: str
    """The Chinese characters, in order."""


class Reader:
    """Reads texts by one set of tables."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def read(self, text: str) -> Slots:
        """Find the slots of a text."""
        text = text[:LONGEST]
        tokens = tokens_of(text)
        numbers = NumberReader(tokens)
        values: dict[Axis, set[str]] = defaultdict(set)
        turns: list[Turn] = []
        marked: set[int] = set()
        for start, length, marks in self._spellings(tokens, numbers):
            for rule, axis, value in marks:
                if rule == "direction":
                    turns.append((start, length, value))
                elif rule != "negation" or not _asks_either(tokens, start, length):
                    marked.update(range(start, start + length))
                    values[rule, axis].add(value)
        han = "".join([token.text for token in tokens if token.kind == "han"])
        return Slots(
            values={axis: frozenset(found) for axis, found in values.items()},
            numbers=numbers.plain,
            vague=frozenset(numbers.vague),
            names=names_of(tokens, marked, bool(han)) - self.tables.common,
            titles=titles_of(text),
            links=links_of(tokens, turns),
            words=frozenset([token.text for token in tokens]),
            han=han,
        )

    def _spellings(
        self, tokens: list[Token], numbers: NumberReader
    ) -> list[tuple[int, int, tuple[Mark, ...]]]:
        """Return place, length and marks of each spelling the tables know; keep the numbers between."""
        known = self.tables.spellings
        found = []
        place = 0
        while place < len(tokens):
            word, kind, _ = tokens[place]
            marks, length = longest(known, tokens, place) if word in known.following else ((), 0)
            if not length and (kind != "han" or word in HAN_NUMERALS):
                length = numbers.read(place)
                if length:
                    marks, used = longest(self.tables.after_number, tokens, place + length)
                    # In 3 天猫 the spelling that goes on is not the unit.
                    if used < longest(known, tokens, place + length)[1]:
                        marks, used = (), 0
                    length += used
            if marks:
                found.append((place, length, marks))
            place += length or 1
        return found


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


def _asks_either(tokens: list[Token], start: int, length: int) -> bool:
    """Tell the 不 and 没 of 能不能, of 可以不可以 and of a final 好不 from a negation."""
    if tokens[start].text not in EITHER:
        return False
    end = start + length
    if end == len(tokens):
        return True
    for span in (1, 2):
        before = [token.text for token in tokens[max(0, start - span) : start]]
        if before and before == [token.text for token in tokens[start + 1 : start + 1 + span]]:
            return True
    return False
