"""Fit the confidence: words and directions by logistic regressions, boosted trees on top of all."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from modelcache.calibration.asking import Asked
from modelcache.calibration.pairs import folds
from modelcache.decision.confidence import Directions, Pair, Words
from modelcache.decision.features import NAMES, NEIGHBOURS, RULES, View, features
from modelcache.decision.forest import Forest

SEED = 20261122
FOLDS = 8
SCORE_FOLDS = 5
# A token that is seen less often says nothing of other texts.
LEAST_SEEN = 5
WORDS_STRENGTH = 0.3
DIRECTIONS_STRENGTH = 0.0005
TREES: Mapping[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 16,
    "lambda_l2": 5.0,
    "feature_fraction": 0.5,
    "feature_fraction_bynode": 0.5,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "seed": SEED,
    "verbose": -1,
}
ROUNDS = 150
# What can only speak for one side, so that the fit holds beyond the kinds of pairs it has seen.
MONOTONE = {
    **dict.fromkeys(("similarity", "words_score", "directions_score", "same_words", "same_text"), 1),
    **dict.fromkeys(("words_alike", "content_alike", "pairs_alike", "triples_alike"), 1),
    **dict.fromkeys(("any_rule", *RULES), -1),
}
LEAST_PAIRS_IN_LEAF = 40
# The same pair in caches that hold this share of the others, so that a sparse neighbourhood is known
# too, and how much each counts.
SHARES = {1.0: 3.0, 0.1: 1.0, 0.02: 1.0, 0.004: 1.0}
# How much a question's nearest stranger counts, which is another question whatever it looks like.
STRANGER_WEIGHT = 0.3
DIGITS = 5
TINY = 1e-9

Views = Mapping[str, View]
Labels = NDArray[np.bool_]


class Fitted:
    """What one language's fit rates pairs by; ``tables`` is its JSON."""

    def __init__(
        self, words: Mapping[str, Any], directions: Mapping[str, Any], forest: Mapping[str, Any]
    ) -> None:
        self.tables: dict[str, Any] = {"words": words, "directions": directions, "forest": forest}
        self.tables |= {"slope": 1.0, "offset": 0.0}
        self._words = Words(words)
        self._directions = Directions(directions)
        self._forest = Forest(forest)

    def odds(self, pairs: Sequence[Pair], views: Views, floor: float) -> NDArray[np.float64]:
        """Return the log-odds that each pair is the same question, before they are calibrated."""
        scores = [_scores(pair, self._words, self._directions, views) for pair in pairs]
        return self._forest.predict(_rows(pairs, scores, views, floor))


def fit(asked: Sequence[Asked], views: Views, floor: float) -> Fitted:
    """Fit to all these questions."""
    labels = np.array([one.pair.same for one in asked])
    scores = _scores_of_others(asked, labels, views)
    random = np.random.default_rng(SEED)
    words, directions = _fit_words(asked, labels, views), _fit_directions(asked, labels)
    rows, weights = [], []
    for share, weight in SHARES.items():
        pairs = [_thinned(one, share, random) for one in asked]
        rows.append(_rows(pairs, scores, views, floor))
        weights.append(_balanced(labels) * weight)
    known = {one.pair.cached for one in asked}
    strangers = [pair for one in asked for pair in one.strangers if pair.cached in known]
    by = Words(words), Directions(directions)
    stranger_scores = [_scores(pair, *by, views) for pair in strangers]
    rows.append(_rows(strangers, stranger_scores, views, floor))
    weights.append(np.full(len(strangers), STRANGER_WEIGHT))
    targets = np.concatenate([np.tile(labels, len(SHARES)), np.zeros(len(strangers))]).astype(float)
    data = lightgbm.Dataset(np.concatenate(rows), targets, weight=np.concatenate(weights))
    parameters = {
        **TREES,
        "min_data_in_leaf": LEAST_PAIRS_IN_LEAF * len(SHARES),
        "monotone_constraints": [MONOTONE.get(name, 0) for name in NAMES],
    }
    booster = lightgbm.train(parameters, data, num_boost_round=ROUNDS)
    return Fitted(words, directions, _forest_tables(booster.dump_model()["tree_info"]))


def odds_of_others(asked: Sequence[Asked], views: Views, floor: float) -> list[NDArray[np.float64]]:
    """Return the log-odds of each question's candidates by a fit to questions of other folds only."""
    fold = np.array(folds([one.pair for one in asked], FOLDS))
    found: list[NDArray[np.float64]] = [np.empty(0)] * len(asked)
    for number in sorted(set(fold.tolist())):
        fitted = fit([one for one, of in zip(asked, fold, strict=True) if of != number], views, floor)
        for row in np.flatnonzero(fold == number).tolist():
            found[row] = fitted.odds(asked[row].candidates, views, floor)
    return found


