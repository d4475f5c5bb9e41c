"""``python -m modelcache evaluate``: what the cache would do with questions of your own."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from modelcache.errors import ConfigError
from modelcache.evaluation import counting, report
from modelcache.evaluation.asking import opened
from modelcache.evaluation.counting import Outcomes
from modelcache.evaluation.pairs import read_pairs
from modelcache.settings import Settings

MAX_WRONG = 0.03
TOO_MANY_WRONG = 1
ALONE = "each pair alone"
TOGETHER = "all in one cache"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--pairs",
        type=Path,
        required=True,
        metavar="FILE",
        help="labelled pairs: a line of cached text, asked text, 1 (one answer serves both) or 0 and perhaps "
        r"a kind, between tabs (\n, \t and \\ are escapes), or a JSON object a line with a, b, same and "
        "perhaps group, where a and b are texts or lists of messages",
    )
    parser.add_argument(
        "--max-wrong",
        type=_share,
        default=MAX_WRONG,
        metavar="SHARE",
        help=f"exit with {TOO_MANY_WRONG} where a larger share of the hits is wrong (default {MAX_WRONG})",
    )
    parser.add_argument(
        "--threshold",
        type=_share,
        metavar="T",
        help="the confidence to ask for, instead of the configured one",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="ask all of one cache as well, where a hit on another entry is wrong unless labelled the same",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and replies here")


def run(settings: Settings, asked: argparse.Namespace) -> int:
    """Measure with the service's settings, on stores of its own; returns the exit status.

    ConfigError names what cannot be read; EmbeddingError says what stops the embedder.
    """
    pairs = read_pairs(asked.pairs)
    ways: dict[str, Outcomes] = {}
    with opened(settings) as asker:
        ways[ALONE] = counting.alone(asker, "alone", pairs)
        if asked.together:
            ways[TOGETHER] = counting.together(asker, "together", pairs)
    for title, outcomes in ways.items():
        print("\n".join(report.lines(title, outcomes, asked.threshold)), end="\n\n")
    if asked.json is not None:
        _write(asked, ways)
    return _gate(ways, asked.threshold, asked.max_wrong)


def _gate(ways: Mapping[str, Outcomes], threshold: float | None, most: float) -> int:
    """Say whether few enough hits are wrong, in the worse of the ways."""
    title, worst = max(
        ((title, outcomes.at(threshold)) for title, outcomes in ways.items()),
        key=lambda one: one[1].wrong_share,
    )
    told = f"{worst.wrong} of {worst.hits} hits are wrong ({worst.wrong_share:.1%}, {title})"
    if worst.wrong_share > most:
        print(f"FAILED: {told}, more than --max-wrong {most:g} allows")
        return TOO_MANY_WRONG
    print(f"passed: {told}; --max-wrong {most:g} allows so many")
    return 0


def _write(asked: argparse.Namespace, ways: Mapping[str, Outcomes]) -> None:
    figures = {
        "pairs": str(asked.pairs),
        "threshold": asked.threshold,
        "max_wrong": asked.max_wrong,
        "ways": {title: report.as_json(outcomes, asked.threshold) for title, outcomes in ways.items()},
    }
    try:
        asked.json.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"--json: {asked.json} cannot be written: {exc}") from exc


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("a number between 0 and 1 is expected")
    return value
