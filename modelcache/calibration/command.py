"""``python -m modelcache calibrate``: what thresholds cost on labelled pairs, and what to set."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelcache.calibration import curve
from modelcache.calibration.curve import Point, Rated
from modelcache.calibration.pairs import read_pairs
from modelcache.calibration.reading import Seen, rated, see
from modelcache.decision.confidence import FORM_ONLY, FORMAT, LanguageModel
from modelcache.decision.factory import SHIPPED, read_tables
from modelcache.decision.languages import LANGUAGES, OTHER
from modelcache.embedding.e5 import E5Embedder
from modelcache.errors import ConfigError
from modelcache.learning.tallies import RIGHT, SCORES, WRONG
from modelcache.learning.verified import wilson_95
from modelcache.manager.factory import get_scalar_store
from modelcache.records.names import model_key
from modelcache.settings import Settings
from modelcache.similarity_evaluation.paraphrase import ParaphraseReader
from modelcache.slots.guard import SlotGuard

WRONG_SHARE = 0.03
WRONG_SHARE_IN_ONE = 0.06
LEAST_PAIRS = 500
LEAST_PAIRS_OF_A_LANGUAGE = 200
SETTING = "similarity_threshold"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    _add_sources(parser)
    _add_choices(parser)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pairs",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="labelled pairs, as `evaluate` takes them; may be repeated, and no file outweighs all others",
    )
    parser.add_argument(
        "--traps",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="labelled pairs that were made to be mistaken: fitted to and shown, but they count for no "
        "limit, since such questions are rare; may be repeated",
    )
    parser.add_argument(
        "--mislabelled",
        type=_named_share,
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="of the pairs in the file of this name (without its ending) that are rated high and labelled "
        "0, so large a share is the same after all, as reading some of them shows; may be repeated",
    )
    parser.add_argument(
        "--from-log",
        action="store_true",
        help="instead of pairs: what modes shadow and verified have seen of queries and their true answers",
    )
    parser.add_argument(
        "--model", action="append", default=[], help="of this model; may be repeated; otherwise of all"
    )


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reader-part",
        type=_named_share,
        action="append",
        default=[],
        metavar="LANGUAGE=SHARE",
        help=f"with --fit: how much of its fitted weight the reader keeps in one of {', '.join(LANGUAGES)} "
        "(default 1): less where it was taught other subjects than those asked about; may be repeated",
    )
    parser.add_argument(
        "--wrong-share",
        type=float,
        default=WRONG_SHARE,
        help=f"share of the hits that may be wrong, for the recommended threshold (default {WRONG_SHARE})",
    )
    parser.add_argument(
        "--wrong-share-in-one",
        type=float,
        default=WRONG_SHARE_IN_ONE,
        help=f"the same in any one of the files (default {WRONG_SHARE_IN_ONE})",
    )
    parser.add_argument(
        "--fit", type=Path, metavar="FILE.json", help="fit the confidence anew and write it here"
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE.ini", help="write the recommended settings here"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curve here")


def _named_share(text: str) -> tuple[str, float]:
    name, _, share = text.rpartition("=")
    if not name or not 0 <= float(share) <= 1:
        raise ValueError(text)
    return name, float(share)


def run(settings: Settings, asked: argparse.Namespace) -> None:
    """Calibrate with the service's embedder; ConfigError or EmbeddingError says what stops it."""
    for name in ("wrong_share", "wrong_share_in_one"):
        if not 0 < getattr(asked, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} is a number between 0 and 1")
    if asked.from_log == bool(asked.pairs):
        raise ConfigError("calibrate needs either --pairs or --from-log")
    if asked.from_log and asked.traps:
        raise ConfigError("--traps goes with --pairs")
    if asked.from_log and asked.fit is not None:
        raise ConfigError("--fit needs --pairs: the log holds no texts of what was compared")
    tables = None
    if asked.from_log:
        curves = {"log": _logged(settings, asked.model)}
    else:
        curves, tables = _of_pairs(settings, asked)
    recommended = _recommended(curves, asked.wrong_share, asked.wrong_share_in_one)
    for name, one in curves.items():
        _print(name, one, recommended[name], asked.wrong_share)
    if tables is not None:
        asked.fit.write_text(json.dumps(tables, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        print(f"\nwrote {asked.fit}; to use it: MODELCACHE_CALIBRATION={asked.fit}")
    if asked.settings is not None:
        _write_settings(asked.settings, asked.fit, recommended)
    if asked.plot is not None:
        curve.draw(curves, asked.plot)


def _of_pairs(
    settings: Settings, asked: argparse.Namespace
) -> tuple[dict[str, Rated], dict[str, Any] | None]:
    """Rate the pairs by the calibration in use, or by one that is fitted to them."""
    suites = {path.stem: read_pairs(path) for path in (*asked.pairs, *asked.traps)}
    slot_guard = SlotGuard.from_settings(settings)
    # Whatever embedder searches, the decision is by the cosine of this one.
    embedder = E5Embedder(settings.embedding_threads, settings.e5_path)
    reader = ParaphraseReader(settings.embedding_threads, settings.reader_path)
    shares = asked.wrong_share, asked.wrong_share_in_one
    embedder.open()
    try:
        reader.open()
        seen = see(
            suites, embedder, slot_guard, reader, dict(asked.mislabelled), {path.stem for path in asked.traps}
        )
        if asked.fit is None:
            return curves(seen, read_tables(settings.calibration or SHIPPED)), None
        parts = dict(asked.reader_part)
        tables = fitted(seen, embedder.name, reader.name, shares, parts)
        _print_left_out(seen, shares, parts)
        return curves(seen, tables), tables
    finally:
        reader.close()
        embedder.close()


def fitted(
    seen: Sequence[Seen],
    embedder: str,
    reader: str,
    wrong_shares: tuple[float, float],
    parts: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return a calibration as ``Confidence`` reads it; a language with too few pairs goes by all of them.

    ``wrong_shares``: how many of the hits may be wrong at its thresholds, of all and of each suite.
    ``parts``: by language, how much of its fitted weight the reader keeps.
    """
    try:
        from modelcache.calibration.fit import fit
    except ImportError as exc:
        raise ConfigError("--fit needs the packages of requirements-calibrate.txt") from exc
    if len(seen) < LEAST_PAIRS:
        raise ConfigError(f"--fit needs at least {LEAST_PAIRS} pairs")
    languages = {}
    for name in LANGUAGES:
        own = [one for one in seen if one.language == name]
        pairs = own if len(own) >= LEAST_PAIRS_OF_A_LANGUAGE else seen
        languages[name] = fit(pairs, wrong_shares, (parts or {}).get(name, 1.0))
    tables = {"format": FORMAT, "embedder": embedder, "reader": reader, "languages": languages}
    points = _recommended(curves(seen, tables), *wrong_shares)
    limits = {name: point.threshold for name, point in points.items()}
    for name in LANGUAGES:
        # Where no pair tells, the strictest that another language needs.
        languages[name]["threshold"] = limits.get(name, FORM_ONLY if name == OTHER else max(limits.values()))
    return tables


def _recommended(
    curves: Mapping[str, Rated], wrong_share: float, wrong_share_in_one: float
) -> dict[str, Point]:
    """Choose the thresholds: none under which too many hits are wrong in a language that was not taught."""
    taught = {name: one for name, one in curves.items() if name != OTHER}
    points = curve.recommended(taught, wrong_share, wrong_share_in_one) if taught else {}
    if OTHER in curves:
        [alone] = curve.recommended({OTHER: curves[OTHER]}, wrong_share, wrong_share_in_one).values()
        points[OTHER] = alone if alone.likely_wrong_share <= wrong_share else curves[OTHER].at(FORM_ONLY)
    # What differs in form only hits whatever the pairs say.
    return {name: curves[name].at(min(point.threshold, FORM_ONLY)) for name, point in points.items()}


def curves(seen: Sequence[Seen], tables: Mapping[str, Any]) -> dict[str, Rated]:
    """Return by language what a calibration says of the pairs."""
    return {
        name: rated([one for one in seen if one.language == name], LanguageModel(tables["languages"][name]))
        for name in sorted({one.language for one in seen})
    }


def _print_left_out(
    seen: Sequence[Seen], wrong_shares: tuple[float, float], parts: Mapping[str, float]
) -> None:
    """Show for each suite what it would say of a fit, and of thresholds, that did not see it."""
    names = sorted({one.suite for one in seen})
    if len(names) < 2:
        return
    print("\n| left out | threshold | right | wrong | wrong share of hits (95 %) | found |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        others = [one for one in seen if one.suite != name]
        if len(others) < LEAST_PAIRS:
            continue
        tables = fitted(others, "", "", wrong_shares, parts)
        for language in sorted({one.language for one in seen if one.suite == name}):
            own = [one for one in seen if one.suite == name and one.language == language]
            model = LanguageModel(tables["languages"][language])
            point = rated(own, model).at(model.threshold)
            _print_point(f"{name}, {language} | {model.threshold:.3f}", point)


def _logged(settings: Settings, models: Sequence[str]) -> Rated:
    """Read what was compared, by the confidence of the entry that might have answered."""
    scalars = get_scalar_store(settings)
    scalars.open()
    try:
        tallies = [one for model in models or scalars.models() for one in scalars.tallies(model_key(model))]
    finally:
        scalars.close()
    # An equal question is answered whatever the threshold.
    compared = [one for one in tallies if one.outcome in (RIGHT, WRONG) and 0 <= one.bucket <= SCORES]
    if not compared:
        raise ConfigError("nothing was compared yet: run models in mode shadow or verified for a while")
    counts = [one.count for one in compared]
    return Rated(
        np.repeat([one.bucket / SCORES for one in compared], counts),
        np.repeat([one.outcome == RIGHT for one in compared], counts),
        np.full(sum(counts), "log"),
        np.zeros(sum(counts)),
        np.zeros(sum(counts), bool),
    )


def _print(name: str, curve_of: Rated, recommended: Point, wrong_share: float) -> None:
    print(f"\n{name}: {len(curve_of.same)} pairs, {int(curve_of.same.sum())} of them the same question\n")
    aim = "for" if recommended.likely_wrong_share <= wrong_share else "nearest to"
    print("| threshold | right | wrong | wrong share of hits (95 %) | found |")
    print("| --- | --- | --- | --- | --- |")
    for threshold in sorted({*curve.GRID, recommended.threshold}):
        mark = f" ({aim} {wrong_share:.0%} wrong)" if threshold == recommended.threshold else ""
        _print_point(f"{threshold:.4g}{mark}", curve_of.at(threshold))
    for suite in np.unique(curve_of.suites).tolist():
        _print_point(f"{suite}, {recommended.threshold:.4g}", curve_of.at(recommended.threshold, suite))


def _print_point(head: str, point: Point) -> None:
    low, high = wilson_95(point.wrong, point.right + point.wrong)
    share = f"{point.wrong_share:.1%} ({low:.1%} to {high:.1%})"
    print(f"| {head} | {point.right} | {point.wrong} | {share} | {point.found:.1%} |")


def _write_settings(path: Path, calibration: Path | None, recommended: Mapping[str, Point]) -> None:
    """Write what MODELCACHE_CONFIG may name; a fit holds a threshold for each language itself."""
    lines = ["[modelcache]"]
    if calibration is not None:
        lines.append(f"calibration = {calibration.resolve()}")
    else:
        strictest = max(point.threshold for point in recommended.values())
        lines.append(f"{SETTING} = {strictest:g}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\nwrote {path}; to use it: MODELCACHE_CONFIG={path}")
