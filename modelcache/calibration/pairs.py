"""Labelled question pairs, and which of them have a question in common."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelcache.errors import ConfigError

LABELS = {"0": False, "1": True}


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """``same``: the answer to the cached question answers the asked one too."""

    cached: str
    asked: str
    same: bool


def read_pairs(path: Path) -> list[LabelledPair]:
    """Read lines of text A, text B, 0 or 1, separated by tabs; ConfigError names the line that is not so."""
    pairs = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
                if len(row) != 3 or row[2] not in LABELS or not row[0].strip() or not row[1].strip():
                    raise ConfigError(f"{path}, line {number}: expected text A, text B, 0 or 1, between tabs")
                pairs.append(LabelledPair(row[0], row[1], LABELS[row[2]]))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc
    return pairs


def folds(pairs: Sequence[LabelledPair], count: int) -> list[int]:
    """Return a fold, 0..count-1, for each pair; pairs with a question in common share it.

    It depends on the texts only, so that a pair is in the same fold whoever asks.
    """
    roots = components((pair.cached, pair.asked) for pair in pairs)
    return [hashlib.sha256(roots[pair.cached].encode()).digest()[0] % count for pair in pairs]


def components(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map each text to the smallest one that it is linked with, over any number of links."""
    above: dict[str, str] = {}

    def root(text: str) -> str:
        above.setdefault(text, text)
        while above[text] != text:
            above[text] = above[above[text]]
            text = above[text]
        return text

    for one, other in links:
        smaller, larger = sorted((root(one), root(other)))
        above[larger] = smaller
    return {text: root(text) for text in above}
