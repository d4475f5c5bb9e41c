"""Fit the confidence of one language: how much the reader and the cosine say together."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from modelcache.calibration.curve import Rated
from modelcache.calibration.reading import Seen, rated
from modelcache.decision.confidence import FORM_ONLY, LanguageModel

# The largest suites would decide alone.
MOST_OF_A_SUITE = 500
# The weights are pulled to nothing by as much as so few pairs pull elsewhere.
STRENGTH = 1e-3
# Cosines of questions lie in a narrow band: centred and widened, a step in them is as large as one in odds.
CENTRE, WIDTH = 0.85, 0.05
# At a confidence of one half so few of the hits are wrong, in every suite.
HALF, WRONG_AT_HALF = 0.5, 0.05
# In log-odds, how far the confidence is lowered for that at most, and in which steps.
MOST_STRICT, STRICT_STEP = 6.0, 0.05
# What the reader says for a pair counts up to this, in log-odds.
CEILINGS = (0.0, 0.5, 1.0, 10.0)
# So few of the pairs that are rated so high or higher are further away than is noted.
REACHED = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
FURTHEST = 0.005
DIGITS = 5

Floats = NDArray[np.float64]


def fit(seen: Sequence[Seen], wrong_shares: tuple[float, float], part: float = 1.0) -> dict[str, Any]:
    """Return what ``LanguageModel`` takes, with the threshold that its pairs alone would have.

    A suite counts by its pairs, up to so many. No weight is negative: likeness never speaks against a pair.
    Of the reader's ceilings it takes the one by which most is found at so few wrong hits. ``part`` is how
    much of its fitted weight the reader keeps; the cosine makes up for the rest.
    """
    tables = [_fit(seen, ceiling, part) for ceiling in CEILINGS]
    found = [_most_right(rated(seen, LanguageModel(one)), wrong_shares) for one in tables]
    return _made_strict(seen, tables[found.index(max(found))])


def _most_right(curve: Rated, wrong_shares: tuple[float, float]) -> int:
    """Return how many hits are right at the best threshold of a language alone."""
    return max((point.right for point in curve.without_traps().allowed(*wrong_shares)), default=0)


def _made_strict(seen: Sequence[Seen], tables: dict[str, Any]) -> dict[str, Any]:
    """Lower the confidence until, at one half, few hits are wrong in every suite.

    The pairs are half alike and half not. Among what a service finds near there are more look-alikes: how
    many, nobody knows beforehand. So a confidence of one half is made to mean the worst of the suites.
    """
    for shift in np.arange(0, MOST_STRICT, STRICT_STEP):
        unread, base = tables["unread"]
        lowered = tables | {
            "base": round(float(tables["base"] - shift), DIGITS),
            "unread": [unread, round(float(base - shift), DIGITS)],
        }
        curve = rated(seen, LanguageModel(lowered)).without_traps()
        if curve.allows(curve.at(HALF), WRONG_AT_HALF, WRONG_AT_HALF):
            break
    return lowered | {"reaching": _reaching(seen, lowered)}


def _fit(seen: Sequence[Seen], ceiling: float, part: float) -> dict[str, Any]:
    fitted = [one for one in seen if one.is_fitted]
    labels = np.array([one.pair.same for one in fitted], float)
    odds = np.array([min(one.log_odds or 0.0, ceiling) for one in fitted], float)
    cosines = (np.array([one.cosine for one in fitted]) - CENTRE) / WIDTH
    counts = Counter(one.suite for one in fitted)
    weights = np.array([min(1.0, MOST_OF_A_SUITE / counts[one.suite]) for one in fitted])
    weights /= weights.sum()
    whole = _logistic(np.stack([odds, cosines], axis=1), labels, weights)[0]
    read = part * whole
    cosine, base = _logistic(cosines[:, None], labels, weights, read * odds)
    unread, base_unread = _logistic(cosines[:, None], labels, weights)
    tables: dict[str, Any] = {
        "read": round(read, DIGITS),
        "ceiling": ceiling,
        "cosine": round(cosine / WIDTH, DIGITS),
        "base": round(base - cosine * CENTRE / WIDTH, DIGITS),
        "unread": [round(unread / WIDTH, DIGITS), round(base_unread - unread * CENTRE / WIDTH, DIGITS)],
        "threshold": FORM_ONLY,
        "reaching": [],
    }
    return tables


def _logistic(values: Floats, labels: Floats, weights: Floats, known: Floats | float = 0.0) -> list[float]:
    """Return the weights of the values, none negative, and the base of the likeliest log-odds.

    ``known`` is a part of the log-odds that is given.
    """

    def loss(found: Floats) -> tuple[float, Floats]:
        odds = values @ found[:-1] + found[-1] + known
        missed = weights * (1 / (1 + np.exp(-odds)) - labels)
        pulled = STRENGTH * found[:-1]
        total = float(weights @ (np.logaddexp(0, odds) - labels * odds) + pulled @ found[:-1] / 2)
        return total, np.append(missed @ values + pulled, missed.sum())

    count = values.shape[1]
    bounds = [(0.0, None)] * count + [(None, None)]
    found = minimize(loss, np.append(np.full(count, 0.5), 0.0), jac=True, method="L-BFGS-B", bounds=bounds)
    weights_found: list[float] = found.x.tolist()
    return weights_found


def _reaching(seen: Sequence[Seen], tables: dict[str, Any]) -> list[tuple[float, float]]:
    """Return, by confidence, the cosine under which hardly a pair is rated so high."""
    model = LanguageModel(tables)
    fitted = [one for one in seen if one.is_fitted]
    cosines = np.array([one.cosine for one in fitted])
    rated = np.array([model.confidence(one.log_odds or 0.0, one.cosine) for one in fitted])
    reached = [share for share in REACHED if (rated >= share).any()]
    least = [float(np.quantile(cosines[rated >= share], FURTHEST)) for share in reached]
    return [
        (share, round(cosine, 4)) for share, cosine in zip(reached, np.maximum.accumulate(least), strict=True)
    ]
