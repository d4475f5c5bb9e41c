"""Times of day, brought to one form: 3 pm, 15:00, 下午3点 and 15点 are the same."""

import re
from collections.abc import Collection
from typing import NamedTuple

from modelcache.language.numbers import HAN_NUMERALS, han_value
from modelcache.language.tokens import Token, text_at

DIGITS = re.compile(r"(\d{1,2}):(\d\d)")
O_CLOCK = frozenset({"点", "时", "am", "a.m.", "pm", "p.m.", "oclock", "clock"})
MORNING = ("am", "a.m.", "morning", "上午", "早上", "早晨", "清晨", "凌晨", "今早", "明早")
AFTERNOON = ("pm", "p.m.", "afternoon", "evening", "下午", "傍晚")
NIGHT = ("night", "tonight", "晚上", "夜里", "夜间", "半夜", "深夜", "今晚", "明晚", "晚")
NOON = ("noon", "中午", "正午")
# From this hour on, what is at night is before midnight.
NIGHT_BEGINS = 5
# So many words may part a time and the part of the day, as in "at 3 o'clock in the afternoon".
WINDOW = 5


class Clock(NamedTuple):
    hour: int
    minute: int
    known: bool
    """Whether the half of the day is known; otherwise the hour is 1 to 12 of either."""


def clock_at(tokens: list[Token], value: str, start: int, end: int) -> tuple[Clock, int] | None:
    """Read the time whose hour, ``value``, is at these tokens, and where it ends; None if it is no time."""
    digits = DIGITS.fullmatch(value)
    if digits:
        hour, minute, stop = int(digits[1]), int(digits[2]), end
        leading_zero = value.startswith("0")
    elif (
        value.isdecimal()
        and len(value) < 3
        and text_at(tokens, end + (text_at(tokens, end) == "o")) in O_CLOCK
    ):
        hour, leading_zero = int(value), False
        minute, stop = _minutes(tokens, end + 1) if text_at(tokens, end) in "点时" else (0, end)
    else:
        return None
    if hour > 24 or minute > 59:
        return None
    half = _half(tokens, start, stop)
    if half == NIGHT:
        half = MORNING if hour == 12 or hour < NIGHT_BEGINS else AFTERNOON
    elif half == NOON:
        half = MORNING if hour == 11 else AFTERNOON
    if half == MORNING and hour <= 12:
        return Clock(hour % 12, minute, True), stop
    if half == AFTERNOON and hour <= 12:
        return Clock(hour % 12 + 12, minute, True), stop
    return Clock(hour % 24, minute, leading_zero or hour > 12 or hour == 0), stop


def unlike(clocks: Collection[Clock], others: Collection[Clock], numbers: Collection[str]) -> bool:
    """Tell whether one of the times is neither among the others nor, on the hour, a plain number there."""
    return any(
        not any(_agree(clock, other) for other in others)
        and (clock.minute > 0 or not {str(clock.hour), str(clock.hour % 12 or 12)} & set(numbers))
        for clock in clocks
    )


def _agree(one: Clock, other: Clock) -> bool:
    if one.minute != other.minute:
        return False
    return one.hour == other.hour if one.known and other.known else one.hour % 12 == other.hour % 12


def _minutes(tokens: list[Token], start: int) -> tuple[int, int]:
    """Read the minutes of 3点20分, 三点半 and 3点一刻; returns them and where they end."""
    if text_at(tokens, start) == "半":
        return 30, start + 1
    if text_at(tokens, start + 1) == "刻" and text_at(tokens, start) in "一三":
        return (15 if text_at(tokens, start) == "一" else 45), start + 2
    end = start
    while text_at(tokens, end) in HAN_NUMERALS:
        end += 1
    if end > start:
        minutes = han_value("".join(token.text for token in tokens[start:end]))
    else:
        minutes, end = text_at(tokens, start), start + 1
    if not minutes.isdecimal() or len(minutes) > 2:
        return 0, start
    return int(minutes), end + (text_at(tokens, end) == "分")


def _half(tokens: list[Token], start: int, end: int) -> tuple[str, ...] | None:
    """Return which part of the day stands just before or behind, None for none."""
    before = "".join(token.text for token in tokens[max(0, start - 2) : start])
    behind = [token.text for token in tokens[end : end + WINDOW]]
    for part in (MORNING, AFTERNOON, NIGHT, NOON):
        if before.endswith(part) or any(word in part for word in behind):
            return part
    return None
