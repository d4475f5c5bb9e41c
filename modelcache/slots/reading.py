"""From a text to its slots: what it says of numbers, names, negation and whatever the tables list."""

import re
from collections import defaultdict
from dataclasses import dataclass

from modelcache.slots.numbers import HAN_NUMERALS, SCALES, WORDS, han_value, plain, scaled
from modelcache.slots.tables import Mark, Node, Tables
from modelcache.slots.tokens import Token, tokens_of

# A longer text is read up to here, so that its cost is bounded.
LONGEST = 4096
NEIGHBOURS = 4
TITLE = re.compile(r"《([^《》]{1,40})》")
DATE_WORDS = frozenset("年月号日届")
CLOCK_WORDS = frozenset({"点", "时", "am", "pm", "o'clock"})
VERSION_WORDS = frozenset({"v", "ver", "version", "versions", "版本", "release"})
# Words before a number that are no product's name.
PLAIN_WORDS = frozenset(
    "a about an and are at be between by do for from get go has have how i in is it me my no of on or over than the "
    "to under up was what which with you".split()
)
EITHER = frozenset("不没未")
# One of something, a couple of them, a second: such a number agrees with its absence.
VAGUE = frozenset({"1", "0"})
UNITS_OF_THOUSAND = frozenset("米克瓦")
YEARS = range(1900, 2100)


@dataclass(frozen=True, slots=True)
class Slots:
    """What a text says, for each rule."""

    values: dict[str, frozenset[str]]
    """Values by axis, such as ``language``: {``french``}."""
    rules: dict[str, str]
    """The rule of each axis."""
    numbers: dict[str, str]
    """Rule by plain spelling: a version or a date differs by its own name."""
    vague: frozenset[str]
    """Numbers that agree with an absence."""
    negation: frozenset[str]
    names: frozenset[str]
    """Words that are names by their capitals, and Latin words inside Chinese."""
    words: frozenset[str]
    titles: frozenset[str]
    links: tuple[tuple[frozenset[str], frozenset[str]], ...]
    """What is before and behind each direction word."""
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
        values: dict[str, set[str]] = defaultdict(set)
        rules: dict[str, str] = {}
        numbers = _Numbers(tokens)
        turns: list[tuple[int, int, str]] = []
        marked: set[int] = set()
        position = 0
        while position < len(tokens):
            marks, length = longest(self.tables.spellings, tokens, position)
            if not length:
                length = numbers.read(position)
                if length:
                    behind, used = longest(self.tables.after_number, tokens, position + length)
                    # 3 百万元: the unit, where its spelling is not one of the tables' longer ones.
                    if used >= longest(self.tables.spellings, tokens, position + length)[1]:
                        marks, length = behind, length + used
            for mark in marks:
                if mark.rule == "negation" and _asks_either(tokens, position, length):
                    continue
                if mark.rule == "direction":
                    turns.append((position, length, mark.value))
                else:
                    marked.update(range(position, position + length))
                    values[mark.axis].add(mark.value)
                    rules[mark.axis] = mark.rule
            position += length or 1
        han = "".join(token.text for token in tokens if token.kind == "han")
        return Slots(
            values={axis: frozenset(found) for axis, found in values.items() if axis != "negation"},
            rules=rules,
            numbers=numbers.strong,
            vague=frozenset(numbers.vague),
            negation=frozenset(values.get("negation", ())),
            names=_names(tokens, marked, bool(han)) - self.tables.common,
            words=frozenset(token.text for token in tokens),
            titles=frozenset("".join(title.split()).lower() for title in TITLE.findall(text)),
            links=_links(tokens, turns),
            han=han,
        )


def longest(root: Node, tokens: list[Token], start: int) -> tuple[tuple[Mark, ...], int]:
    """Return the marks of the longest spelling that begins here, and its number of tokens; 0 for none."""
    node: Node | None = root
    marks: tuple[Mark, ...] = ()
    length = 0
    for position in range(start, len(tokens)):
        node = node.following.get(tokens[position].text) if node else None
        if node is None:
            break
        if node.marks is not None:
            marks, length = node.marks, position + 1 - start
    return marks, length


