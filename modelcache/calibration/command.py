"""``python -m modelcache calibrate``: precision against coverage on labelled pairs, and what to set."""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from modelcache.calibration import curve
from modelcache.calibration.asking import Asked, ask
from modelcache.calibration.curve import Outcomes, Point
from modelcache.calibration.pairs import LabelledPair, read_pairs
from modelcache.decision.confidence import CHINESE, FORMAT, OTHER, Confidence, Pair, language_of
from modelcache.decision.factory import load_confidence
from modelcache.decision.features import NAMES, View, differ_in_form_only, view
from modelcache.decision.shadow_report import RIGHT, SCORES, WRONG
from modelcache.decision.verified import wilson_95
from modelcache.embedding.base import Embedder, Embeddings
from modelcache.embedding.factory import get_embedder
from modelcache.errors import ConfigError
from modelcache.manager.factory import get_scalar_store
from modelcache.manager.names import model_key
from modelcache.settings import Settings
from modelcache.slots.guard import SlotGuard

WRONG_SHARE = 0.05
LEAST_PAIRS = 500
LEAST_FORMS = 20
BATCH = 64
# So few of the pairs that are rated so high or higher are further away than is noted.
REACHED = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FURTHEST = 0.005
SETTING = "similarity_threshold"

Shares = list[NDArray[np.float64]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--pairs",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.tsv",
        help="labelled pairs: text A, text B, 1 (the same question) or 0, between tabs; may be repeated",
    )
    parser.add_argument(
        "--from-log",
        action="store_true",
        help="instead of pairs: what modes shadow and verified have seen of queries and their true answers",
    )
    parser.add_argument(
        "--model", action="append", default=[], help="of this model; may be repeated; otherwise of all"
    )
    parser.add_argument(
        "--wrong-share",
        type=float,
        default=WRONG_SHARE,
        help=f"share of the hits that may be wrong, for the recommended threshold (default {WRONG_SHARE})",
    )
    parser.add_argument(
        "--fit", type=Path, metavar="FILE.json", help="fit the confidence anew and write it here"
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE.ini", help="write the recommended settings here"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curve here")


def run(settings: Settings, asked: argparse.Namespace) -> None:
    """Calibrate with the service's embedder; ConfigError or EmbeddingError says what stops it."""
    if not 0 < asked.wrong_share < 1:
        raise ConfigError("--wrong-share is a number between 0 and 1")
    if asked.from_log == bool(asked.pairs):
        raise ConfigError("calibrate needs either --pairs or --from-log")
    if asked.from_log and asked.fit is not None:
        raise ConfigError("--fit needs --pairs: the log holds no texts of what was compared")
    tables = None
    if asked.from_log:
        curves = {"log": _logged(settings, asked.model)}
    else:
        curves, tables = _of_pairs(settings, asked)
    recommended = {name: one.recommended(asked.wrong_share) for name, one in curves.items()}
    for name, one in curves.items():
        _print(name, one, recommended[name], asked.wrong_share)
    if tables is not None:
        asked.fit.write_text(json.dumps(tables, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        print(f"\nwrote {asked.fit}; to use it: MODELCACHE_CALIBRATION={asked.fit}")
    if asked.settings is not None:
        _write_settings(asked.settings, asked.fit, recommended)
    if asked.plot is not None:
        curve.draw(curves, asked.plot)


def _of_pairs(
    settings: Settings, asked: argparse.Namespace
) -> tuple[dict[str, Outcomes], dict[str, Any] | None]:
    """Ask the pairs of a cache, by the calibration in use or by one that is fitted to them."""
    pairs = list(dict.fromkeys(pair for path in asked.pairs for pair in read_pairs(path)))
    embedder = get_embedder(settings)
    embedder.open()
    tables = None
    try:
        slot_guard = SlotGuard.from_settings(settings)
        languages = _ask(pairs, embedder, slot_guard)
        if asked.fit is not None:
            tables, shares = _fit(languages, embedder, slot_guard, asked.wrong_share)
        else:
            confidence = load_confidence(settings, embedder, slot_guard)
            shares = {name: _rated(confidence, found) for name, found in languages.items()}
    finally:
        embedder.close()
    return {name: curve.outcomes(found, shares[name]) for name, found in languages.items()}, tables


def _logged(settings: Settings, models: Sequence[str]) -> Outcomes:
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
    shares = [np.array([one.bucket / SCORES]) for one in compared for _ in range(one.count)]
    same = [one.outcome == RIGHT for one in compared for _ in range(one.count)]
    return Outcomes(shares, [0] * len(shares), same)


def _ask(pairs: Sequence[LabelledPair], embedder: Embedder, slot_guard: SlotGuard) -> dict[str, list[Asked]]:
    """Ask the pairs of each language of a cache that holds those of this language."""
    by_language: dict[str, list[LabelledPair]] = defaultdict(list)
    for pair in pairs:
        by_language[language_of(pair.asked)].append(pair)
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.cached, pair.asked)))
    vectors = dict(zip(texts, _embed(embedder, texts), strict=True))
    found = {}
    for name, own in sorted(by_language.items()):
        if min(sum(pair.same for pair in own), sum(not pair.same for pair in own)) < LEAST_PAIRS // 10:
            raise ConfigError(
                f"too few labelled pairs in {name}: {LEAST_PAIRS // 10} of each label are the least"
            )
        cached, asked = (
            np.stack([vectors[text] for text in side])
            for side in ([pair.cached for pair in own], [pair.asked for pair in own])
        )
        found[name] = ask(own, cached, asked, slot_guard)
    return found


