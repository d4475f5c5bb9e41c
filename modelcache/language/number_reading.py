"""The numbers of a text, each with the rule that names it: number, version or date; and the times of day."""

from collections import Counter

from modelcache.language.clock import Clock, clock_at
from modelcache.language.numbers import HAN_NUMERALS, SCALES, WORDS, han_value, plain, scaled
from modelcache.language.tokens import PLAIN_WORDS, Token, text_at

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
        found = unscaled_at(self._tokens, start)
        if found is not None:
            value, end = found
        elif token.text in SCALES and len(token.text) > 1:
            value, end = "1", start
        elif self._is_half(start):
            self.vague.add(HALF)
            return 1
        else:
            return 0
        vague = token.kind != "number" and value in VAGUE_VALUES
        vague = vague or (end - start < 2 and token.text in VAGUE_WORDS)
        unscaled_end = end
        value, end = scaled_at(self._tokens, value, end)
        vague = vague and (end == unscaled_end or end == start + 1)
        clock = clock_at(self._tokens, value, start, end)
        # 一点 is a little unless the part of the day is said.
        if clock is not None and (clock[0].known or not vague):
            self.clocks.add(clock[0])
            return clock[1] - start
        self._keep(value, start, end, vague)
        return end - start

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

    def _text(self, position: int) -> str:
        return text_at(self._tokens, position)


def unscaled_at(tokens: list[Token], start: int) -> tuple[str, int] | None:
    """Read the digits, the Chinese numeral or the words of a number: its value and where it ends."""
    token = tokens[start]
    end = start + 1
    if token.kind == "number":
        return plain(token.text), end
    if token.text in HAN_NUMERALS:
        while text_at(tokens, end) in HAN_NUMERALS:
            end += 1
        return han_value("".join([one.text for one in tokens[start:end]])), end
    if token.text not in WORDS:
        return None
    value, unit = WORDS[token.text], WORDS.get(text_at(tokens, end), 0)
    return (str(value + unit), end + 1) if value >= 20 and 0 < unit < 10 else (str(value), end)


def scaled_at(tokens: list[Token], value: str, end: int) -> tuple[str, int]:
    """Multiply by the scales that follow, as in 3 千 and ``1.5 million``: the value and where it ends."""
    while _is_scale(tokens, end) and ":" not in value and value.count(".") < 2:
        value, end = scaled(value, SCALES[tokens[end].text]), end + 1
    return value, end


def _is_scale(tokens: list[Token], place: int) -> bool:
    """Tell the scale of 3 千 from the unit of 3 千米."""
    unit = text_at(tokens, place) == "千" and text_at(tokens, place + 1) in UNITS_OF_THOUSAND
    return text_at(tokens, place) in SCALES and not unit


def _is_year(value: str, before: str, behind: str) -> bool:
    if not value.isdecimal():
        return False
    if len(value) == 4 and int(value) in YEARS:
        return behind == "年" or before in BEFORE_YEARS
    return len(value) == 2 and behind == "年"
