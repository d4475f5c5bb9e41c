"""All of it, as tables: how often hits are wrong, by plain cosine, as other caches decide, and by ours."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.measure import Report
from benchmarks.sizes import Sizes
from benchmarks.trust import hits
from benchmarks.trust.cost import cost_lines, cost_report
from benchmarks.trust.held_out import RememberingEmbedder, calibrated
from benchmarks.trust.hits import Allowed, Hits, Tally, at_most, at_most_so_many
from benchmarks.trust.peers import PLAIN_COSINE, peer_hits
from benchmarks.trust.product import OURS, Json, Product, Truth, hits_of, opened
from benchmarks.trust.real_pairs import hard_pairs, paraphrases
from benchmarks.trust.suites import Suite, suites
from modelcache.embedding.factory import get_embedder
from modelcache.settings import load_settings
from tests.support.question_pairs import FILES, HOW_TO_GET, data_folder, read_pairs

Line = Sequence[str]

HARD_SHARES = (0.05, 0.1)
SUITE_SHARE = 0.02
# GPTCache publishes 425/25, 804/77 and 904/92 right/wrong hits of about 1,000; here 8 of 1,000 may be wrong.
PARAPHRASE_WRONG = 0.008
# The others decide by the nearest entry too, and what is embedded is the same in a single message.
SWEPT = (PLAIN_COSINE, OURS)
CURVE_POINTS = 60
JUDGED = 2000
HEAD = ("questions", "decision", "at")
DEFAULT = "default"
CURVE = "curve"


def run(sizes: Sizes, folder: Path) -> Iterator[Report]:
    """Measure the suites and, where they are at hand, real pairs."""
    embedder = RememberingEmbedder(get_embedder(load_settings("demo", {})))
    embedder.open()
    with opened(folder / "suites", embedder) as product:
        yield from _suites(product, sizes.suite_stride)
    data = data_folder()
    if data is None:
        tqdm.write(HOW_TO_GET, file=sys.stderr)
        return
    # The shipped calibration is fitted to all pairs: one that is not takes its place where pairs are asked.
    # The smaller sizes do without, since their figures do not count.
    held_out = None if sizes.trust_pairs else calibrated(data, embedder, folder / "held_out.json")
    with opened(folder / "pairs", embedder, held_out) as product:
        yield from _hard(product, data, sizes.trust_pairs)
        yield _paraphrases(product, data, sizes.trust_pairs)
        lines = []
        for language in FILES:
            texts = [pair.asked for pair in read_pairs(data, language)][: sizes.trust_pairs or JUDGED]
            lines += cost_lines(product, language, f"hard pairs, {language}", texts)
        yield cost_report(lines)


def _suites(product: Product, stride: int) -> Iterator[Report]:
    lines: list[Line] = []
    kinds: list[Line] = []
    for suite in (whole.every(stride) for whole in suites()):
        model = f"suite, {suite.name}"
        places = {id_: number for number, id_ in enumerate(product.insert(model, suite.entries))}
        questions = [case.asked for case in suite.cases]
        swept, default = product.sweep(model, questions), product.ask(model, questions)
        for language in FILES:
            chosen = [number for number, case in enumerate(suite.cases) if suite.language(case) == language]
            truth = Truth(
                [suite.cases[number].own for number in chosen],
                np.array([suite.cases[number].same for number in chosen]),
                others_are_wrong=True,
            )
            swept_chosen = [[replies[number] for number in chosen] for replies in swept]
            default_chosen = [default[number] for number in chosen]
            every = [
                *peer_hits(product, suite.entries, [questions[number] for number in chosen], truth),
                hits_of(swept_chosen, default_chosen, places, truth),
            ]
            for one in every:
                shares = (SUITE_SHARE,) if one.decision in SWEPT else ()
                lines += _lines(f"{suite.name}, {language}", one, shares)
        kinds += _kinds(suite, default, places)
    yield Report("trust-suites", (*HEAD, *hits.COLUMNS), lines)
    yield Report(
        "trust-kinds",
        ("suite", "kind", "the answer is", "asked", "hits on the own entry", "on another", "vetoes"),
        kinds,
        shown=False,
    )


def _kinds(suite: Suite, replies: Sequence[Json], places: dict[int, int]) -> Iterator[Line]:
    """Count our replies by kind of case: what answers at default settings, and what a rule refuses."""
    asked: Counter[tuple[str, bool]] = Counter()
    own: Counter[tuple[str, bool]] = Counter()
    other: Counter[tuple[str, bool]] = Counter()
    vetoes: Counter[tuple[str, bool]] = Counter()
    for case, reply in zip(suite.cases, replies, strict=True):
        key = case.kind, case.same
        asked[key] += 1
        if reply["cacheHit"]:
            (own if places[reply["hit_id"]] == case.own else other)[key] += 1
        vetoes[key] += bool(reply["veto"])
    for key in sorted(asked, key=lambda key: (not key[1], key[0])):
        kind, same = key
        answer = "the same" if same else "another"
        yield suite.name, kind, answer, *(str(counts[key]) for counts in (asked, own, other, vetoes))


def _hard(product: Product, data: Path, limit: int) -> Iterator[Report]:
    lines: list[Line] = []
    curves: list[Line] = []
    for language in FILES:
        for one in hard_pairs(product, data, language, limit):
            lines += _lines(language, one, HARD_SHARES)
            curves += _curve(language, one)
    yield Report("trust-hard-pairs", (*HEAD, *hits.COLUMNS), lines)
    yield Report(
        "trust-curves",
        ("questions", "decision", "point", "found", "right share of hits"),
        curves,
        shown=False,
    )


def _paraphrases(product: Product, data: Path, limit: int) -> Report:
    lines: list[Line] = []
    for language in FILES:
        for one in paraphrases(product, data, language, limit):
            lines.append(_default_line(language, one))
            if one.decision in SWEPT:
                most = round(PARAPHRASE_WRONG * one.rephrasings)
                lines.append(_best_line(language, one, at_most_so_many(most), f"≤ {most} wrong"))
    return Report("trust-paraphrases", (*HEAD, *hits.COLUMNS), lines)


def _lines(questions: str, one: Hits, wrong_shares: Sequence[float]) -> Iterator[Line]:
    """Show a decision by default, and at the threshold that finds most with so small a wrong share."""
    yield _default_line(questions, one)
    for wrong_share in wrong_shares:
        yield _best_line(questions, one, at_most(wrong_share), f"≤ {wrong_share:.0%} wrong")


def _best_line(questions: str, one: Hits, allowed: Allowed, limit: str) -> Line:
    threshold, tally = one.best(allowed) or ("no threshold", Tally(0, 0, one.rephrasings))
    return questions, one.decision, f"{threshold}, {limit}", *tally.cells()


def _default_line(questions: str, one: Hits) -> Line:
    return questions, one.decision, DEFAULT, *one.default.cells()


def _curve(questions: str, one: Hits) -> Iterator[Line]:
    """Thin the sweep out to so many points, and add the one at default settings."""
    right, wrong = one.right, one.wrong
    kept = np.unique(np.linspace(0, len(right) - 1, min(len(right), CURVE_POINTS)).astype(int))
    points = [(CURVE, int(right[number]), int(wrong[number])) for number in kept]
    for point, found, failed in [*points, (DEFAULT, one.default.right, one.default.wrong)]:
        if found + failed:
            shares = found / one.rephrasings, found / (found + failed)
            yield questions, one.decision, point, *(f"{value:.4f}" for value in shares)
