"""What each threshold would have answered, by what a model's queries and inserts showed in shadow."""

from collections.abc import Sequence

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


def shadow_report(tallies: Sequence[Tally]) -> str:
    """Return a Markdown table, one row a threshold.

    ``wrong hits`` is the share of wrong ones among the compared would-be hits, of which the true answer was
    inserted and was clearly the same or another; the interval is Wilson's.
    """
    lines = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    queries = _count(tallies, ASKED, NO_ENTRY)
    for threshold in THRESHOLDS:
        hits, right, wrong, unclear = (
            _count(tallies, outcome, threshold) for outcome in (ASKED, RIGHT, WRONG, UNCLEAR)
        )
        compared = right + wrong
        low, high = wilson_95(wrong, compared)
        lines.append(
            f"| {'equal question' if threshold == EXACT else threshold / SCORES} "
            f"| {_percent(hits, queries)} | {hits} | {compared} | {unclear} "
            f"| {_percent(wrong, compared)} | {low:.1%} to {high:.1%} |"
        )
    return "\n".join([f"{queries} queries", "", *lines])


def _count(tallies: Sequence[Tally], outcome: str, least: int) -> int:
    return sum(one.count for one in tallies if one.outcome == outcome and one.bucket >= least)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
