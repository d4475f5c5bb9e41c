"""Slots whose values are made, not listed: numbers with their units, days, times, codes and rare signs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

from modelcache.training.contrasts.grammar import Source, Value

Spellings = tuple[str, ...]
Units = tuple[tuple[str, ...], ...]
Make = Callable[[Random], Spellings]

NEARBY_SHARE = 0.5
NEARBY = ("version", "amount", "percentage", "year", "unit", "identifier")
ENGLISH = "zero one two three four five six seven eight nine ten eleven twelve"
CHINESE = "零一二三四五六七八九"
MONTHS = "January February March April May June July August September October November December"
CURRENCIES = {
    "en": (("$", "dollars", "USD"), ("€", "euros", "EUR"), ("£", "pounds", "GBP"), ("¥", "yen", "JPY")),
    "zh": (
        ("元", "块钱", "块"),
        ("美元", "美金", "美元"),
        ("欧元", "欧元", "欧元"),
        ("日元", "日元", "日元"),
    ),
}
UNITS: Mapping[str, Units] = {
    "en": (
        ("kilometers", "km"),
        ("miles", "mi"),
        ("kilograms", "kg"),
        ("pounds", "lbs"),
        ("liters", "l"),
        ("gallons", "gal"),
        ("meters", "m"),
        ("feet", "ft"),
        ("centimeters", "cm"),
        ("inches", "in"),
        ("grams", "g"),
        ("ounces", "oz"),
        ("megabytes", "MB"),
        ("gigabytes", "GB"),
        ("terabytes", "TB"),
    ),
    "zh": (
        ("公里", "千米"),
        ("英里",),
        ("公斤", "千克", "kg"),
        ("斤",),
        ("磅",),
        ("升",),
        ("毫升", "ml"),
        ("米",),
        ("厘米", "cm"),
        ("英尺",),
        ("英寸",),
        ("克",),
        ("吨",),
        ("亩",),
        ("公顷",),
        ("平方米", "平米"),
    ),
}
WEIGHTS: Mapping[str, Units] = {
    "en": (
        ("kilograms", "kg"),
        ("grams", "g"),
        ("ounces", "oz"),
        ("pounds", "lbs"),
        ("cups",),
        ("tablespoons", "tbsp"),
    ),
    "zh": (("公斤", "千克", "kg"), ("斤",), ("克", "g"), ("两",), ("碗",), ("份",)),
}
SPANS = {
    "en": (
        ("24 hours", "1 day", "one day"),
        ("48 hours", "2 days", "two days"),
        ("7 days", "one week", "a week"),
        ("14 days", "two weeks", "2 weeks"),
        ("30 days", "thirty days"),
        ("60 minutes", "1 hour", "an hour"),
        ("90 minutes", "an hour and a half"),
        ("12 months", "1 year", "one year"),
        ("6 months", "half a year"),
        ("3 months", "three months"),
        ("2 years", "two years", "24 months"),
        ("3 years", "three years"),
        ("30 minutes", "half an hour"),
        ("10 minutes", "ten minutes"),
        ("45 days",),
        ("60 days",),
        ("90 days",),
        ("5 days", "five days"),
        ("3 days", "three days", "72 hours"),
        ("10 days", "ten days"),
        ("30 hours",),
    ),
    "zh": (
        ("24小时", "一天", "1天"),
        ("48小时", "两天", "2天"),
        ("7天", "一周", "一个星期"),
        ("14天", "两周", "两个星期"),
        ("30天", "三十天"),
        ("60分钟", "一小时", "1个小时"),
        ("90分钟", "一个半小时"),
        ("12个月", "一年", "1年"),
        ("6个月", "半年", "六个月"),
        ("3个月", "三个月"),
        ("两年", "2年"),
        ("三年", "3年"),
        ("半小时", "30分钟"),
        ("十分钟", "10分钟"),
        ("45天",),
        ("60天",),
        ("90天",),
        ("5天", "五天"),
        ("三天", "3天", "72小时"),
        ("十天", "10天"),
    ),
}


def hanzi(number: int) -> str:
    """Return a number below a hundred in Chinese digits."""
    tens, ones = divmod(number, 10)
    head = "" if tens == 0 else ("十" if tens == 1 else CHINESE[tens] + "十")
    return head + (CHINESE[ones] if ones or not tens else "")


def count(language: str) -> Make:
    """Make small numbers, in digits and in words."""

    def make(rng: Random) -> Spellings:
        number = rng.randint(2, 12) if rng.random() < 0.6 else rng.randint(13, 60)
        if language == "zh":
            return (str(number), hanzi(number)) if number != 2 else ("2", "两")
        return (str(number), ENGLISH.split()[number]) if number <= 12 else (str(number),)

    return make


def large(rng: Random) -> Spellings:
    """Make large numbers, with and without the mark of thousands."""
    number = rng.choice((rng.randint(100, 999), rng.randint(1000, 9999), 50 * rng.randint(20, 4000)))
    return (str(number), f"{number:,}") if number > 999 else (str(number),)


def amount(language: str) -> Make:
    """Make sums of money in one of the currencies."""

    def make(rng: Random) -> Spellings:
        number = rng.choice((rng.randint(5, 99), 50 * rng.randint(2, 40), 1000 * rng.randint(1, 90)))
        index = min(rng.choice((0, 0, 1, 2, 3)), 3)
        sign, name, code = CURRENCIES[language][index]
        if language == "zh":
            head = (f"{number}{sign}", f"{number}{name}", f"{number}{code}")
            return (*head, f"{number // 10000}万{sign}") if number % 10000 == 0 else head
        return (f"{sign}{number}", f"{number} {name}", f"{number} {code}", f"{sign}{number:,}")

    return make


def percent(language: str) -> Make:
    """Make percentages."""

    def make(rng: Random) -> Spellings:
        number = rng.randint(1, 95)
        return (
            (f"{number}%", f"百分之{hanzi(number)}")
            if language == "zh"
            else (f"{number}%", f"{number} percent")
        )

    return make


def quantity(language: str, units: Mapping[str, Units] = UNITS) -> Make:
    """Make numbers with a unit."""

    def make(rng: Random) -> Spellings:
        number, unit = rng.choice((rng.randint(2, 30), 10 * rng.randint(3, 50))), rng.choice(units[language])
        return tuple(f"{number} {name}" if language == "en" else f"{number}{name}" for name in unit)

    return make


def span(language: str) -> Make:
    """Make spans of time."""
    return lambda rng: rng.choice(SPANS[language])


def clock(language: str) -> Make:
    """Make times of the day in both notations."""

    def make(rng: Random) -> Spellings:
        hour, half = rng.randint(1, 11), rng.random() < 0.3
        late = rng.random() < 0.5
        if language == "zh":
            head = f"{'下午' if late else '上午'}"
            plain = f"{head}{hour}点{'半' if half else ''}"
            return (
                plain,
                f"{head}{hanzi(hour) if hour != 2 else '两'}点{'半' if half else ''}",
                f"{hour + 12 * late}:{'30' if half else '00'}",
            )
        minutes = ":30" if half else ""
        return (
            f"{hour}{minutes} {'pm' if late else 'am'}",
            f"{hour}{minutes}{'PM' if late else 'AM'}",
            f"{hour + 12 * late:02}:{'30' if half else '00'}",
        )

    return make


def date(language: str) -> Make:
    """Make days of the year in several notations."""

    def make(rng: Random) -> Spellings:
        month, day = rng.randint(1, 12), rng.randint(1, 28)
        if language == "zh":
            return (f"{month}月{day}日", f"{month}月{day}号", f"{hanzi(month)}月{hanzi(day)}日")
        name = MONTHS.split()[month - 1]
        return (f"{name} {day}", f"{day} {name}", f"{name[:3]} {day}", f"the {ordinal(day)} of {name}")

    return make


def ordinal(number: int) -> str:
    """Return the ordinal in digits: 21st."""
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def year(language: str) -> Make:
    """Make years."""
    after = "年" if language == "zh" else ""
    return lambda rng: (f"{rng.choice((rng.randint(1800, 1999), rng.randint(2000, 2026)))}{after}",)


def code(rng: Random) -> Spellings:
    """Make numbers of orders, tickets and files."""
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTWX") for _ in range(rng.randint(1, 3)))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(3, 6)))
    tail = rng.choice(("", "", "", "A", "B", "-2", "/1", "+", "X"))
    return (
        rng.choice(
            (f"{letters}-{digits}{tail}", f"#{digits}{tail}", f"{letters}{digits}{tail}", f"{digits}{tail}")
        ),
    )


def number_code(rng: Random) -> Spellings:
    """Make bare codes: errors, ports, standards."""
    return (str(rng.choice((rng.randint(100, 599), rng.randint(1000, 9999), rng.randint(20, 99)))),)


def version(rng: Random) -> Spellings:
    """Make numbers of versions."""
    first, second, third = rng.randint(1, 20), rng.randint(0, 14), rng.randint(0, 9)
    text = rng.choice((f"{first}", f"{first}.{second}", f"{first}.{second}", f"{first}.{second}.{third}"))
    return (text, f"v{text}", f"version {text}") if "." in text else (f"v{text}", f"version {text}")


def version_zh(rng: Random) -> Spellings:
    """Make numbers of versions, in Chinese."""
    text = version(rng)[0].lstrip("v")
    return (text, f"v{text}", f"{text}版")


def degrees(language: str) -> Make:
    """Make temperatures, frost among them."""

    def make(rng: Random) -> Spellings:
        number = rng.randint(2, 40)
        if language == "zh":
            cold = (f"-{number}℃", f"零下{number}度", f"-{number}度")
            return cold if rng.random() < 0.4 else (f"{number}℃", f"{number}度", f"{number}摄氏度")
        unit, name = rng.choice((("°C", "degrees Celsius"), ("°F", "degrees Fahrenheit")))
        sign = "-" if rng.random() < 0.4 else ""
        minus = "minus " if sign else ""
        return (f"{sign}{number}{unit}", f"{sign}{number} {name}", f"{minus}{number} {name}")

    return make


def sign_of(*ranges: tuple[int, int]) -> Make:
    """Make single characters out of ranges of code points."""

    def make(rng: Random) -> Spellings:
        first, last = rng.choice(ranges)
        return (chr(rng.randint(first, last)),)

    return make


def digit_changed(text: str, rng: Random) -> str:
    """Return a code with one digit changed, two exchanged, or its end changed."""
    places = [index for index, letter in enumerate(text) if letter.isdigit()]
    way = rng.random()
    if way < 0.3 and not text[0].isdigit():
        return text[:-1] if not text[-1].isdigit() else text + rng.choice("ABCX")
    at = rng.choice(places)
    if way < 0.5 and at + 1 in places and text[at] != text[at + 1]:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + rng.choice([digit for digit in "123456789" if digit != text[at]]) + text[at + 1 :]


def nearby(spellings: Spellings, rng: Random) -> Spellings | None:
    """Return the spellings with one digit changed in all of them, or None where their digits differ."""
    digits = re.search(r"\d+(?:\.\d+)*", spellings[0])
    if digits is None or not all(digits[0] in spelling for spelling in spellings):
        return None
    changed = digit_changed(digits[0], rng)
    return tuple(spelling.replace(digits[0], changed) for spelling in spellings)


@dataclass(slots=True)
class Made:
    """A slot with made values; siblings are made anew, or by changing a character of a code."""

    kind: str
    make: Make
    coded: bool = False

    def pick(self, rng: Random) -> Value:
        """Return a new value."""
        return Value(self.make(rng), self)

    def sibling(self, value: Value, rng: Random) -> Value | None:
        """Return a value that has no spelling in common with this one."""
        if self.coded and rng.random() < 0.7:
            return replace(value, spellings=(digit_changed(value.spellings[0], rng),))
        near = nearby(value.spellings, rng) if self.kind in NEARBY and rng.random() < NEARBY_SHARE else None
        if near:
            return replace(value, spellings=near)
        for _ in range(20):
            spellings = self.make(rng)
            if not set(spellings) & set(value.spellings):
                return replace(value, spellings=spellings)
        return None


def made_slots(language: str) -> Mapping[str, Source]:
    """Return the made slots of a language by their names."""
    return {
        "count": Made("number", count(language)),
        "large": Made("number", large),
        "amount": Made("amount", amount(language)),
        "percent": Made("percentage", percent(language)),
        "quantity": Made("unit", quantity(language)),
        "weight": Made("unit", quantity(language, WEIGHTS)),
        "span": Made("duration", span(language)),
        "clock": Made("clock", clock(language)),
        "date": Made("date", date(language)),
        "year": Made("year", year(language)),
        "code": Made("identifier", code, coded=True),
        "numbercode": Made("identifier", number_code),
        "version": Made("version", version if language == "en" else version_zh),
        "degrees": Made("number", degrees(language)),
        "emoji": Made(
            "sign", sign_of((0x1F600, 0x1F64F), (0x1F400, 0x1F43E), (0x1F300, 0x1F320), (0x1F680, 0x1F6C5))
        ),
        "oldsign": Made(
            "sign",
            sign_of(
                (0x2654, 0x265F),
                (0x2600, 0x2613),
                (0x2630, 0x2637),
                (0x1F0A1, 0x1F0AE),
                (0x4DC0, 0x4DFF),
                (0x13000, 0x13040),
                (0x2190, 0x2199),
                (0x16A0, 0x16C0),
            ),
        ),
        "rarehan": Made(
            "sign", sign_of((0x3400, 0x3600), (0x9F00, 0x9FA0), (0x7000, 0x7080), (0x20000, 0x20100))
        ),
        "greek": Made("sign", sign_of((0x3B1, 0x3C1), (0x3C3, 0x3C9))),
    }
