"""What a decision answers, counted at its default and along its thresholds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelcache.learning.verified import wilson_95

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
Allowed = Callable[[Counts, Counts], Flags]
"""Tells of right and wrong hits, threshold by threshold, where they are good enough."""

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
    """What a decision answers at each threshold. A hit that is neither right nor wrong has no label."""

    decision: str
    thresholds: Floats
    """Largest first; larger is surer."""
    right: Counts
    """Hits over each threshold."""
    wrong: Counts
    rephrasings: int
    """Questions that an entry answers."""
    default: Tally
    show: Callable[[float], str]
    """Says a threshold as a user of this decision would set it."""

    @classmethod
    def of_scores(
        cls,
        decision: str,
        scores: Floats,
        right: Flags,
        wrong: Flags,
        rephrasings: int,
        default: Tally,
        show: Callable[[float], str],
    ) -> "Hits":
        """Take the score of the one entry that may answer each question; -inf where none does."""
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        last = np.append(ordered[1:] != ordered[:-1], True) & np.isfinite(ordered)
        counts = (right[order].cumsum()[last], wrong[order].cumsum()[last])
        return cls(decision, ordered[last], *counts, rephrasings, default, show)

    def best(self, allowed: Allowed) -> tuple[str, Tally] | None:
        """Return the threshold with the most right hits among those whose (right, wrong) are allowed."""
        fine = np.flatnonzero(allowed(self.right, self.wrong) & (self.right > 0))
        if not fine.size:
            return None
        chosen = fine[self.right[fine].argmax()]
        return self.show(float(self.thresholds[chosen])), Tally(
            int(self.right[chosen]), int(self.wrong[chosen]), self.rephrasings - int(self.right[chosen])
        )


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
    low, high = wilson_95(part, whole)
    return f"{part / whole:.1%} ({low:.1%} to {high:.1%})"
