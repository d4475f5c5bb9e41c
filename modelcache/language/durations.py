"""Lengths of time, brought to one form: two weeks, 14 days and 14天 are the same, a month is another."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from modelcache.language.number_reading import scaled_at, unscaled_at
from modelcache.language.numbers import ORDINALS
from modelcache.language.tokens import Token, text_at

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
# 3 to 4 days are both.
RANGING = frozenset({"to", "or", "到", "至", "或"})
JOINING = frozenset({"and", "零", "又"})
NO_AMOUNTS = frozenset(ORDINALS.split())
# So that the cost of a long text is bounded: each is compared with each of the other text.
MOST_LENGTHS = 16


class Duration(NamedTuple):
    seconds: float
    months: float
    """One of both is 0."""
    numbers: frozenset[str]
    """As the text's numbers are spelled."""
    units: frozenset[str]


def durations_of(tokens: list[Token]) -> tuple[Duration, ...]:
    """Return the first different lengths of time that a text names with a number."""
    if not any(token.text in HEADS for token in tokens):
        return ()
    return tuple(islice(dict.fromkeys(_all(tokens)), MOST_LENGTHS))


def _all(tokens: list[Token]) -> Iterator[Duration]:
    place = 0
    while place < len(tokens):
        length, place = _at(tokens, place)
        # One hour and 30 minutes are one length of time.
        while length is not None:
            more, end = _at(tokens, place + (text_at(tokens, place) in JOINING))
            if more is None or not _goes_on(length, more):
                yield length
                break
            length, place = _sum(length, more), end


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


def _at(tokens: list[Token], start: int) -> tuple[Duration | None, int]:
    """Read the length of time that begins at this token, if one does, and where to read on."""
    amount = _amount(tokens, start) if start < len(tokens) else None
    if amount is None:
        return None, start + 1
    number, value, read_on = amount
    counted = text_at(tokens, read_on) == "个"
    end = read_on + counted
    if text_at(tokens, end) == "半":
        value, counted, end = value + 0.5, True, end + 1
    elif tuple(text_at(tokens, place) for place in range(end, end + 3)) == AND_A_HALF:
        value, end = value + 0.5, end + 3
    if text_at(tokens, end) in RANGING and (further := _amount(tokens, end + 1)):
        return _of_unit(number, value, *_unit(tokens, further[2], False)), read_on
    unit, length = _unit(tokens, end, counted or number == "")
    end += length
    if not length or (tokens[end - 1].text == "年" and not counted and _looks_like_a_year(tokens[start])):
        return None, read_on
    if text_at(tokens, end) == "半":
        value, end = value + 0.5, end + 1
    elif tokens[end - 1].kind == "han" and text_at(tokens, end) in NO_LENGTH_BEFORE:
        return None, read_on
    if text_at(tokens, start - 1) == "第":
        return None, read_on
    return _of_unit(number, value, unit, length), end


def _of_unit(number: str, value: float, unit: str, length: int) -> Duration | None:
    """Return so many of a unit; None where its name has no length or there are none."""
    if not length or value <= 0:
        return None
    seconds, months = value * SECONDS.get(unit, 0), value * MONTHS.get(unit, 0)
    return Duration(seconds, months, frozenset({number}), frozenset({unit}))


def _amount(tokens: list[Token], start: int) -> tuple[str, float, int] | None:
    """Read a number: as it is spelled, "" for a half, its value, and where it ends."""
    word = tokens[start].text
    if word == "半" or (word == "half" and text_at(tokens, start + 1) in ("a", "an")):
        return "", 0.5, start + 1 + (word == "half")
    found = unscaled_at(tokens, start) if word not in NO_AMOUNTS else None
    if found is None:
        return None
    number, end = scaled_at(tokens, *found)
    try:
        return number, float(number), end
    except ValueError:
        # Such as 16:9 and 1.2.3; of no value, it is no length either.
        return number, 0.0, end


def _unit(tokens: list[Token], place: int, counted: bool) -> tuple[str, int]:
    """Return the unit here and its number of tokens, 0 for none."""
    for length in (2, 1):
        spelling = "".join(text_at(tokens, place + further) for further in range(length))
        if spelling in UNITS and (counted or spelling not in COUNTED):
            return UNITS[spelling], length
    return "", 0


def _looks_like_a_year(token: Token) -> bool:
    return token.text.isdecimal() and token.kind == "number" and int(token.text) >= LEAST_YEAR