def _embed(embedder: Embedder, texts: Sequence[str]) -> Embeddings:
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    found = []
    with (
        ThreadPoolExecutor(embedder.parallel) as pool,
        tqdm(total=len(texts), desc="embedding", unit="text", disable=None) as bar,
    ):
        for vectors in pool.map(embedder.embed, batches):
            found.append(vectors)
            bar.update(len(vectors))
    return np.concatenate(found)


def _rated(confidence: Confidence | None, asked: Sequence[Asked]) -> Shares:
    """Rate by the calibration in use or, without one, by the cosine."""
    if confidence is None:
        return [np.array([pair.similarity for pair in one.candidates]) for one in asked]
    return [np.array(confidence.rate(one.candidates)) for one in asked]


def fitted(
    pairs: Sequence[LabelledPair], embedder: Embedder, slot_guard: SlotGuard, wrong_share: float
) -> dict[str, Any]:
    """Return a calibration for an open embedder, as ``Confidence`` reads it."""
    return _fit(_ask(pairs, embedder, slot_guard), embedder, slot_guard, wrong_share)[0]


def _fit(
    languages: dict[str, list[Asked]], embedder: Embedder, slot_guard: SlotGuard, wrong_share: float
) -> tuple[dict[str, Any], dict[str, Shares]]:
    """Fit each language, and rate its questions by fits to the others only."""
    try:
        from modelcache.calibration import fit
    except ImportError as exc:
        raise ConfigError("--fit needs the packages of requirements-calibrate.txt") from exc
    for name in (CHINESE, OTHER):
        if len(languages.get(name, ())) < LEAST_PAIRS:
            raise ConfigError(f"--fit needs at least {LEAST_PAIRS} pairs in {name} texts")
    tables: dict[str, Any] = {}
    shares: dict[str, Shares] = {}
    floor = _floor(languages)
    for name, asked in tqdm(languages.items(), desc="fitting", unit="language", disable=None):
        views = {
            text: view(text, slot_guard.read(text))
            for one in asked
            for pair in (one.own, *one.candidates)
            for text in (pair.asked, pair.cached)
        }
        odds = fit.odds_of_others(asked, views, floor)
        own = [row for row, one in enumerate(asked) if one.own_place >= 0]
        odds_of_own = np.array([odds[row][asked[row].own_place] for row in own])
        slope, offset = fit.platt(odds_of_own, np.array([asked[row].pair.same for row in own]))
        form_only = _form_only(asked, views)
        shares[name] = [
            np.maximum(
                1 / (1 + np.exp(-(slope * of_one + offset))),
                [form_only if _is_form(pair, views) else 0.0 for pair in one.candidates],
            )
            for of_one, one in zip(odds, asked, strict=True)
        ]
        rated = np.array([shares[name][row][asked[row].own_place] for row in own])
        point = curve.outcomes(asked, shares[name]).recommended(wrong_share)
        tables[name] = fit.fit(asked, views, floor).tables | {
            "slope": slope,
            "offset": offset,
            "threshold": point.threshold,
            "form_only": form_only,
            "reaching": _reaching(np.array([asked[row].own.similarity for row in own]), rated),
        }
    whole = {
        "format": FORMAT,
        "embedder": embedder.name,
        "features": NAMES,
        "floor": floor,
        "languages": tables,
    }
    return whole, shares


