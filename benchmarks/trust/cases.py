"""How often a hit is wrong and how much is found, suite by suite: ``python -m benchmarks.trust.cases``.

Each suite's pairs are asked each alone in a cache, and all in one. Settings are those of the demo and of
MODELCACHE_* in the environment. A line tells what happens at the default thresholds, with 95 % intervals,
then found and wrong shares at others, and by how many points a higher threshold raises the wrong share at
worst: as seen, and what is sure of it.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from tqdm import tqdm

from benchmarks.trust import case_suites
from benchmarks.trust.case_suites import ALONE, DEV, CaseSuite, readers
from benchmarks.trust.retrieval import recall
from modelcache import logs
from modelcache.evaluation import counting, report
from modelcache.evaluation.asking import Asker, opened
from modelcache.evaluation.counting import Outcomes, Tally
from modelcache.settings import load_settings
from tests.support.question_pairs import HOW_TO_GET as HOW_TO_GET_PAIRS
from tests.support.question_pairs import data_folder

THRESHOLDS = (0.5, 0.8, 0.9, 0.95)
GRID = (*(round(0.02 * number, 2) for number in range(50)), 0.95, 0.99)
RETRIEVAL = "retrieval"
DEV_PAIRS = 500
MOST = 300
NAME = 26


@dataclass(frozen=True, slots=True)
class Measured:
    """One suite, asked one way."""

    suite: str
    group: str
    way: str
    outcomes: Outcomes


def measure(asker: Asker, suite: CaseSuite) -> Iterator[Measured]:
    """Ask a suite in each of its ways."""
    for way in suite.ways:
        model = f"{suite.name} {way}"
        if way == ALONE:
            outcomes = counting.alone(asker, model, suite.pairs)
        else:
            outcomes = counting.together(asker, model, suite.pairs, suite.unasked)
        yield Measured(suite.name, suite.group, way, outcomes)


def line(one: Measured) -> str:
    """Show a suite at the default and at some thresholds."""
    tally = one.outcomes.at(None)
    more = "  ".join(f"{t}: {_brief(one.outcomes.at(t))}" for t in THRESHOLDS)
    return (
        f"{one.suite:{NAME}.{NAME}} {one.way:8} n {tally.asked:4} hits {tally.hits:4} right {tally.right:4} "
        f"wrong {tally.wrong:3}  found {report.share(tally.right, tally.answerable)}  "
        f"wrong {report.share(tally.wrong, tally.hits)}  |  {more}  rise {rise(one.outcomes)}"
    )


def rise(outcomes: Outcomes) -> str:
    """Tell by how many points a higher threshold raises the wrong share at worst, and surely."""
    most = outcomes.most_rise()
    return "–" if most is None else f"{100 * most[0]:.1f} (≥ {100 * most[1]:.1f})"


def _brief(tally: Tally) -> str:
    found = f"{100 * tally.found_share:.0f}" if tally.answerable else "–"
    return f"{found}/{100 * tally.wrong_share:.0f} ({tally.right}+{tally.wrong})"


def totals(measured: Sequence[Measured]) -> Iterator[Measured]:
    """Add up the suites of each group and way."""
    for group, way in dict.fromkeys((one.group, one.way) for one in measured):
        of_both = [one.outcomes for one in measured if (one.group, one.way) == (group, way)]
        questions = [question for outcomes in of_both for question in outcomes.questions]
        yield Measured(
            f"all of {group}", group, way, Outcomes(questions, sum(outcomes.equal for outcomes in of_both))
        )


def as_json(one: Measured) -> dict[str, Any]:
    """Return the figures of a suite: at the default, at every threshold of the grid, and by kind."""
    kinds = dict.fromkeys(question.kind for question in one.outcomes.questions)
    return {
        "suite": one.suite,
        "group": one.group,
        "way": one.way,
        "equal": one.outcomes.equal,
        "default": report.figures(one.outcomes.at(None)),
        "thresholds": {str(t): report.figures(one.outcomes.at(t)) for t in GRID},
        "kinds": {kind: report.figures(one.outcomes.at(None, kind)) for kind in kinds},
        "most_rise": one.outcomes.most_rise(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trust.cases",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    names = [*readers(), RETRIEVAL]
    parser.add_argument("--suites", default="", help=f"of {', '.join(names)}, between commas; none: all")
    parser.add_argument("--dev", type=int, default=DEV_PAIRS, help="so many pairs of each dev set; 0: all")
    parser.add_argument("--most", type=int, default=MOST, help="so many of each other suite; 0: all")
    parser.add_argument("--examples", type=int, default=0, help="show so many wrong hits and misses of each")
    parser.add_argument("--json", type=Path, help="write all figures here")
    asked = parser.parse_args()
    chosen = [name.strip() for name in asked.suites.split(",") if name.strip()] or names
    unknown = [name for name in chosen if name not in names]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(names)}")
    logs.configure()
    if not asked.suites:
        say_what_is_absent()
    measured: list[Measured] = []
    started = perf_counter()
    with opened(load_settings("demo")) as asker:
        for name in tqdm(chosen, unit="suite", disable=None):
            if name == RETRIEVAL:
                for recalled in recall(asker.cache.gathering.embed, asked.dev or DEV_PAIRS):
                    tqdm.write(recalled.line(), file=sys.stdout)
                continue
            suite = readers()[name]()
            for one in measure(asker, suite.at_most(asked.dev if suite.group == DEV else asked.most)):
                measured.append(one)
                tqdm.write(line(one), file=sys.stdout)
                if asked.examples:
                    tqdm.write(
                        "\n".join(report.examples(one.outcomes, None, asked.examples)), file=sys.stdout
                    )
    added = list(totals(measured))
    print("\n".join(map(line, added)))
    print(f"{perf_counter() - started:.0f} seconds", file=sys.stderr)
    if asked.json is not None:
        figures = [as_json(one) for one in (*measured, *added)]
        asked.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def say_what_is_absent() -> None:
    """Tell how to obtain what is not part of the project."""
    if case_suites.cases_folder() is None:
        tqdm.write(case_suites.HOW_TO_GET, file=sys.stderr)
    if data_folder() is None:
        tqdm.write(HOW_TO_GET_PAIRS, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
