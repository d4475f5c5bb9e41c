"""What a decision answers, counted at its default and along its thresholds."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
Allowed = Callable[[Counts, Counts], Flags]
"""Tells of right and wrong hits, threshold by threshold, where they are good enough."""

CONFIDENCE = 0.95
COLUMNS = ("right", "wrong", "missed", "wrong share of hits", "true rephrasings found")


@dataclass(frozen=True, slots=True)
class Tally:
    """Hits, right and wrong, and rephrasings that were not found."""

    right: int
    wrong: int
    missed: int

    def cells(self) -> tuple[str, ...]:
        """Return the columns of a table, shares with their 95 % Wilson intervals."""
        return (
            *(f"{count:,}" for count in (self.right, self.wrong, self.missed)),
            share(self.wrong, self.right + self.wrong),
            share(self.right, self.right + self.missed),
        )


@dataclass(frozen=True, slots=True)
class Hits:
    """The entry that would answer each question if the threshold were 0, and what answers by default.

    One element a question. A hit that is neither right nor wrong has no label and is left out.
    """

    decision: str
    scores: Floats
    """How sure the decision is, larger is surer; -inf where nothing would answer."""
    right: Flags
    wrong: Flags
    rephrasings: int
    """Questions that an entry answers."""
    default: Tally
    show: Callable[[float], str]
    """Says a score as the threshold that a user of this decision would set."""

    def best(self, allowed: Allowed) -> tuple[str, Tally] | None:
        """Return the threshold with the most right hits among those whose (right, wrong) are allowed."""
        thresholds, right, wrong = self.sweep()
        fine = np.flatnonzero(allowed(right, wrong) & (right > 0))
        if not fine.size:
            return None
        chosen = fine[right[fine].argmax()]
        return self.show(float(thresholds[chosen])), Tally(
            int(right[chosen]), int(wrong[chosen]), self.rephrasings - int(right[chosen])
        )

    def sweep(self) -> tuple[Floats, Counts, Counts]:
        """Return every threshold, largest first, with how many hits it leaves right and wrong."""
        order = np.argsort(-self.scores, kind="stable")
        scores = self.scores[order]
        last = np.append(scores[1:] != scores[:-1], True) & np.isfinite(scores)
        return scores[last], self.right[order].cumsum()[last], self.wrong[order].cumsum()[last]


def at_most(wrong_share: float) -> Allowed:
    """Allow up to this wrong share of hits."""
    return lambda right, wrong: wrong <= wrong_share * (right + wrong)


def at_most_so_many(most: int) -> Allowed:
    """Allow up to this number of wrong hits."""
    return lambda right, wrong: wrong <= most


def share(part: int, whole: int) -> str:
    """Write a share with its Wilson score interval (E. B. Wilson, 1927)."""
    if not whole:
        return "–"
    low, high = wilson(part, whole)
    return f"{part / whole:.1%} ({low:.1%} to {high:.1%})"


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Return the bounds between which the true share lies with 95 % confidence."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    p = part / whole
    middle = p + z * z / (2 * whole)
    margin = z * sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole))
    scale = 1 + z * z / whole
    return max(0.0, (middle - margin) / scale), min(1.0, (middle + margin) / scale)
