"""What a number is part of: LN-5567A, S24+, v1.2-rc1 and iPhone 15 Pro are others than with a part less."""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from modelcache.language.tokens import FORM_WORDS

RUN = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*(?:\+(?![A-Za-z0-9]))?")
DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
SEPARATOR = re.compile(r"[-_]|\.(?![0-9])|(?<![0-9])\.")
COUNTED = re.compile(r"([0-9.]+)([A-Za-z]+)\Z")
# Behind a number these are no part of a name: ordinals, times, and what is written for a word.
ENDINGS = frozenset({"st", "nd", "rd", "th", "s", "k", "x", "p", "am", "pm", "rs", "yo", "yr", "n"})


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The numbers of a text with what they are part of."""

    forms: dict[str, frozenset[str]] = field(default_factory=dict)
    """By number, every spelling that it may be part of: alone, with the word before, with the word behind."""
    mixed: frozenset[str] = frozenset()
    """Numbers that letters or signs are joined to."""
    behind: dict[str, str] = field(default_factory=dict)
    """The name right behind a number that stands behind a name."""


def identifiers_of(text: str, is_unit: Callable[[str], bool]) -> Identifiers:
    """Read the numbers of a text; ``is_unit`` knows what a number may be a number of."""
    if not any(map(str.isdigit, text)):
        return Identifiers()
    forms: defaultdict[str, set[str]] = defaultdict(set)
    mixed: set[str] = set()
    behind: dict[str, str] = {}
    capitals = any(map(str.isupper, text[1:]))
    runs = [part for run in RUN.finditer(text) for part in _parts(run)]
    for place, (shown, start, end) in enumerate(runs):
        numbers = DIGITS.findall(shown)
        if not numbers:
            continue
        joined = _plain(shown, is_unit)
        before = _neighbour(text, runs, place - 1, start, last=True)
        after = _neighbour(text, runs, place + 1, end, last=False)
        for number in numbers:
            forms[number] |= {joined, before.lower() + joined, joined + after.lower()}
            if joined != number:
                mixed.add(number)
            named = joined != number or (before and before.lower() not in FORM_WORDS)
            if named and after and (after[0].isupper() or not capitals) and not is_unit(after.lower()):
                behind[number] = after.lower()
    return Identifiers(
        {number: frozenset(found) for number, found in forms.items()}, frozenset(mixed), behind
    )


def _parts(run: re.Match[str]) -> list[tuple[str, int, int]]:
    """Divide 18-year-old and 3-5, which only a hyphen joins, but not LN-5567 and v1.2-rc1."""
    parts: list[tuple[str, int, int]] = []
    place = run.start()
    for piece in SEPARATOR.split(run[0]):
        end = place + len(piece)
        if parts and _belongs(parts[-1][0], piece):
            shown, start, _ = parts.pop()
            parts.append((shown + "-" + piece, start, end))
        else:
            parts.append((piece, place, end))
        place = end + 1
    return parts


def _belongs(before: str, piece: str) -> bool:
    if any(map(str.isdigit, piece)):
        return before[0].isalpha() or piece[0].isalpha()
    return len(piece) == 1 and any(map(str.isdigit, before))


def _plain(shown: str, is_unit: Callable[[str], bool]) -> str:
    """Return an identifier without case and separators, a number without its unit."""
    joined = shown.lower().replace("-", "")
    if joined[0] == "v" and joined[1:2].isdigit():
        joined = joined[1:]
    counted = COUNTED.match(joined)
    if counted and (counted[2] in ENDINGS or is_unit(counted[2])):
        return counted[1]
    return joined.removesuffix("+") if joined[:-1].replace(".", "").isdigit() else joined


def _neighbour(text: str, runs: list[tuple[str, int, int]], place: int, edge: int, *, last: bool) -> str:
    """Return the word before or behind, "" where more than a space parts them."""
    if not 0 <= place < len(runs):
        return ""
    shown, start, end = runs[place]
    between = text[end:edge] if last else text[edge:start]
    return shown if between in ("", " ", "-") else ""
