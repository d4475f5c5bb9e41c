"""Hard pairs, and one paraphrase each of a thousand questions: real questions, with labels."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.thresholds import SEED, balance
from benchmarks.trust.hits import Hits
from benchmarks.trust.peers import peer_hits
from benchmarks.trust.product import Product, Truth, hits_of
from benchmarks.trust.split import Split
from benchmarks.trust.suites import DATA
from modelcache.records.dialogue import normalise
from tests.support.client import user
from tests.support.question_pairs import Pair, read_pairs

PARAPHRASES = 1000


def hard_pairs(product: Product, folder: Path, language: str, limit: int) -> list[Hits]:
    """Ask a cache of the first questions of all pairs as many duplicates as non-duplicates.

    A hit on the pair's own question is right or wrong by its label; one on any other has no label. An
    entry of another pair that equals what is asked is an exact hit and decides nothing: it is removed
    while that is asked. ``limit``: use only so many pairs; 0: all.
    """
    pairs, split = _shuffled(folder, language)
    pairs = pairs[: limit or None]
    asked = balance([pair for pair in pairs if split.is_asked(pair)])
    cached = list(dict.fromkeys(normalise(pair.cached) for pair in pairs))
    place = {text: number for number, text in enumerate(cached)}
    own = [place[normalise(pair.cached)] for pair in asked]
    equal = {
        number: place[normalise(pair.asked)]
        for number, pair in enumerate(asked)
        if place.get(normalise(pair.asked), own[number]) != own[number]
    }
    truth = Truth(own, np.array([pair.same for pair in asked]), others_are_wrong=False)
    entries, questions = [user(text) for text in cached], [user(pair.asked) for pair in asked]

    model = f"hard pairs, {language}"
    ids = product.insert(model, entries)
    places = {id_: number for number, id_ in enumerate(ids)}
    product.embed([pair.asked for pair in asked])
    swept = product.sweep(model, questions)
    default = product.ask(model, questions)
    for number, entry in equal.items():
        product.remove(model, ids[entry])
        for replies, [reply] in zip(swept, product.sweep(model, [questions[number]]), strict=True):
            replies[number] = reply
        [default[number]] = product.ask(model, [questions[number]])
        [ids[entry]] = product.insert(model, [entries[entry]])
        places[ids[entry]] = entry
    return [
        *peer_hits(product, entries, questions, truth, equal),
        hits_of(swept, default, places, truth),
    ]


def paraphrases(product: Product, folder: Path, language: str, limit: int) -> list[Hits]:
    """Ask a cache of up to a thousand unlinked questions a paraphrase of each; any other entry is wrong."""
    pairs, split = _shuffled(folder, language)
    of_component = {split.component(pair): pair for pair in pairs if pair.same and split.is_asked(pair)}
    chosen = _unlike(list(of_component.values()))[: limit or PARAPHRASES]
    entries, questions = [user(pair.cached) for pair in chosen], [user(pair.asked) for pair in chosen]
    truth = Truth(range(len(chosen)), np.ones(len(chosen), np.bool_), others_are_wrong=True)
    model = f"paraphrases, {language}"
    places = {id_: number for number, id_ in enumerate(product.insert(model, entries))}
    product.embed([pair.asked for pair in chosen])
    swept, default = product.sweep(model, questions), product.ask(model, questions)
    return [*peer_hits(product, entries, questions, truth), hits_of(swept, default, places, truth)]


def _unlike(pairs: Sequence[Pair]) -> list[Pair]:
    """Drop pairs that ask the same as one before, which no label says.

    These were found by reading the entries of other pairs that are nearest to each question by cosine, and
    those that our own decision was surest of.
    """
    known = frozenset((DATA / "unlabelled_duplicates.txt").read_text(encoding="utf-8").split())
    kept: list[Pair] = []
    for pair in tqdm(pairs, desc="choosing", leave=False, disable=None):
        if not any(_key(pair, other) in known or _key(other, pair) in known for other in kept):
            kept.append(pair)
    return kept


def _key(asked: Pair, cached: Pair) -> str:
    """Name two questions without telling them: the texts are not part of the project."""
    texts = "\t".join((normalise(asked.asked), normalise(cached.cached)))
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


def _shuffled(folder: Path, language: str) -> tuple[list[Pair], Split]:
    pairs = read_pairs(folder, language)
    split = Split.of(pairs, language)
    random.Random(SEED).shuffle(pairs)
    return pairs, split
