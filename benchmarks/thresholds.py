"""How often a hit is wrong at each cosine threshold: where an embedder's calibrated values come from.

Run it as ``python -m benchmarks.thresholds``; the embedder is chosen by MODELCACHE_EMBEDDER. It takes
about ten minutes with all pairs on two cores.

Short texts: a cache is filled with one question of each pair and asked the other, as many labelled
duplicates as non-duplicates. A hit on the pair's own question is right or wrong by its label; a hit on
any other question has no label and is left out.

Long texts: two questions under one introduction of over 256 characters, made of other questions.

Earlier turns: the questions of a pair as turns of two conversations that agree in all the rest, with the
slot guard.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelcache.embedding.base import Embedder
from modelcache.embedding.factory import get_embedder
from modelcache.records.vectors import Embeddings
from modelcache.settings import load_settings
from modelcache.slots.guard import SlotGuard
from modelcache.slots.tables import load_tables
from tests.support.question_pairs import FILES, HOW_TO_GET, Pair, data_folder, read_pairs

SEED = 20261121
SHORT_THRESHOLDS = (0.9, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.991, 0.992, 0.995)
LONG_THRESHOLDS = (0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999)
CONTEXT_THRESHOLDS = (0.9, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99)
LONG_CHARS = 256
LONG_PAIRS = 200
CONTEXT_PAIRS = 800
BATCH = 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=0, help="use only this many pairs of each language")
    arguments = parser.parse_args()
    folder = data_folder()
    if folder is None:
        print(HOW_TO_GET, file=sys.stderr)
        return 1
    embedder = get_embedder(load_settings("demo"))
    embedder.open()
    print(f"embedder {embedder.name}")
    for language in FILES:
        measure(embedder, folder, language, arguments.pairs)
    return 0


def measure(embedder: Embedder, folder: Path, language: str, limit: int) -> None:
    """Print both tables of one language."""
    pairs = read_pairs(folder, language)
    random.Random(SEED).shuffle(pairs)
    balanced = balance(pairs[: limit or None])
    similarities, own = nearest(embedder, balanced)
    labels = np.array([pair.same for pair in balanced])
    print_table(f"{language}, short", SHORT_THRESHOLDS, similarities[own], labels[own], labels.sum())

    chosen = balance(pairs, LONG_PAIRS)
    similarities = under_one_introduction(embedder, chosen, [pair.cached for pair in pairs])
    labels = np.array([pair.same for pair in chosen])
    print_table(f"{language}, long", LONG_THRESHOLDS, similarities, labels, labels.sum())

    chosen = balance([pair for pair in pairs if is_short(pair)], CONTEXT_PAIRS // 2)
    similarities = as_earlier_turns(embedder, chosen)
    labels = np.array([pair.same for pair in chosen])
    print_table(f"{language}, earlier turns", CONTEXT_THRESHOLDS, similarities, labels, labels.sum())


def balance(pairs: Sequence[Pair], most: int | None = None) -> list[Pair]:
    """Return as many duplicates as non-duplicates."""
    same = [pair for pair in pairs if pair.same]
    different = [pair for pair in pairs if not pair.same]
    count = min(len(same), len(different), most or len(pairs))
    return same[:count] + different[:count]


def nearest(embedder: Embedder, pairs: Sequence[Pair]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Ask a cache of all first questions; return each best cosine, and whether it is of the own pair."""
    cached = list(dict.fromkeys(pair.cached for pair in pairs))
    place = {text: number for number, text in enumerate(cached)}
    index = embed(embedder, cached)
    asked = embed(embedder, [pair.asked for pair in pairs])
    best = np.empty(len(pairs), np.float32)
    own = np.empty(len(pairs), np.bool_)
    for number, (pair, vector) in enumerate(zip(pairs, asked, strict=True)):
        cosines = index @ vector
        if pair.asked in place and pair.asked != pair.cached:
            cosines[place[pair.asked]] = -1  # an equal question is an exact hit and decides nothing
        winner = int(cosines.argmax())
        best[number], own[number] = cosines[winner], winner == place[pair.cached]
    return best, own


def under_one_introduction(
    embedder: Embedder, pairs: Sequence[Pair], pool: Sequence[str]
) -> NDArray[np.float32]:
    """Return the cosine of each pair's two questions behind the same introduction."""
    chance = random.Random(SEED)
    texts: list[str] = []
    for pair in pairs:
        introduction = ""
        while len(introduction) <= LONG_CHARS:
            introduction += chance.choice(pool) + " "
        texts += [introduction + pair.cached, introduction + pair.asked]
    vectors = embed(embedder, texts)
    cosines: NDArray[np.float32] = (vectors[0::2] * vectors[1::2]).sum(axis=1)
    return cosines


def is_short(pair: Pair) -> bool:
    return max(len(pair.cached), len(pair.asked)) <= LONG_CHARS


def as_earlier_turns(embedder: Embedder, pairs: Sequence[Pair]) -> NDArray[np.float32]:
    """Return the cosine of each pair's two questions, 0 where the slot guard refuses."""
    guard = SlotGuard(load_tables())
    cached = embed(embedder, [pair.cached for pair in pairs])
    asked = embed(embedder, [pair.asked for pair in pairs])
    refused = np.array([bool(guard.compare(pair.asked, pair.cached)) for pair in pairs])
    cosines: NDArray[np.float32] = np.where(refused, np.float32(0), (cached * asked).sum(axis=1))
    return cosines


def embed(embedder: Embedder, texts: Sequence[str]) -> Embeddings:
    parts = [embedder.embed(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    return np.concatenate(parts)


def print_table(
    title: str,
    thresholds: Sequence[float],
    similarities: NDArray[np.float32],
    labels: NDArray[np.bool_],
    duplicates: int,
) -> None:
    print(f"\n{title}\nthreshold  right  wrong  wrong share of hits  duplicates found")
    for threshold in thresholds:
        hits = similarities >= threshold
        right, wrong = int((hits & labels).sum()), int((hits & ~labels).sum())
        share = wrong / max(1, right + wrong)
        found = right / duplicates
        print(f"{threshold:9.4f} {right:6d} {wrong:6d} {share:20.1%} {found:17.1%}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
