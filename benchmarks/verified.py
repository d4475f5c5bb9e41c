"""How many hits a bounded error rate leaves, and whether it holds: ``python -m benchmarks.verified``.

A topic is what duplicates connect, its wordings are their questions; topics whose questions are labelled as
non-duplicates of each other are in it. In each of 20 orders, 10,000 questions are asked of an empty cache:
the topic is drawn by Zipf's law, then one of its wordings. The nearest cached question decides; a hit is
right if it is of the same topic; a miss is followed by the insert of its answer. Half of the topics, by a
hash, chose the constants of ``modelcache.learning.verified``; the other half is asked here.

Beside ours: the rule of vCache (arXiv 2502.03771), for each entry alone, and the same where equal questions
are answered without it, which is more than it promises. No rule can reach more than one miss a topic.
"""

import argparse
import math
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from modelcache.embedding.base import Embedder
from modelcache.embedding.factory import get_embedder
from modelcache.hashing import digest
from modelcache.learning.verified import Curve, Evidence, Verifier, logit, sigmoid
from modelcache.settings import load_settings
from tests.support.question_pairs import FILES, HOW_TO_GET, data_folder, read_pairs

ERROR_RATES = (0.01, 0.02, 0.05)
SEED = 20261122
BATCH = 64
POOL_OBSERVATIONS = 2000
# A service fits anew once a second; here after so many observations, and a twentieth of all.
REFIT_AFTER = 20

# The published rule: confidence levels tried, with the normal quantile of each; observations needed.
LEVELS = ((0.5, 0.0), (0.8, 0.842), (0.9, 1.282), (0.95, 1.645), (0.98, 2.054), (0.99, 2.326), (0.999, 3.09))
NEEDED = 6


@dataclass(frozen=True, slots=True)
class Sizes:
    topics: int
    questions: int
    orders: int


FULL = Sizes(topics=1500, questions=10_000, orders=20)
QUICK = Sizes(topics=200, questions=1000, orders=3)


@dataclass(frozen=True, slots=True)
class Topics:
    """Wordings with the cosines of each two, and the topic of each."""

    cosines: NDArray[np.float32]
    topic: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outcome:
    hit_rate: float
    wrong_share: float


Decide = Callable[[int, float, int], bool]
"""Whether to serve: the entry, its cosine, the question."""
Learn = Callable[[int, float, bool], None]
"""Take an observation: the entry, its cosine, whether it was right."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, no figures to quote")
    parser.add_argument(
        "--tuning", action="store_true", help="ask the half of the topics that constants are chosen on"
    )
    asked = parser.parse_args()
    folder = data_folder()
    if folder is None:
        print(HOW_TO_GET, file=sys.stderr)
        return 1
    sizes = QUICK if asked.quick else FULL
    embedder = get_embedder(load_settings("demo"))
    embedder.open()
    columns = ("language", "error rate", "rule", "hits, median", "wrong, median", "wrong, most", "within")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for language in FILES:
        topics = prepare(choose(folder, language, sizes.topics, tuning=asked.tuning), embedder)
        for row in measure(language, topics, sizes):
            print(row, flush=True)
    embedder.close()
    return 0


def choose(folder: Path, language: str, count: int, *, tuning: bool = False) -> list[list[str]]:
    """Return topics of one half: first those near to each other, then those of many wordings."""
    pairs = read_pairs(folder, language)
    texts = sorted({text for pair in pairs for text in (pair.cached, pair.asked)})
    same = Groups(texts)
    for pair in pairs:
        if pair.same:
            same.join(pair.cached, pair.asked)
    # Topics that non-duplicates link are asked together or not at all.
    family = Groups(texts)
    linked: set[str] = set()
    for pair in pairs:
        family.join(pair.cached, pair.asked)
        if not pair.same and same.of(pair.cached) != same.of(pair.asked):
            linked |= {same.of(pair.cached), same.of(pair.asked)}
    wordings: defaultdict[str, list[str]] = defaultdict(list)
    families: defaultdict[str, set[str]] = defaultdict(set)
    for text in texts:
        wordings[same.of(text)].append(text)
        families[family.of(text)].add(same.of(text))
    chosen: list[tuple[bool, bool, str, str]] = []
    for name, members in families.items():
        if (int(digest("half", name), 16) % 2 == 0) is tuning:
            has_duplicates = any(len(wordings[topic]) > 1 for topic in members)
            for topic in members:
                near = topic in linked and has_duplicates
                chosen.append((not near, len(wordings[topic]) == 1, digest(topic), topic))
    return [wordings[topic] for *_, topic in sorted(chosen)[:count]]


class Groups:
    """Texts, joined two by two; a group is named by one of them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._parent = {text: text for text in texts}

    def of(self, text: str) -> str:
        while self._parent[text] != text:
            self._parent[text] = text = self._parent[self._parent[text]]
        return text

    def join(self, one: str, other: str) -> None:
        self._parent[max(self.of(one), self.of(other))] = min(self.of(one), self.of(other))


def prepare(wordings: Sequence[Sequence[str]], embedder: Embedder) -> Topics:
    """Embed all wordings."""
    texts = [text for words in wordings for text in words]
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    vectors = np.concatenate([embedder.embed(batch) for batch in tqdm(batches, unit="batch", disable=None)])
    topic = np.repeat(np.arange(len(wordings)), [len(words) for words in wordings])
    return Topics(vectors @ vectors.T, topic)


