"""Serve a hit only where few enough of all requests get a wrong answer: the estimates and the rule.

An observation is a score and whether the answer was right. For one entry there are few, so that
P(right | score) is fitted on all of a model's observations, as a logistic curve over the logit of the score,
and each entry has an offset of its own on it, which its own observations move. The fit is after vCache
(arXiv 2502.03771), which fits each entry alone; the shared curve and the budget over all requests are ours.

Nothing here reads or writes anything. Scores are in 0..1, and any score does that grows with P(right).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A score counts as no surer than this, and no less sure than 1 minus it.
SUREST = 1 - 1e-4
# The curve before anything was observed: its slope over the logit, and how far it may be from it.
SLOPE = 1.5
SLOPE_SD = 1.0
LEVEL_SD = 3.0
# How far an entry's offset usually is from the curve, in units of the logit of P(right).
OFFSET_SD = 1.5
# P(right) that the threshold of all is taken to stand for, where an entry's own is sought.
RIGHT_AT_THRESHOLD = 0.9
# An entry that was never right over a score that it was wrong at keeps this share of the rest to 1 away.
MARGIN = 0.1
STEPS = 25
PRECISION = 1e-6


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation, as the estimates take it."""

    score: float
    correct: bool
    weight: float = 1.0
    """Less than 1 for an old one: answers age."""


def logit(score: float) -> float:
    """Return the score on the scale on which the curves are logistic."""
    score = min(max(score, 1 - SUREST), SUREST)
    return math.log(score / (1 - score))


def sigmoid(value: float) -> float:
    """Return the probability of these log odds."""
    return 1 / (1 + math.exp(-min(max(value, -50.0), 50.0)))


def offset(own: Sequence[Evidence], level: Sequence[float]) -> tuple[float, float]:
    """Return an entry's offset from the curve, and its variance, by its own observations.

    ``level`` is what the curve says at each of them, in log odds. The mode of the posterior, by Newton's
    method.
    """
    prior = 1 / OFFSET_SD**2
    value, precision = 0.0, prior
    for _ in range(STEPS if own else 0):
        gradient, precision = -value * prior, prior
        for one, at in zip(own, level, strict=True):
            right = sigmoid(at + value)
            gradient += one.weight * (one.correct - right)
            precision += one.weight * right * (1 - right)
        step = gradient / precision
        value += min(max(step, -1.0), 1.0)
        if abs(step) < PRECISION:
            break
    return value, 1 / precision


def own_threshold(own: Sequence[Evidence], threshold: float) -> float:
    """Return the score from which on an entry answers, by its own observations; not under ``threshold``.

    It is where P(right) is what it is at ``threshold`` for an entry of which nothing is known. Where no right
    answer was seen at or over the highest score of a wrong one, it is also some way over that.
    """
    start, odds = logit(threshold), logit(RIGHT_AT_THRESHOLD)
    value, _ = offset(own, [odds + SLOPE * (logit(one.score) - start) for one in own])
    found = max(threshold, sigmoid(start - value / SLOPE))
    wrong = max((one.score for one in own if not one.correct), default=None)
    if wrong is not None and not any(one.correct and one.score >= wrong for one in own):
        found = max(found, wrong + MARGIN * (1 - wrong))
    return found
