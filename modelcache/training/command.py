"""``python -m modelcache train``: teach the embedder and the reader from labelled pairs."""

import argparse
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelcache.errors import ConfigError
from modelcache.training.examples import Example

EMBEDDER, READER = "embedder", "reader"
SEED = 20261128
# About as many as labelled pairs.
CONTRASTS = 44_000
# So many pairs are kept aside, to see what the teaching does to pairs it was not taught with.
KEPT = 600
KEPT_SHARE = 0.1
# The published weights are far from what is taught; one's own pairs only move what was taught already.
ANEW = 8e-5
FURTHER = 3e-5
HEAD_TIMES = 5
BATCH = 48
REPORT = "report.json"
CURVE = "curve.png"
BEFORE, AFTER = "before", "after"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER", help="where to write the folders e5 and reader"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="the public sets that the shipped weights are taught with: start from the published weights",
    )
    parser.add_argument(
        "--further", action="store_true", help="with --data: go on from the weights in use as well"
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="labelled pairs of one's own, as `evaluate` takes them: go on from the weights in use; may be "
        "repeated",
    )
    parser.add_argument("--only", choices=(EMBEDDER, READER), help="teach one of the two")
    parser.add_argument(
        "--contrasts",
        type=int,
        default=CONTRASTS,
        help=f"made-up minimal pairs among those of --data, for the reader (default {CONTRASTS})",
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="take so much of the data, to try it out (default 1)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        help=f"the learning rate at its highest (default {ANEW:g} from the published weights, {FURTHER:g} "
        "from those in use)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="teach each of the two for so long at most: the rate falls to nothing by then (default: to the "
        "end of the data)",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="what is drawn by chance is drawn by this")


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is taught, and what is only measured."""

    pairs: Sequence[Example]
    contrasts: Sequence[Example]
    kept: Sequence[Example]
    kept_contrasts: Sequence[Example]


def run(asked: argparse.Namespace) -> None:
    """Teach, write the weights, and say what they do before and after; a stopped run goes on where it was.

    ConfigError says in one sentence what is missing.
    """
    try:
        from modelcache.training.models import Taught
    except ImportError as exc:
        raise ConfigError("train needs the packages of requirements-calibrate.txt") from exc
    if bool(asked.data) == bool(asked.pairs):
        raise ConfigError("train needs either --data or --pairs")
    anew = asked.data is not None and not asked.further
    rate = asked.rate or (ANEW if anew else FURTHER)
    teaching = Taught(asked.to, asked.seed, anew, rate, 60 * asked.minutes)
    names = [name for name in (EMBEDDER, READER) if asked.only in (None, name)]
    report = {name: teaching.teach(name, _lessons(asked, name)) for name in names}
    path = asked.to / REPORT
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {asked.to}: fit a calibration to it with `calibrate --fit`")


def _lessons(asked: argparse.Namespace, name: str) -> Lessons:
    from modelcache.training.contrasts import contrasts
    from modelcache.training.sources import OF_EMBEDDER, OF_READER, own_pairs, shipped_mixture

    drawing = random.Random(asked.seed)
    if asked.data is not None:
        mixture = OF_EMBEDDER if name == EMBEDDER else OF_READER
        pairs = shipped_mixture(asked.data, mixture, asked.seed, asked.share)
    else:
        pairs = [one for path in asked.pairs for one in own_pairs(path)]
        drawing.shuffle(pairs)
        pairs = pairs[: round(len(pairs) * asked.share)]
    kept = min(KEPT, round(len(pairs) * KEPT_SHARE))
    if not kept:
        raise ConfigError("too few pairs to teach with")
    # Some pairs are there twice.
    aside = set(pairs[:kept])
    taught = [one for one in pairs[kept:] if one not in aside]
    texts = [one.asked for one in taught]
    made = contrasts(texts, kept + round(asked.contrasts * asked.share), asked.seed) if asked.data else []
    return Lessons(taught, made[kept:], pairs[:kept], made[:kept])
