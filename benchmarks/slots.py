"""What the slot guard refuses of labelled pairs, rule by rule, and what it costs.

Run it as ``python -m benchmarks.slots``; it takes a few seconds and needs no embedder. The tables were made
on the half of the pairs that ``--half tuned`` shows; figures to go by are those of the other half. Beside
all pairs it shows those whose wording is alike, which is where an embedder takes two questions for one.
"""

import argparse
import hashlib
import sys
from collections import Counter
from time import perf_counter

from modelcache.language.tokens import words_of
from modelcache.slots.comparing import differences
from modelcache.slots.pair import ALIKE
from modelcache.slots.reading import Reader
from modelcache.slots.tables import load_tables
from tests.support.question_pairs import FILES, HOW_TO_GET, Pair, data_folder, read_pairs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--half", choices=["tuned", "kept"], default="kept", help="which half of the pairs")
    half = parser.parse_args().half
    folder = data_folder()
    if folder is None:
        print(HOW_TO_GET)
        return 1
    for language in FILES:
        pairs = [pair for pair in read_pairs(folder, language) if is_tuned(pair) is (half == "tuned")]
        report(f"{language}, all", pairs)
        report(f"{language}, alike", [pair for pair in pairs if are_alike(pair)])
    return 0


def is_tuned(pair: Pair) -> bool:
    """Tell the half that the tables were made on."""
    return hashlib.sha256(pair.cached.encode()).digest()[0] < 128


def are_alike(pair: Pair) -> bool:
    """Tell whether most words, or Chinese characters, are equal."""
    cached, asked = set(words_of(pair.cached)), set(words_of(pair.asked))
    return len(cached & asked) >= ALIKE * max(len(cached), len(asked))


def report(title: str, pairs: list[Pair]) -> None:
    """Print the share of non-duplicates and of duplicates that each rule refuses."""
    tables = load_tables()
    reader = Reader(tables)
    refused: Counter[tuple[str, bool]] = Counter()
    started = perf_counter()
    for pair in pairs:
        rules = set(differences(reader.read(pair.asked), reader.read(pair.cached), tables))
        refused.update((rule, pair.same) for rule in (*rules, *(["any"] if rules else [])))
    microseconds = (perf_counter() - started) / len(pairs) * 1e6
    same = sum(pair.same for pair in pairs)
    other = len(pairs) - same
    print(f"\n{title}: {other} non-duplicates, {same} duplicates, {microseconds:.0f} µs a pair")
    print("| rule | non-duplicates refused | | duplicates refused | |\n| --- | --- | --- | --- | --- |")
    for rule in sorted({rule for rule, _ in refused}, key=lambda rule: (-refused[rule, False], rule)):
        wrong, right = refused[rule, False], refused[rule, True]
        print(f"| {rule} | {wrong} | {wrong / other:.1%} | {right} | {right / same:.2%} |")


if __name__ == "__main__":
    sys.exit(main())
