"""What each threshold would have answered, by what a model's queries and inserts showed in shadow."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelcache.learning.verified import wilson_95
from modelcache.records.observation import Tally

# What became of queries, counted by the score of their best entry in thousandths.
ASKED, RIGHT, WRONG, UNCLEAR = "asked", "right", "wrong", "unclear"
NO_ENTRY = -1
SCORES = 1000
EXACT = SCORES + 1

THRESHOLDS = (0, 500, 600, 700, 800, 850, 900, 930, 950, 960, 970, 980, 985, 990, 995, 999, EXACT)
COLUMNS = ("threshold", "hit rate", "saved calls", "compared", "unclear", "wrong hits", "95 % interval")


def bucket_of(score: float, *, exact: bool) -> int:
    """Return what a query is counted under, by the score (0..1) of its best entry."""
    return EXACT if exact else int(min(max(score, 0.0), 1.0) * SCORES)


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold would have answered."""

    threshold: int
    """In thousandths; EXACT for equal questions alone."""
    hits: int
    right: int
    wrong: int
    unclear: int

    @property
    def compared(self) -> int:
        """How many of the hits were clearly right or wrong."""
        return self.right + self.wrong

    @property
    def wrong_interval(self) -> tuple[float, float]:
        """Wilson's, of the share of wrong ones among these."""
        return wilson_95(self.wrong, self.compared)


def queries_in(tallies: Sequence[Tally]) -> int:
    """Return how many queries were counted."""
    return _count(tallies, ASKED, NO_ENTRY)


def curve(tallies: Sequence[Tally]) -> list[Point]:
    """Return a point for each of THRESHOLDS."""
    outcomes = (ASKED, RIGHT, WRONG, UNCLEAR)
    return [Point(one, *(_count(tallies, outcome, one) for outcome in outcomes)) for one in THRESHOLDS]


def shadow_report(tallies: Sequence[Tally]) -> str:
    """Return a Markdown table, one row a threshold.

    ``wrong hits`` is the share of wrong ones among the compared would-be hits, of which the true answer was
    inserted and was clearly the same or another; the interval is Wilson's.
    """
    lines = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    queries = queries_in(tallies)
    for point in curve(tallies):
        low, high = point.wrong_interval
        lines.append(
            f"| {'equal question' if point.threshold == EXACT else point.threshold / SCORES} "
            f"| {_percent(point.hits, queries)} | {point.hits} | {point.compared} | {point.unclear} "
            f"| {_percent(point.wrong, point.compared)} | {low:.1%} to {high:.1%} |"
        )
    return "\n".join([f"{queries} queries", "", *lines])


def _count(tallies: Sequence[Tally], outcome: str, least: int) -> int:
    return sum(one.count for one in tallies if one.outcome == outcome and one.bucket >= least)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