def _form_only(asked: Sequence[Asked], views: Mapping[str, View]) -> float:
    """Return the share of the same questions among pairs that differ in form only; 0 if these are few."""
    same = [one.pair.same for one in asked if one.own.asked != one.own.cached and _is_form(one.own, views)]
    return round((sum(same) + 1) / (len(same) + 2), 4) if len(same) >= LEAST_FORMS else 0.0


def _is_form(pair: Pair, views: Mapping[str, View]) -> bool:
    return not pair.rules and differ_in_form_only(views[pair.asked], views[pair.cached])


def _reaching(similarities: NDArray[np.float64], rated: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return, by confidence, the cosine under which hardly a pair is rated so high."""
    cosines = [float(np.quantile(similarities[rated >= share], FURTHEST)) for share in REACHED]
    return [
        (share, round(cosine, 4))
        for share, cosine in zip(REACHED, np.maximum.accumulate(cosines), strict=True)
    ]


def _floor(languages: dict[str, list[Asked]]) -> float:
    """Return how near the last of the kept neighbours is, as a rule: it has nothing in common any more."""
    far = [one.cosines[-1] for asked in languages.values() for one in asked]
    return round(float(np.median(far)), 4)


def _print(name: str, outcomes: Outcomes, recommended: Point, wrong_share: float) -> None:
    print(
        f"\n{name}: {len(outcomes.same)} questions, {sum(outcomes.same)} of them with their answer cached\n"
    )
    aim = "for" if recommended.cautious_share <= wrong_share else "nearest to"
    print("| threshold | right | wrong | wrong share of hits (95 %) | answered of the duplicates |")
    print("| --- | --- | --- | --- | --- |")
    for threshold in sorted({*curve.GRID, recommended.threshold}):
        point = outcomes.at(threshold)
        low, high = wilson_95(point.wrong, point.right + point.wrong)
        mark = f" ({aim} {wrong_share:.0%} wrong)" if threshold == recommended.threshold else ""
        share = f"{point.wrong_share:.1%} ({low:.1%} to {high:.1%})"
        print(f"| {threshold:g}{mark} | {point.right} | {point.wrong} | {share} | {point.found:.1%} |")


def _write_settings(path: Path, calibration: Path | None, recommended: dict[str, Point]) -> None:
    """Write what MODELCACHE_CONFIG may name; a fit holds a threshold for each language itself."""
    lines = ["[modelcache]"]
    if calibration is not None:
        lines.append(f"calibration = {calibration.resolve()}")
    else:
        strictest = max(point.threshold for point in recommended.values())
        lines.append(f"{SETTING} = {strictest:g}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\nwrote {path}; to use it: MODELCACHE_CONFIG={path}")