def measure(language: str, topics: Topics, sizes: Sizes) -> Iterator[str]:
    """Yield a row of the table for each error rate and rule."""
    rules: dict[str, Callable[[float, int, NDArray[np.bool_]], tuple[Decide, Learn]]] = {
        "ours": lambda rate, seed, cached: ours(rate, cached),
        "published": lambda rate, seed, cached: published(rate, seed),
        "published, equal questions served": lambda rate, seed, cached: published(rate, seed, cached),
    }
    orders = [draw(topics, seed, sizes.questions) for seed in range(sizes.orders)]
    most = median(1 - len(np.unique(topics.topic[order])) / len(order) for order in orders)
    yield f"| {language} | | one miss a topic | {most:.1%} | | | |"
    for rate in ERROR_RATES:
        for name, rule in rules.items():
            outcomes = []
            for seed, order in enumerate(
                tqdm(orders, desc=f"{language} {rate} {name}", disable=None, leave=False)
            ):
                cached = np.zeros(len(topics.topic), np.bool_)
                outcomes.append(ask(topics, order, cached, *rule(rate, seed, cached)))
            wrong = [outcome.wrong_share for outcome in outcomes]
            yield (
                f"| {language} | {rate} | {name} | {median(one.hit_rate for one in outcomes):.1%} "
                f"| {median(wrong):.2%} | {max(wrong):.2%} "
                f"| {sum(share <= rate for share in wrong)} of {len(wrong)} |"
            )


def draw(topics: Topics, seed: int, count: int) -> NDArray[np.int64]:
    """Return the questions of one order: topics by Zipf's law, their ranks and wordings at random."""
    chance = np.random.default_rng((SEED, seed))
    number = int(topics.topic.max()) + 1
    shares = 1 / np.arange(1, number + 1)
    asked = chance.permutation(number)[chance.choice(number, count, p=shares / shares.sum())]
    starts = np.searchsorted(topics.topic, np.arange(number + 1))
    return np.array([chance.integers(starts[topic], starts[topic + 1]) for topic in asked])


def ask(
    topics: Topics,
    order: Sequence[int] | NDArray[np.int64],
    cached: NDArray[np.bool_],
    decide: Decide,
    learn: Learn,
) -> Outcome:
    """Ask these questions one after the other of the cache, which fills."""
    hits = wrong = 0
    for question in map(int, order):
        if cached.any():
            cosines = np.where(cached, topics.cosines[question], -1)
            entry = int(cosines.argmax())
            if cached[question]:
                entry = question
            right = bool(topics.topic[entry] == topics.topic[question])
            score = min(max(float(cosines[entry]), 0.0), 1.0)
            if decide(entry, score, question):
                hits += 1
                wrong += not right
                continue
            learn(entry, score, right)
        cached[question] = True
    return Outcome(hits / len(order), wrong / len(order))


def ours(rate: float, cached: NDArray[np.bool_]) -> tuple[Decide, Learn]:
    """Return the rule of ``modelcache.learning.verified``."""
    verifier = Verifier()
    pool: list[Evidence] = []
    of_entry: defaultdict[int, list[Evidence]] = defaultdict(list)
    fitted = 0

    def decide(entry: int, score: float, question: int) -> bool:
        if cached[question]:
            return verifier.serves_exact(str(question), (), rate)
        return verifier.serves(str(question), score, of_entry.get(entry, ()), rate)

    def learn(entry: int, score: float, right: bool) -> None:
        nonlocal fitted
        evidence = Evidence(score, right)
        pool.append(evidence)
        of_entry[entry].append(evidence)
        if len(pool) >= fitted * 1.05 + REFIT_AFTER:
            fitted = len(pool)
            verifier.curve = Curve.fit(pool[-POOL_OBSERVATIONS:])

    return decide, learn


def published(rate: float, seed: int, cached: NDArray[np.bool_] | None = None) -> tuple[Decide, Learn]:
    """Return vCache's rule; given what is cached, equal questions are served."""
    chance = random.Random(seed)
    of_entry: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    known: dict[tuple[int, int, float], float] = {}

    def decide(entry: int, score: float, question: int) -> bool:
        if cached is not None and cached[question]:
            return True
        key = (entry, len(of_entry[entry]), score)
        if key not in known:
            known[key] = explore_share(score, of_entry[entry], rate)
        return chance.random() > known[key]

    def learn(entry: int, score: float, right: bool) -> None:
        of_entry[entry].append((score, right))

    return decide, learn


def explore_share(score: float, observed: Sequence[tuple[float, bool]], rate: float) -> float:
    """Return tau of the published rule: how likely to ask the model."""
    if len(observed) < NEEDED:
        return 1.0
    # On the logit, where cosines near 1 are apart; a weak prior, since separated labels have no optimum.
    scores = np.array([logit(one) for one, _ in observed])
    labels = np.array([right for _, right in observed], np.float64)
    middle = 3.5
    design = np.stack([np.ones_like(scores), scores - middle], axis=1)
    start, prior = np.array([0.0, 1.0]), np.diag([1 / 9, 1.0])
    at = start.copy()
    for _ in range(20):
        right = 1 / (1 + np.exp(-design @ at))
        hessian = (design * (right * (1 - right))[:, None]).T @ design + prior
        step = np.linalg.solve(hessian, design.T @ (labels - right) - prior @ (at - start))
        at = at + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-5:
            break
    level, slope = float(at[0]), max(float(at[1]), 1e-3)
    gradient = np.array([-1 / slope, level / slope**2])
    deviation = math.sqrt(float(gradient @ np.linalg.inv(hessian) @ gradient))
    over = logit(score) - middle + level / slope
    lowest = max(sure * sigmoid(slope * (over - z * deviation)) for sure, z in LEVELS)
    return max(0.0, 1 - rate / (1 - lowest))


if __name__ == "__main__":
    sys.exit(main())
