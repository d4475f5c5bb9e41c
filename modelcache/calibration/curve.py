"""What each threshold costs and brings: how many hits are wrong, and how much is found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GRID = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)
# A few hits alone prove little: a suite with fewer is counted with the others only.
LEAST_HITS = 20
LEAST_HITS_OF_ONE = 100
LIMITS = [round(0.3 + 0.005 * step, 3) for step in range(139)]


@dataclass(frozen=True, slots=True)
class Point:
    """What happens at one threshold."""

    threshold: float
    right: int
    wrong: int
    same: int
    mislabelled: float = 0.0
    """How many of the wrong ones are likely to be right, their labels being wrong."""

    @property
    def wrong_share(self) -> float:
        """Share of the hits that is wrong by the labels."""
        return self.wrong / max(1, self.right + self.wrong)

    @property
    def likely_wrong_share(self) -> float:
        """Share of the hits that is wrong, by what is known of the labels."""
        return (self.wrong - self.mislabelled) / max(1, self.right + self.wrong)

    def excess(self, most_wrong: float) -> float:
        """Return how many more of the hits are wrong than may be; under 0: so many fewer."""
        return self.wrong - self.mislabelled - most_wrong * (self.right + self.wrong)

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
    mislabelled: NDArray[np.float64]
    """How likely it is that a pair that is labelled as different is the same."""
    traps: NDArray[np.bool_]
    """Whether a pair was made to be mistaken, and says nothing of how often that happens."""

    @classmethod
    def of(
        cls,
        shares: Sequence[float],
        same: Sequence[bool],
        suites: Sequence[str],
        mislabelled: Sequence[float] | None = None,
        traps: Sequence[bool] | None = None,
    ) -> "Rated":
        none = [0.0] * len(same)
        return cls(
            np.array(shares, float),
            np.array(same, bool),
            np.array(suites, str),
            np.array(none if mislabelled is None else mislabelled, float),
            np.array(none if traps is None else traps, bool),
        )

    def without_traps(self) -> "Rated":
        """Return the other pairs or, where there are hardly any, all."""
        kept = ~self.traps
        if kept.sum() < LEAST_HITS:
            return self
        return Rated(
            self.shares[kept], self.same[kept], self.suites[kept], self.mislabelled[kept], self.traps[kept]
        )

    def at(self, threshold: float, suite: str | None = None) -> Point:
        """Count the hits, of all or of one suite."""
        chosen = np.ones(len(self.same), bool) if suite is None else self.suites == suite
        hit, same = self.shares[chosen] >= threshold, self.same[chosen]
        wrong = hit & ~same
        doubted = float(self.mislabelled[chosen][wrong].sum())
        return Point(threshold, int((hit & same).sum()), int(wrong.sum()), int(same.sum()), doubted)

    def allowed(self, most_wrong: float, most_wrong_in_one: float) -> list[Point]:
        """Return the thresholds at which no more of the hits are wrong, in all and in any suite, rising."""
        points = [point for point in map(self.at, LIMITS) if point.right]
        return [point for point in points if self.allows(point, most_wrong, most_wrong_in_one)]

    def cleanest(self) -> Point:
        """Return the threshold that leaves the smallest share of wrong hits; of several the highest."""
        points = [point for point in map(self.at, LIMITS) if point.right]
        return min(
            points, key=lambda point: (point.likely_wrong_share, -point.threshold), default=self.at(1.0)
        )

    def is_clean(self, threshold: float, most_wrong_in_one: float) -> bool:
        """Tell whether no more of the hits are wrong in any suite."""
        suites = [self.at(threshold, suite) for suite in np.unique(self.suites).tolist()]
        return all(
            one.likely_wrong_share <= most_wrong_in_one or one.right + one.wrong < LEAST_HITS_OF_ONE
            for one in suites
        )

    def allows(self, point: Point, most_wrong: float, most_wrong_in_one: float) -> bool:
        """Tell whether no more of the hits are wrong, in all and in any suite."""
        if point.wrong and point.likely_wrong_share > most_wrong and point.right + point.wrong >= LEAST_HITS:
            return False
        return self.is_clean(point.threshold, most_wrong_in_one)


def recommended(curves: Mapping[str, Rated], most_wrong: float, most_wrong_in_one: float) -> dict[str, Point]:
    """Return the thresholds that together find most while no more of the hits are wrong.

    Of all hits of all languages at most ``most_wrong`` are wrong, of those in any language or suite at most
    ``most_wrong_in_one``; traps do not count. A language in which no threshold leaves so few gets its
    cleanest.
    """
    counted = {name: one.without_traps() for name, one in curves.items()}
    allowed = {name: one.allowed(most_wrong_in_one, most_wrong_in_one) for name, one in counted.items()}
    chosen = {name: one.cleanest() for name, one in counted.items() if not allowed[name]}
    # What a wrong hit too many costs, in right ones: the least at which all together are clean enough.
    for cost in np.geomspace(1e-3, 1e4, 400):
        best = {
            name: max(
                points, key=lambda point: (point.right - cost * point.excess(most_wrong), point.threshold)
            )
            for name, points in allowed.items()
            if points
        }
        if sum(point.excess(most_wrong) for point in best.values()) <= 0:
            break
    return chosen | best


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