class _Numbers:
    """Reads the numbers of one text, one after the other."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.strong: dict[str, str] = {}
        self.vague: set[str] = set()

    def read(self, start: int) -> int:
        """Keep the number that begins at this token and return how many tokens it takes, 0 for none."""
        token = self.tokens[start]
        end = start + 1
        vague = False
        if token.kind == "number":
            value = plain(token.text)
        elif token.kind == "han" and token.text in HAN_NUMERALS:
            while end < len(self.tokens) and self.tokens[end].text in HAN_NUMERALS:
                end += 1
            value = han_value("".join(part.text for part in self.tokens[start:end]))
            vague = value in VAGUE or end - start == 1 and token.text in "百千万亿"
        elif token.text in WORDS or token.text in SCALES and len(token.text) > 1:
            vague = token.text in ("one", "second", "zero", "first") or token.text in SCALES
            value = str(WORDS.get(token.text, 1))
            following = WORDS.get(self._text(end), 0)
            if value.endswith("0") and token.text in WORDS and 0 < following < 10:
                value, end = str(int(value) + following), end + 1
            if token.text in SCALES:
                end = start
        else:
            return 0
        while self._scales(end) and ":" not in value and value.count(".") < 2:
            value, end, vague = scaled(value, SCALES[self._text(end)]), end + 1, vague and end == start
        self._keep(value, start, end, vague)
        return end - start

    def _keep(self, value: str, start: int, end: int, vague: bool) -> None:
        before, behind = self._text(start - 1), self._text(end)
        rule = "number"
        if ":" in value or behind in CLOCK_WORDS:
            rule = "time"
        elif behind in DATE_WORDS or value.isdecimal() and len(value) == 4 and int(value) in YEARS:
            rule = "date"
        elif before in VERSION_WORDS or self._text(start - 2) + before in VERSION_WORDS:
            rule = "version"
        elif "." in self.tokens[start].text and start and self.tokens[start - 1].kind == "word":
            if before not in PLAIN_WORDS:
                # 3.10 is another version than 3.1.
                rule, value = "version", self.tokens[start].text.removesuffix(".0")
        elif value.count(".") > 1:
            rule = "version"
        if vague:
            self.vague.add(value)
        else:
            self.strong.setdefault(value, rule)

    def _scales(self, position: int) -> bool:
        """Tell the scale of 3 千 from the unit of 3 千米."""
        unit = self._text(position) == "千" and self._text(position + 1) in UNITS_OF_THOUSAND
        return self._text(position) in SCALES and not unit

    def _text(self, position: int) -> str:
        return self.tokens[position].text if 0 <= position < len(self.tokens) else ""


def _asks_either(tokens: list[Token], start: int, length: int) -> bool:
    """Tell the 不 and 没 of 能不能, 可以不可以 and of a final 吗 (好不?) from a negation."""
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


def _links(
    tokens: list[Token], turns: list[tuple[int, int, str]]
) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """Return what is near each direction word on either side, no further than the next such word."""
    ends = [0, *(start + length for start, length, _ in turns)]
    starts = [*(start for start, _, _ in turns), len(tokens)]
    links = []
    for index, (start, length, value) in enumerate(turns):
        end = start + length
        before = _parts(tokens[max(ends[index], start - NEIGHBOURS) : start])
        behind = _parts(tokens[end : min(starts[index + 1], end + NEIGHBOURS)])
        links.append((behind, before) if value == "reversed" else (before, behind))
    return tuple(links)


def _parts(tokens: list[Token]) -> frozenset[str]:
    """Return words, numbers and pairs of neighbouring Chinese characters: a single one says too little."""
    parts = [token.text for token in tokens if token.kind != "han" and token.text not in PLAIN_WORDS]
    pairs = zip(tokens, tokens[1:], strict=False)
    return frozenset(
        parts + [left.text + right.text for left, right in pairs if left.kind == right.kind == "han"]
    )


def _names(tokens: list[Token], marked: set[int], chinese: bool) -> frozenset[str]:
    """Return the words that are names by their looks; those with a meaning in the tables have that one."""
    words = [token for token in tokens if token.kind == "word"]
    unmarked = {token.text for index, token in enumerate(tokens) if index not in marked}
    if chinese:
        return frozenset(token.text for token in words if len(token.text) > 1) & unmarked
    # Where every word begins with a capital, a capital says nothing.
    if all(token.shown[0].isupper() for token in words):
        return frozenset()
    first = words[0].shown if words else ""
    return frozenset(
        token.text
        for index, token in enumerate(words)
        if token.shown[0].isupper()
        and len(token.text) > 1
        and (index or (first.isupper() and len(first) > 1))
        and token.text in unmarked
    )
