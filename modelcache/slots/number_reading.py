"""The numbers of a text, each with the rule that names it: number, version or date; and the times of day."""

from collections import Counter

from modelcache.slots.clock import Clock, clock_at
from modelcache.slots.numbers import HAN_NUMERALS, SCALES, WORDS, han_value, plain, scaled
from modelcache.slots.tokens import PLAIN_WORDS, Token

DATE_WORDS = frozenset("月号日")
VERSION_WORDS = frozenset({"v", "ver", "version", "versions", "版本", "release"})
# Words of a text in which 2.1 and 2.10 are two versions.
UPDATE_WORDS = frozenset(
    {*VERSION_WORDS, "版", "firmware", "update", "updated", "upgrade", "upgraded", "patch", "sdk"}
)
# Half a litre is another amount than a litre; half an hour may be 30 minutes to another.
HALF = "0.5"
HALVES_HAN = frozenset("斤公升米里价杯瓶包箱盒吨克磅")
TIMES = frozenset({"hour", "year", "day", "month", "minute", "century", "decade", "dozen", "million"})
# One of something, a second: such a number agrees with its absence.
VAGUE_VALUES = frozenset({"0", "1"})
VAGUE_WORDS = frozenset({"zero", "one", "first", "second", "百", "千", "万", "亿", *SCALES})
UNITS_OF_THOUSAND = frozenset("米克瓦")
YEARS = range(1900, 2100)
# Before 2000 they tell a year from an amount.
BEFORE_YEARS = frozenset(
    {
        "in",
        "since",
        "by",
        "of",
        "until",
        "till",
        "during",
        "year",
        "from",
        "before",
        "after",
        "around",
        "and",
        "or",
    }
)


# What a number that is not in digits begins with.
HEADS = frozenset({*HAN_NUMERALS, *WORDS, *SCALES, "half", "半"})


class NumberReader:
    """Reads the numbers of one text, one after the other."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        words = {token.text for token in tokens}
        self._tells_versions = not words.isdisjoint(UPDATE_WORDS) or {"升", "级"} <= words
        self.plain: dict[str, str] = {}
        """Rule by spelling."""
        self.vague: set[str] = set()
        self.clocks: set[Clock] = set()
        self.counts: Counter[str] = Counter()
        """How often each is said, vague or not."""
        self.last = ""
        """The number that was read last."""

    def read(self, start: int) -> int:
        """Keep the number that begins at this token and return how many tokens it takes, 0 for none."""
        token = self._tokens[start]
        if token.kind == "number":
            value, end = plain(token.text), start + 1
        elif token.text in HAN_NUMERALS:
            value, end = self._read_han(start)
        elif token.text in WORDS:
            value, end = self._read_words(start)
        elif token.text in SCALES and len(token.text) > 1:
            value, end = "1", start
        elif self._is_half(start):
            self.vague.add(HALF)
            return 1
        else:
            return 0
        vague = token.kind != "number" and value in VAGUE_VALUES
        vague = vague or (end - start < 2 and token.text in VAGUE_WORDS)
        while self._is_scale(end) and ":" not in value and value.count(".") < 2:
            value, vague, end = scaled(value, SCALES[self._text(end)]), vague and end == start, end + 1
        clock = clock_at(self._tokens, value, start, end)
        # 一点 is a little unless the part of the day is said.
        if clock is not None and (clock[0].known or not vague):
            self.clocks.add(clock[0])
            return clock[1] - start
        self._keep(value, start, end, vague)
        return end - start

    def _read_han(self, start: int) -> tuple[str, int]:
        end = start
        while self._text(end) in HAN_NUMERALS:
            end += 1
        return han_value("".join(token.text for token in self._tokens[start:end])), end

    def _read_words(self, start: int) -> tuple[str, int]:
        value, unit = WORDS[self._text(start)], WORDS.get(self._text(start + 1), 0)
        if value >= 20 and 0 < unit < 10:
            return str(value + unit), start + 2
        return str(value), start + 1

    def _keep(self, value: str, start: int, end: int, vague: bool) -> None:
        self.last = value
        before, behind = self._text(start - 1), self._text(end)
        digits = self._tokens[start].text
        rule = "number"
        if behind in DATE_WORDS or _is_year(value, before, behind):
            rule = "date"
        elif (
            before in VERSION_WORDS or self._text(start - 2) + before in VERSION_WORDS or value.count(".") > 1
        ):
            rule = "version"
        elif "." in digits and (self._tells_versions or self._follows_name(start)):
            # 3.10 is another version than 3.1.
            rule, value = "version", digits.removesuffix(".0")
        self.counts[value] += 1
        if vague:
            self.vague.add(value)
        else:
            self.plain.setdefault(value, rule)

    def _is_half(self, start: int) -> bool:
        following = self._text(start + 1)
        if self._text(start) == "half" and following in ("a", "an"):
            return self._text(start + 2) not in TIMES
        return self._text(start) == "半" and following in HALVES_HAN

    def _follows_name(self, start: int) -> bool:
        before = self._tokens[start - 1] if start else None
        return before is not None and before.kind == "word" and before.text not in PLAIN_WORDS

    def _is_scale(self, position: int) -> bool:
        """Tell the scale of 3 千 from the unit of 3 千米."""
        unit = self._text(position) == "千" and self._text(position + 1) in UNITS_OF_THOUSAND
        return self._text(position) in SCALES and not unit

    def _text(self, position: int) -> str:
        return self._tokens[position].text if 0 <= position < len(self._tokens) else ""


def _is_year(value: str, before: str, behind: str) -> bool:
    if not value.isdecimal():
        return False
    if len(value) == 4 and int(value) in YEARS:
        return behind == "年" or before in BEFORE_YEARS
    return len(value) == 2 and behind == "年"
