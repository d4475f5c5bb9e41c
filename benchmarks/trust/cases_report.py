"""The cases as a benchmark: our decision on every suite, beside plain cosine and two other caches."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.measure import Report
from benchmarks.sizes import Sizes
from benchmarks.trust.case_peers import beside
from benchmarks.trust.case_suites import ALONE, DEV, OWN, SHARED, TOGETHER, readers
from benchmarks.trust.cases import Measured, measure, rise, say_what_is_absent, totals
from benchmarks.trust.product import OURS
from benchmarks.trust.retrieval import NEAREST, recall
from modelcache.evaluation import report
from modelcache.evaluation.asking import opened
from modelcache.settings import load_settings

DEV_PAIRS = 2000
QUICK_CASES = 30
COLUMNS = (
    "questions",
    "asked",
    "right",
    "wrong",
    "wrong share of hits",
    "rephrasings found",
    "most rise of wrong",
)
CURVES = "cases-curves"
TITLES = {
    SHARED: "published cases",
    DEV: "real question pairs",
    OWN: "our own cases",
    ALONE: "each pair alone",
    TOGETHER: "all in one cache",
}
CURVE, DEFAULT = "curve", "default"

Line = Sequence[str]


def run(sizes: Sizes, folder: Path) -> Iterator[Report]:
    """Measure every suite that is at hand. ``folder`` is not needed: the stores are temporary anyway."""
    say_what_is_absent()
    every: dict[str, list[Measured]] = {}
    with opened(load_settings("demo", {})) as asker:
        for name, read in tqdm(readers().items(), unit="suite", disable=None):
            suite = read()
            limit = (sizes.trust_pairs or DEV_PAIRS) if suite.group == DEV else 0
            for one in measure(asker, suite.at_most(QUICK_CASES if sizes.trust_pairs else limit)):
                every.setdefault(OURS, []).append(one)
                for peer, outcomes in beside(asker.cache, one.outcomes, one.way == TOGETHER).items():
                    every.setdefault(peer, []).append(Measured(one.suite, one.group, one.way, outcomes))
            tqdm.write(f"{name} done", file=sys.stderr)
        retrieval = list(recall(asker.cache.gathering.embed, sizes.trust_pairs or DEV_PAIRS))
    added = {decision: list(totals(measured)) for decision, measured in every.items()}
    yield Report("cases", COLUMNS, [_line(one) for one in every[OURS]])
    yield Report("cases-beside", ("questions", "decision", *COLUMNS[1:]), list(_beside(added)))
    yield Report(
        CURVES, ("questions", "decision", "point", "found", "wrong"), list(_curves(added)), shown=False
    )
    columns = ("language", "asked", *("nearest" if most == 1 else f"among {most}" for most in NEAREST))
    lines = [
        (one.language, str(one.asked), *(f"{count / one.asked:.1%}" for count in one.among))
        for one in retrieval
    ]
    yield Report("cases-retrieval", columns, lines)


def _line(one: Measured) -> Line:
    return f"{one.suite}, {one.way}", *_cells(one)


def _title(one: Measured) -> str:
    return f"{TITLES[one.group]}, {TITLES[one.way]}"


def _cells(one: Measured) -> tuple[str, ...]:
    tally = one.outcomes.at(None)
    return (
        *(f"{count:,}" for count in (tally.asked, tally.right, tally.wrong)),
        report.share(tally.wrong, tally.hits),
        report.share(tally.right, tally.answerable),
        rise(one.outcomes),
    )


def _beside(added: dict[str, list[Measured]]) -> Iterator[Line]:
    """Show what all decisions do with the suites of a group together."""
    for ways in zip(*added.values(), strict=True):
        for decision, one in zip(added, ways, strict=True):
            yield _title(one), decision, *_cells(one)


def _curves(added: dict[str, list[Measured]]) -> Iterator[Line]:
    """Yield the found and the wrong share along the thresholds, and at the default."""
    for ways in zip(*added.values(), strict=True):
        for decision, one in zip(added, ways, strict=True):
            points = [(CURVE, one.outcomes.at(threshold)) for threshold in one.outcomes.thresholds()]
            for point, tally in [*points, (DEFAULT, one.outcomes.at(None))]:
                if tally.hits and tally.answerable:
                    shares = tally.found_share, tally.wrong_share
                    yield _title(one), decision, point, *(f"{value:.4f}" for value in shares)
