"""Numbers as they are written, in digits and in words, brought to one spelling."""

from decimal import Decimal

HAN_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
    "俩": 2,
}
HAN_SMALL = {"十": 10, "百": 100, "千": 1000}
HAN_LARGE = {"万": 10_000, "亿": 100_000_000}
HAN_NUMERALS = frozenset([*HAN_DIGITS, *HAN_SMALL, *HAN_LARGE])

# A longer one counts nothing.
LONGEST_NUMERAL = 30

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
WORDS = (
    {word: value for value, word in enumerate([*ONES.split(), "seventeen", "eighteen", "nineteen"])}
    | {word: 10 * tens for tens, word in enumerate(TENS.split(), start=2)}
    | {word: value for value, word in enumerate(ORDINALS.split(), start=1)}
    | {"twice": 2, "dozen": 12}
)
SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "k": 1000,
    "lakh": 100_000,
    "lakhs": 100_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "crore": 10_000_000,
    "crores": 10_000_000,
    "千": 1000,
    "百": 100,
    "万": 10_000,
    "亿": 100_000_000,
}


def plain(digits: str) -> str:
    """Spell a number in digits without grouping and without zeros that change nothing."""
    ungrouped = digits.replace(",", "")
    if ungrouped.count(".") > 1 or ":" in ungrouped:
        return ungrouped
    whole, _, fraction = ungrouped.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def scaled(number: str, scale: int) -> str:
    """Multiply a plain number, as in ``1.5 million``."""
    return plain(format(Decimal(number) * scale, "f"))


def han_value(numeral: str) -> str:
    """Read a Chinese numeral; one without units, such as 二〇一六, is read digit by digit."""
    if len(numeral) > LONGEST_NUMERAL:
        return numeral
    if not any(char in HAN_SMALL or char in HAN_LARGE for char in numeral):
        return plain("".join(str(HAN_DIGITS[char]) for char in numeral))
    total = section = digit = 0
    unit = 1
    for char in numeral:
        if char in HAN_DIGITS:
            digit = HAN_DIGITS[char]
            unit = 1 if digit == 0 else unit
        elif char in HAN_SMALL:
            unit = HAN_SMALL[char]
            section += (digit or 1) * unit
            digit = 0
        else:
            unit = HAN_LARGE[char]
            section += digit
            # 一亿二千万: the larger unit before it is not multiplied again.
            total = total + section * unit if total >= unit and section else (total + section or 1) * unit
            section = digit = 0
    # A last digit without its unit counts the next smaller one: 一千二 is 1200, 三万五 is 35000.
    return str(total + section + digit * (unit // 10 if unit >= 100 else 1))