def platt(odds: NDArray[np.float64], labels: Labels) -> tuple[float, float]:
    """Return slope and offset that make log-odds those of the labels, duplicates and others of equal weight.

    Platt (1999), "Probabilistic outputs for support vector machines".
    """
    model = LogisticRegression(C=1e6).fit(odds[:, None], labels, sample_weight=_balanced(labels))
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _balanced(labels: Labels) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.where(labels, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    return weights


def _thinned(asked: Asked, share: float, random: np.random.Generator) -> Pair:
    """Return the pair as it is in a cache with this share of the entries."""
    kept = asked.cosines[random.random(len(asked.cosines)) < share][:NEIGHBOURS]
    return replace(asked.own, others=tuple(kept.tolist()))


def _rows(
    pairs: Sequence[Pair], scores: Iterable[Sequence[float]], views: Views, floor: float
) -> NDArray[np.float32]:
    """Return the features of pairs, (len(pairs), features); ``scores`` by words and by directions."""
    return np.stack(
        [
            features(
                views[pair.asked], views[pair.cached], pair.rules, pair.similarity, pair.others, floor, *both
            )
            for pair, both in zip(pairs, scores, strict=True)
        ]
    )


def _scores(pair: Pair, words: Words, directions: Directions, views: Views) -> tuple[float, float]:
    return words.score(views[pair.asked], views[pair.cached]), directions.score(pair.embeddings)


def _fit_words(asked: Sequence[Asked], labels: Labels, views: Views) -> dict[str, Any]:
    """Weigh the tokens that only one of the two texts has, as ``Words.score`` takes them."""
    bags = [views[one.own.asked].tokens ^ views[one.own.cached].tokens for one in asked]
    seen = Counter(token for bag in bags for token in bag)
    place = {token: number for number, token in enumerate(sorted(t for t in seen if seen[t] >= LEAST_SEEN))}
    entries = [
        (1 / math.sqrt(len(bag)), row, place[token])
        for row, bag in enumerate(bags)
        for token in bag
        if token in place
    ]
    weights, rows, columns = zip(*entries, strict=True)
    matrix = csr_matrix((weights, (rows, columns)), shape=(len(bags), len(place)))
    model = LogisticRegression(C=WORDS_STRENGTH, max_iter=1000).fit(matrix, labels)
    return {
        "base": float(model.intercept_[0]),
        "differing": {token: round(float(model.coef_[0, number]), DIGITS) for token, number in place.items()},
    }


def _fit_directions(asked: Sequence[Asked], labels: Labels) -> dict[str, Any]:
    """Weigh products and differences of the embeddings' coordinates, as ``Directions.score`` takes them."""
    pairs = [one.own.embeddings for one in asked]
    one, other = (np.stack([pair[side] for pair in pairs if pair is not None]) for side in (0, 1))
    seen = np.concatenate([one * other, np.abs(one - other)], axis=1)
    means, spreads = seen.mean(axis=0), seen.std(axis=0) + TINY
    model = LogisticRegression(C=DIRECTIONS_STRENGTH, max_iter=1000)
    model.fit((seen - means) / spreads, labels, sample_weight=_balanced(labels))
    weights = (model.coef_[0] / spreads).astype(float)
    products, differences = np.split(weights.round(DIGITS), 2)
    return {
        "base": float(model.intercept_[0] - means @ weights),
        "products": products.tolist(),
        "differences": differences.tolist(),
    }


def _scores_of_others(asked: Sequence[Asked], labels: Labels, views: Views) -> NDArray[np.float64]:
    """Return each pair's scores by words and by directions as told by the pairs of other folds, (n, 2).

    Its own label is not in them.
    """
    fold = np.array(folds([one.pair for one in asked], SCORE_FOLDS))
    scores = np.empty((len(asked), 2))
    for number in sorted(set(fold.tolist())):
        others = np.flatnonzero(fold != number)
        fitted = [asked[row] for row in others.tolist()]
        words = Words(_fit_words(fitted, labels[others], views))
        directions = Directions(_fit_directions(fitted, labels[others]))
        for row in np.flatnonzero(fold == number).tolist():
            scores[row] = _scores(asked[row].own, words, directions, views)
    return scores


def _forest_tables(trees: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay LightGBM's trees out in a row of nodes, as ``Forest`` reads them."""
    tables: dict[str, Any] = {
        name: [] for name in ("roots", "feature", "threshold", "left", "right", "value")
    }
    depths = [0]

    def add(node: Mapping[str, Any], depth: int) -> int:
        number = len(tables["feature"])
        is_leaf = "leaf_value" in node
        tables["feature"].append(0 if is_leaf else node["split_feature"])
        tables["threshold"].append(0.0 if is_leaf else node["threshold"])
        tables["value"].append(round(node["leaf_value"], DIGITS) if is_leaf else 0.0)
        tables["left"].append(number)
        tables["right"].append(number)
        depths.append(depth)
        if not is_leaf:
            tables["left"][number] = add(node["left_child"], depth + 1)
            tables["right"][number] = add(node["right_child"], depth + 1)
        return number

    for tree in trees:
        tables["roots"].append(add(tree["tree_structure"], 0))
    return tables | {"depth": max(depths)}
