"""Two things measured side by side, and what comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the table: our figure over the other one, round by round."""

    name: str
    ours_is: str
    theirs_is: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    goal: float
    more_is_better: bool
    remark: str = ""

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal if self.more_is_better else self.ratio <= self.goal


@dataclass(frozen=True, slots=True)
class Report:
    """Figures that are compared with nothing: a table of its own."""

    name: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
    shown: bool = True
    """False: points of a plot, which no table shows."""


Result = Comparison | Report


def alternate(
    what: str, rounds: int, ours: Callable[[int], float], theirs: Callable[[int], float]
) -> tuple[list[float], list[float]]:
    """Measure both in each round, ours first in every other one; each is given the round's number.

    Noise of the machine that lasts longer than a round thus meets both.
    """
    figures: tuple[list[float], list[float]] = ([], [])
    for number in tqdm(range(rounds), desc=what, unit="round", leave=False):
        order = ((0, ours), (1, theirs))
        for side, measure in order if number % 2 == 0 else order[::-1]:
            figures[side].append(measure(number))
    return figures


def rate(count: int, work: Callable[[], object]) -> float:
    """Return how many of ``count`` things a second the work does."""
    started = perf_counter()
    work()
    return count / (perf_counter() - started)


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long the work takes."""
    started = perf_counter()
    work()
    return 1000 * (perf_counter() - started)
