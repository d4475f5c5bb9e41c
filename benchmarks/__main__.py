"""Measure the distance to the physical limits and to the peers: ``scripts/bench [NAME…] [--quick]``.

Every row compares two things that are measured in turn in the same run, since machines are noisy. The
table goes to the screen, and as JSON and PNG to ``benchmarks/results``.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks import figures, report
from benchmarks.measure import Result
from benchmarks.sizes import FULL, QUICK, Sizes

RESULTS = Path(__file__).parent / "results"
Run = Callable[[Sizes, Path], Iterator[Result]]

# About a minute that no size shortens.
NOT_QUICK = frozenset({"outage"})
# A group of rows shares what it starts; each is a function that yields its rows one by one.
GROUPS = {
    "engine": "benchmarks.engine:run",
    "exact": "benchmarks.exact:run",
    "semantic": "benchmarks.semantic:run",
    "gateway": "benchmarks.gateway:run",
    "store": "benchmarks.stores:run_local",
    "servers": "benchmarks.stores:run_servers",
    "growth": "benchmarks.scale:run_growth",
    "tenants": "benchmarks.scale:run_tenants",
    "local_indexes": "benchmarks.local_indexes:run",
    "outage": "benchmarks.outage:run",
    "embedders": "benchmarks.embedders:run",
    "trust": "benchmarks.trust.run:run",
    "cases": "benchmarks.trust.cases_report:run",
    "gptcache": "benchmarks.peers:run_gptcache",
    "redisvl": "benchmarks.peers:run_redisvl",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(GROUPS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="small sizes, no figures to quote")
    parser.add_argument("--results", type=Path, default=None, help=f"folder of the files, not {RESULTS}")
    parser.add_argument("--show", action="store_true", help="show what is in the files, and measure nothing")
    parser.add_argument("--figures", action="store_true", help="show the tables of the READMEs, likewise")
    asked = parser.parse_args()
    if asked.figures:
        print("\n\n".join(figures.both(report.load(asked.results or RESULTS)[0])))
        return 0
    if asked.show:
        print(report.tables(*report.load(asked.results or RESULTS)))
        return 0
    unknown = [name for name in asked.names if name not in GROUPS]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(GROUPS)}")
    sizes = QUICK if asked.quick else FULL
    results: list[Result] = []
    with TemporaryDirectory(prefix="modelcache-bench-") as folder:
        chosen = asked.names or [name for name in GROUPS if not (asked.quick and name in NOT_QUICK)]
        for name in tqdm(chosen, unit="group", disable=None):
            home = Path(folder) / name
            home.mkdir()
            for result in _load(GROUPS[name])(sizes, home):
                results.append(result)
                tqdm.write(report.line(result), file=sys.stderr)
    print(report.tables(results, report.machine()))
    if asked.results or not asked.quick:
        report.save(results, asked.results or RESULTS)
    return 0


def _load(where: str) -> Run:
    module, function = where.split(":")
    run: Run = getattr(import_module(module), function)
    return run


if __name__ == "__main__":
    sys.exit(main())
