"""The suites of the cases benchmark, as labelled pairs: our own, and published ones where at hand."""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.trust import suites
from benchmarks.trust.own_cases import frames, in_another_language, in_languages, in_options, statements
from benchmarks.trust.split import Split
from modelcache.evaluation.pairs import LabelledPair, read_pairs, user
from tests.support.question_pairs import FILES, ROOT, Pair, data_folder
from tests.support.question_pairs import read_pairs as read_question_pairs

SEED = 20261128
ALONE, TOGETHER = "alone", "together"
BOTH = (ALONE, TOGETHER)
OWN, SHARED, DEV = "own", "cases", "dev"
CASES_VARIABLE = "MODELCACHE_BENCH_DATA"
HOW_TO_GET = (
    "the published cases are not at hand: put files of labelled pairs, as `python -m modelcache evaluate` "
    "reads them, into ../shared/cases, or into a folder `cases` inside or beside the one that "
    "MODELCACHE_BENCH_DATA names; those measured here are of CacheSafety-Bench (golden v1), semanticmemo and "
    "gated-semantic-cache, which are on GitHub, and of public reports"
)


@dataclass(frozen=True, slots=True)
class CaseSuite:
    """Labelled pairs that are asked each alone, or all of one cache, or both."""

    name: str
    group: str
    pairs: list[LabelledPair]
    ways: tuple[str, ...] = BOTH
    unasked: tuple[LabelledPair, ...] = ()
    """Their entries are in the cache too when all are asked of one."""

    def at_most(self, count: int) -> "CaseSuite":
        """Return one that asks only so many of them, drawn at random but always alike; 0: all."""
        if not count or len(self.pairs) <= count:
            return self
        shuffled = random.Random(SEED).sample(self.pairs, len(self.pairs))
        return replace(self, pairs=shuffled[:count], unasked=(*self.unasked, *shuffled[count:]))


Reader = Callable[[], CaseSuite]


def readers() -> dict[str, Reader]:
    """Return what reads each suite that is at hand, by name."""
    found: dict[str, Reader] = {}
    for path in _case_files():
        found[path.stem] = partial(_of_file, path.stem, SHARED, path, BOTH)
    data = data_folder()
    for language, file in FILES.items() if data is not None else ():
        assert data is not None
        name = file.removesuffix(".tsv")
        found[name] = partial(_of_dev, name, data, language)
    for name in suites.READERS:
        found[name.replace(" ", "_")] = partial(_of_suite, name)
    for own, (read, ways) in OWN_SUITES.items():
        found[own] = partial(_own, own, read, ways)
    return found


OWN_SUITES: dict[str, tuple[Callable[[], Iterator[LabelledPair]], tuple[str, ...]]] = {
    "options": (in_options, BOTH),
    "frames": (frames, (TOGETHER,)),
    "statements": (statements, BOTH),
    "languages": (in_languages, BOTH),
    "other_language": (in_another_language, BOTH),
}


def cases_folder() -> Path | None:
    """Return the folder of the published cases, or None."""
    named = os.environ.get(CASES_VARIABLE)
    places = (
        [Path(named) / "cases", Path(named).parent / "cases"] if named else [ROOT.parent / "shared" / "cases"]
    )
    return next((place for place in places if place.is_dir()), None)


def _case_files() -> list[Path]:
    folder = cases_folder()
    if folder is None:
        return []
    return [path for path in sorted(folder.rglob("*")) if path.suffix in (".tsv", ".jsonl")]


def _of_file(name: str, group: str, path: Path, ways: tuple[str, ...]) -> CaseSuite:
    return CaseSuite(name, group, read_pairs(path), ways)


def _of_dev(name: str, data: Path, language: str) -> CaseSuite:
    """Take the pairs that nothing was taught or fitted with.

    What is alike in two of these pairs has no label: they are asked alone.
    """
    return CaseSuite(name, DEV, dev_pairs(data, language, Split.is_asked), (ALONE,))


def dev_pairs(data: Path, language: str, chosen: Callable[[Split, Pair], bool]) -> list[LabelledPair]:
    """Return a part of the pairs of a language."""
    pairs = read_question_pairs(data, language)
    split = Split.of(pairs, language)
    return [
        LabelledPair(user(pair.cached), user(pair.asked), pair.same) for pair in pairs if chosen(split, pair)
    ]


def _of_suite(name: str) -> CaseSuite:
    """Take a suite of the trust benchmark, whose entries are all in one cache."""
    suite = suites.READERS[name](name)
    pairs = [LabelledPair(suite.entries[case.own], case.asked, case.same, case.kind) for case in suite.cases]
    return CaseSuite(name.replace(" ", "_"), OWN, pairs)


def _own(name: str, read: Callable[[], Iterator[LabelledPair]], ways: tuple[str, ...]) -> CaseSuite:
    return CaseSuite(name, OWN, list(read()), ways)
