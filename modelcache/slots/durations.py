"""Lengths of time, brought to one form: two weeks, 14 days and 14天 are the same, a month is another."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from modelcache.slots.numbers import HAN_NUMERALS, ORDINALS, WORDS, han_value, plain
from modelcache.slots.tokens import Token

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
MONTHS = {"month": 1, "year": 12}
SECONDS_A_MONTH = 365.25 / 12 * SECONDS["day"]
# A month is 30 days to one and 31 to another.
TOLERANCE = 0.04
SPELLINGS = {
    "second": ("second", "seconds", "sec", "secs", "秒"),
    "minute": ("minute", "minutes", "min", "mins", "分钟"),
    "hour": ("hour", "hours", "hr", "hrs", "小时", "钟头"),
    "day": ("day", "days", "天"),
    "week": ("week", "weeks", "周", "星期", "礼拜"),
    "month": ("month", "months", "月"),
    "year": ("year", "years", "yr", "yrs", "年"),
}
UNITS = {spelling: unit for unit, spellings in SPELLINGS.items() for spelling in spellings}
HEADS = frozenset(spelling if spelling.isascii() else spelling[0] for spelling in UNITS)
# 三月 is a date, 三个月 a length of time.
COUNTED = frozenset("月")
# 三年级 is a class, 两周年 a day, and 08年 most likely a year.
NO_LENGTH_BEFORE = frozenset("级代年岁边")
LEAST_YEAR = 10
AND_A_HALF = ("and", "a", "half")
JOINING = frozenset({"and", "零", "又"})


class Duration(NamedTuple):
    seconds: float
    months: float
    """One of both is 0."""
    numbers: frozenset[str]
    """As the text's numbers are spelled."""
    units: frozenset[str]


def durations_of(tokens: list[Token]) -> Iterator[Duration]:
    """Give the lengths of time that a text names with a number."""
    if not any(token.text in HEADS for token in tokens):
        return
    place = 0
    while place < len(tokens):
        found = _at(tokens, place)
        if found is None:
            place += 1
            continue
        length, place = found
        # One hour and 30 minutes are one length of time.
        while (more := _at(tokens, place + (_text(tokens, place) in JOINING))) and _goes_on(length, more[0]):
            length, place = _sum(length, more[0]), more[1]
        yield length


def _goes_on(length: Duration, more: Duration) -> bool:
    return (0 < more.seconds < length.seconds) or (0 < more.months < length.months)


def _sum(one: Duration, other: Duration) -> Duration:
    return Duration(
        one.seconds + other.seconds,
        one.months + other.months,
        one.numbers | other.numbers,
        one.units | other.units,
    )


def agreed(asked: Iterable[Duration], cached: Iterable[Duration]) -> list[tuple[Duration, Duration]]:
    """Pair the lengths of time that are the same in two texts."""
    return [(one, other) for one in asked for other in cached if _same(one, other)]


def _same(one: Duration, other: Duration) -> bool:
    if one.seconds and other.seconds:
        return one.seconds == other.seconds
    if one.months and other.months:
        return one.months == other.months
    seconds, months = one.seconds or other.seconds, one.months or other.months
    return abs(seconds / (months * SECONDS_A_MONTH) - 1) < TOLERANCE


def _at(tokens: list[Token], start: int) -> tuple[Duration, int] | None:
    """Read the length of time that begins at this token, and where it ends."""
    amount = _amount(tokens, start) if start < len(tokens) else None
    if amount is None or _text(tokens, start - 1) == "第":
        return None
    number, value, end = amount
    counted = _text(tokens, end) == "个"
    end += counted
    if _text(tokens, end) == "半":
        value, counted, end = value + 0.5, True, end + 1
    elif tuple(_text(tokens, place) for place in range(end, end + 3)) == AND_A_HALF:
        value, end = value + 0.5, end + 3
    unit, length = _unit(tokens, end, counted or number == "")
    end += length
    if not length or (tokens[end - 1].text == "年" and not counted and _looks_like_a_year(tokens[start])):
        return None
    if _text(tokens, end) == "半":
        value, end = value + 0.5, end + 1
    elif tokens[end - 1].kind == "han" and _text(tokens, end) in NO_LENGTH_BEFORE:
        return None
    if value <= 0:
        return None
    seconds, months = value * SECONDS.get(unit, 0), value * MONTHS.get(unit, 0)
    return Duration(seconds, months, frozenset({number}), frozenset({unit})), end


def _amount(tokens: list[Token], start: int) -> tuple[str, float, int] | None:
    """Read a number: as it is spelled, "" for a half, its value, and where it ends."""
    token = tokens[start]
    if token.text == "半" or (token.text == "half" and _text(tokens, start + 1) in ("a", "an")):
        return "", 0.5, start + 1 + (token.text == "half")
    end = start + 1
    if token.kind == "number":
        number = plain(token.text)
    elif token.text in HAN_NUMERALS:
        while _text(tokens, end) in HAN_NUMERALS:
            end += 1
        number = han_value("".join(one.text for one in tokens[start:end]))
    elif token.text in WORDS and token.text not in ORDINALS.split():
        number = str(WORDS[token.text])
    else:
        return None
    try:
        return number, float(number), end
    except ValueError:
        return None


def _unit(tokens: list[Token], place: int, counted: bool) -> tuple[str, int]:
    """Return the unit here and its number of tokens, 0 for none."""
    for length in (2, 1):
        spelling = "".join(_text(tokens, place + further) for further in range(length))
        if spelling in UNITS and (counted or spelling not in COUNTED):
            return UNITS[spelling], length
    return "", 0


def _looks_like_a_year(token: Token) -> bool:
    return token.text.isdecimal() and token.kind == "number" and int(token.text) >= LEAST_YEAR


def _text(tokens: list[Token], place: int) -> str:
    return tokens[place].text if 0 <= place < len(tokens) else " "
