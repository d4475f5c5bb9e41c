"""What each threshold costs and brings: how many hits are wrong, and how much is found."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GRID = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)
# A few hits alone prove little: a suite with fewer is counted with the others only.
LEAST_HITS = 20
STEPS = 500
LIMITS = [round(0.4 + 0.005 * step, 3) for step in range(119)]


@dataclass(frozen=True, slots=True)
class Point:
    """What happens at one threshold."""

    threshold: float
    right: int
    wrong: int
    same: int

    @property
    def wrong_share(self) -> float:
        """Share of the hits that is wrong."""
        return self.wrong / max(1, self.right + self.wrong)

    @property
    def found(self) -> float:
        """Share of the rephrasings that is answered."""
        return self.right / max(1, self.same)


@dataclass(frozen=True, slots=True)
class Rated:
    """Pairs by their confidence; -1 where a rule refuses one."""

    shares: NDArray[np.float64]
    same: NDArray[np.bool_]
    suites: NDArray[np.str_]

    @classmethod
    def of(cls, shares: Sequence[float], same: Sequence[bool], suites: Sequence[str]) -> "Rated":
        return cls(np.array(shares, float), np.array(same, bool), np.array(suites, str))

    def at(self, threshold: float, suite: str | None = None) -> Point:
        """Count the hits, of all or of one suite."""
        chosen = np.ones(len(self.same), bool) if suite is None else self.suites == suite
        hit, same = self.shares[chosen] >= threshold, self.same[chosen]
        return Point(threshold, int((hit & same).sum()), int((hit & ~same).sum()), int(same.sum()))

    def recommended(self, most_wrong: float, most_wrong_in_one: float) -> Point:
        """Return the lowest threshold from which on no more of the hits are wrong, in all and in each suite.

        Where no threshold leaves so few, it is the one that leaves fewest.
        """
        best: Point | None = None
        for threshold in np.linspace(1, 0, STEPS, endpoint=False).tolist():
            point = self.at(threshold)
            if not point.right:
                continue
            if not self._allowed(point, most_wrong, most_wrong_in_one):
                break
            best = point
        if best is not None:
            return best
        points = [self.at(share) for share in np.linspace(0.02, 1, 50).tolist()]
        return min(points, key=lambda point: (point.wrong_share if point.right else 1.0, -point.threshold))

    def _allowed(self, point: Point, most_wrong: float, most_wrong_in_one: float) -> bool:
        if point.wrong and point.wrong_share > most_wrong and point.right + point.wrong >= LEAST_HITS:
            return False
        suites = [self.at(point.threshold, suite) for suite in np.unique(self.suites).tolist()]
        return all(
            one.wrong_share <= most_wrong_in_one or one.right + one.wrong < LEAST_HITS for one in suites
        )


def draw(curves: Mapping[str, Rated], path: Path) -> None:
    """Draw the share of right hits over what is found, a line for each name, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, one in curves.items():
        points = [one.at(float(threshold)) for threshold in np.linspace(0.02, 0.995, 118)]
        points = [point for point in points if point.right + point.wrong]
        axes.plot([point.found for point in points], [1 - point.wrong_share for point in points], label=name)
    axes.set_xlabel("share of the rephrasings that is answered")
    axes.set_ylabel("share of the hits that is right")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def recommended_together(
    curves: Mapping[str, Rated], most_wrong: float, most_wrong_in_one: float
) -> dict[str, float]:
    """Return a threshold for each language: most is found, and no more is wrong in all and in any suite.

    Where no thresholds leave so few, each language has the one that leaves fewest.
    """
    names = list(curves)
    suites = sorted({suite for one in curves.values() for suite in one.suites.tolist()})
    counted = [np.array([[*_counts(one, limit, suites)] for limit in LIMITS]) for one in curves.values()]
    same = [max(1, one.same.sum()) for one in curves.values()]
    best = -1.0
    limits: list[float] = []
    for places in product(range(len(LIMITS)), repeat=len(names)):
        chosen = [counts[place] for counts, place in zip(counted, places, strict=True)]
        right, wrong = np.sum(chosen, axis=0).T
        hits = right + wrong
        in_one = (wrong > most_wrong_in_one * hits) & (hits >= LEAST_HITS)
        if not right.sum() or wrong.sum() > most_wrong * hits.sum() or in_one.any():
            continue
        found = float(sum(counts[:, 0].sum() / of for counts, of in zip(chosen, same, strict=True)))
        # Of thresholds that find as much, the highest.
        if found >= best:
            best, limits = found, [LIMITS[place] for place in places]
    if not limits:
        shares = most_wrong, most_wrong_in_one
        return {name: one.recommended(*shares).threshold for name, one in curves.items()}
    return dict(zip(names, limits, strict=True))


def _counts(rated: Rated, limit: float, suites: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Give right and wrong hits of each suite."""
    for suite in suites:
        point = rated.at(limit, suite)
        yield point.right, point.wrong
