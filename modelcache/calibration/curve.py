"""What each threshold costs and brings: precision against coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelcache.calibration.asking import Asked

GRID = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)


@dataclass(frozen=True, slots=True)
class Point:
    """What happens at one threshold to as many duplicates as non-duplicates."""

    threshold: float
    right: int
    wrong: int
    duplicates: int

    @property
    def wrong_share(self) -> float:
        """Share of the hits that is wrong."""
        return self.wrong / max(1, self.right + self.wrong)

    @property
    def cautious_share(self) -> float:
        """The same as if two right and two wrong ones had been seen before: a few hits alone prove little.

        The middle of the interval of Agresti and Coull (1998), "Approximate is better than exact".
        """
        return (self.wrong + 2) / (self.right + self.wrong + 4)

    @property
    def found(self) -> float:
        """Share of the duplicates that is answered."""
        return self.right / max(1, self.duplicates)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """For each asked question, what its candidates were rated, and where among them its own is."""

    shares: Sequence[NDArray[np.float64]]
    """Confidence of each candidate, the nearest first; -1 where a rule refuses it."""
    own: Sequence[int]
    same: Sequence[bool]

    def at(self, threshold: float) -> Point:
        """Count the hits: the nearest candidate over the threshold answers.

        A hit on another question than the labelled one has no label and is left out.
        """
        right = wrong = 0
        for shares, own, same in zip(self.shares, self.own, self.same, strict=True):
            over = np.flatnonzero(shares >= threshold)
            if len(over) and over[0] == own:
                right, wrong = right + same, wrong + (not same)
        return Point(threshold, right, wrong, sum(self.same))

    def recommended(self, wrong_share: float) -> Point:
        """Return the threshold that finds most at no more than this share of wrong hits, taken cautiously.

        Where no threshold leaves so few, it is the one that leaves fewest.
        """
        tops = [shares.max() for shares in self.shares if len(shares)]
        points = [self.at(float(threshold)) for threshold in np.unique(np.ceil(np.array(tops) * 500) / 500)]
        points = [point for point in points if point.right]
        allowed = [point for point in points if point.cautious_share <= wrong_share]
        if allowed:
            return max(allowed, key=lambda point: (point.right, point.threshold))
        return min(points, key=lambda point: (point.cautious_share, -point.threshold), default=self.at(1.0))


def outcomes(asked: Sequence[Asked], shares: Sequence[NDArray[np.float64]]) -> Outcomes:
    """Take as many duplicates as non-duplicates, and count what the slot guard refuses as refused."""
    chosen = _balanced([one.pair.same for one in asked])
    return Outcomes(
        [
            np.array(
                [
                    -1.0 if pair.rules else share
                    for pair, share in zip(asked[row].candidates, shares[row], strict=True)
                ]
            )
            for row in chosen
        ],
        [asked[row].own_place for row in chosen],
        [asked[row].pair.same for row in chosen],
    )


def draw(curves: Mapping[str, Outcomes], path: Path) -> None:
    """Draw precision over coverage, a line for each name, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, one in curves.items():
        points = [one.at(float(threshold)) for threshold in np.linspace(0.02, 0.995, 118)]
        points = [point for point in points if point.right + point.wrong]
        axes.plot([point.found for point in points], [1 - point.wrong_share for point in points], label=name)
    axes.set_xlabel("share of the duplicates that is answered")
    axes.set_ylabel("share of the hits that is right")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _balanced(same: Sequence[bool]) -> list[int]:
    """Return the rows of as many duplicates as non-duplicates, drawn at random but always alike."""
    random = np.random.default_rng(0)
    labels = np.array(same)
    right, wrong = (random.permutation(np.flatnonzero(labels == value)) for value in (True, False))
    count = min(len(right), len(wrong))
    rows: list[int] = np.concatenate([right[:count], wrong[:count]]).tolist()
    return rows
