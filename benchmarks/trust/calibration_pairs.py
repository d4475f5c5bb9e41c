"""Write the labelled pairs that the shipped calibration is fitted to: ``--to FOLDER``.

Of the dev sets those that were neither taught nor are asked by any benchmark, and that the slot tables were
not made on; minimal pairs of another seed
than the taught ones; our own cases; and the published ones that are at hand.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.trust.case_suites import SEED, SHARED, dev_pairs, readers
from benchmarks.trust.split import Split
from modelcache.evaluation.pairs import LabelledPair, user
from modelcache.training.contrasts import contrasts
from tests.support.question_pairs import FILES, HOW_TO_GET, data_folder

MOST = 3000
CONTRASTS = 2400
OWN = ("statements", "slots", "frames", "long_texts", "languages", "other_language")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust.calibration_pairs", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    folder: Path = parser.parse_args().to
    data = data_folder()
    if data is None:
        print(HOW_TO_GET, file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for language, file in FILES.items():
        pairs = dev_pairs(data, language, Split.is_unseen_and_fitted)
        random.Random(SEED).shuffle(pairs)
        write(folder / file.replace(".tsv", ".jsonl"), pairs[:MOST])
    made = contrasts([], CONTRASTS, SEED)
    write(
        folder / "contrasts.jsonl",
        [LabelledPair(user(one.cached), user(one.asked), one.same, one.kind) for one in made],
    )
    for name, read in readers().items():
        suite = read()
        if name in OWN or suite.group == SHARED:
            write(folder / f"{name}.jsonl", suite.pairs)
    return 0


def write(path: Path, pairs: Iterable[LabelledPair]) -> None:
    """Write pairs as ``calibrate`` and ``evaluate`` take them."""
    lines = (
        {"a": pair.cached, "b": pair.asked, "same": int(pair.same), "group": pair.kind} for pair in pairs
    )
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    sys.exit(main())
