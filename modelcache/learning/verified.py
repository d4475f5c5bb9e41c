"""Serve a hit only where few enough of all requests get a wrong answer: the estimates and the rule.

An observation is a score and whether the answer was right. After vCache (arXiv 2502.03771), which serves
where a lower bound of P(right | score) is high enough and asks the model elsewhere, to learn ("exploring").
What is different here: vCache fits a curve for each entry alone, which needs many questions for each. Here
one curve is fitted on all of a model's observations, with an upper bound of what is wrong, and an entry's own
observations only move it; and the promise is kept over all requests, so that those which cost no risk, such
as exact hits, pay for others.

Nothing here reads or writes anything. Scores are in 0..1, and any score does that grows with P(right).
"""

import math
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from cachetools import LRUCache

# A score counts as no surer than this, and no less sure than 1 minus it.
SUREST = 1 - 1e-4

# The pooled curve. Scores are cut into steps of about so many observations, no more than so many steps.
STEP_OBSERVATIONS = 40
MOST_STEPS = 20
# One-sided 95 % of a normal distribution: how sure each step's upper bound is.
UPPER_Z = 1.645
INTERVAL_Z = 1.959964
# With fewer observations all is explored.
LEAST_OBSERVATIONS = 60

# How far an entry's offset usually is from the curve, in units of the logit of P(right).
OFFSET_SD = 1.0
NEWTON_STEPS = 25
PRECISION = 1e-6

# The share of the promised error rate that is spent. The rest is for luck, which repeats itself: what is
# wrong for a question that is asked often is wrong often.
SPENT_SHARE = 0.7
# What is likelier to be wrong than this is explored, whatever may be spent.
MOST_RISK = 0.5
# Requests by which the cut between serving and exploring is set, and for which unspent allowance is kept.
WINDOW = 3000
RECUT_EVERY = 50
KEPT_QUESTIONS = 10_000

# An entry's own threshold: the slope of P(right) over the logit of the score, P(right) at the threshold of
# all, and the share of the rest to 1 that an entry keeps away from a score it was wrong at.
SLOPE = 1.5
RIGHT_AT_THRESHOLD = 0.9
MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation, as the estimates take it."""

    score: float
    correct: bool
    weight: float = 1.0
    """Less than 1 for an old one: answers age."""


def logit(share: float) -> float:
    """Return the log odds of a share, or of a score."""
    share = min(max(share, 1 - SUREST), SUREST)
    return math.log(share / (1 - share))


def sigmoid(value: float) -> float:
    """Return the probability of these log odds."""
    return 1 / (1 + math.exp(-min(max(value, -50.0), 50.0)))


@dataclass(slots=True)
class _Step:
    start: float
    wrong: float
    total: float

    @property
    def share(self) -> float:
        return (self.wrong + 0.5) / (self.total + 1)


@dataclass(frozen=True, slots=True)
class Curve:
    """P(wrong | score) of a model's entries: falls in steps as the score grows."""

    starts: tuple[float, ...] = ()
    """The score that each step begins at; under the first, all is taken to be wrong."""
    likely: tuple[float, ...] = (1.0,)
    upper: tuple[float, ...] = (1.0,)
    weight: float = 0.0
    """How many observations it was fitted on, by their weights."""

    @classmethod
    def fit(cls, pool: Sequence[Evidence]) -> "Curve":
        """Fit by pooling adjacent violators (Ayer et al. 1955), with Wilson's upper bound of each step."""
        ordered = sorted(pool, key=lambda one: one.score)
        count = max(1, min(MOST_STEPS, len(ordered) // STEP_OBSERVATIONS))
        steps: list[_Step] = []
        for number in range(count if ordered else 0):
            chunk = ordered[number * len(ordered) // count : (number + 1) * len(ordered) // count]
            wrong = sum(one.weight for one in chunk if not one.correct)
            steps.append(_Step(chunk[0].score, wrong, sum(one.weight for one in chunk)))
            while len(steps) > 1 and steps[-2].share <= steps[-1].share:
                last = steps.pop()
                steps[-1].wrong += last.wrong
                steps[-1].total += last.total
        upper = accumulate((wilson(step.share, step.total, UPPER_Z)[1] for step in steps), min)
        return cls(
            tuple(step.start for step in steps),
            (1.0, *(step.share for step in steps)),
            (1.0, *upper),
            sum(step.total for step in steps),
        )

    def at(self, score: float) -> tuple[float, float]:
        """Return the likely share of wrong answers at a score, and its upper bound."""
        place = bisect_right(self.starts, score)
        return self.likely[place], self.upper[place]


def wilson(share: float, total: float, z: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of so many, for this normal quantile; 0 to 1 of none."""
    if not total:
        return 0.0, 1.0
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def wilson_95(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share of which ``count`` of ``total`` were seen.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    return wilson(count / total if total else 0.0, total, INTERVAL_Z)


def offset(own: Sequence[Evidence], levels: Sequence[float], sd: float = OFFSET_SD) -> float:
    """Return how far an entry is from a curve, by its own observations: 0 where there are none.

    ``levels`` is what the curve says at each of them, the log odds of being right. The mode of the
    posterior under a normal prior of this deviation, by Newton's method.
    """
    value = 0.0
    for _ in range(NEWTON_STEPS if own else 0):
        gradient, precision = -value / sd**2, 1 / sd**2
        for one, level in zip(own, levels, strict=True):
            right = sigmoid(level + value)
            gradient += one.weight * (one.correct - right)
            precision += one.weight * right * (1 - right)
        step = min(max(gradient / precision, -1.0), 1.0)
        value += step
        if abs(step) < PRECISION:
            break
    return value


def risk(score: float, own: Sequence[Evidence], curve: Curve) -> float:
    """Return P(wrong), estimated with an upper bound, of an entry with these observations at this score."""
    moved = offset(own, [-logit(curve.at(one.score)[0]) for one in own])
    _, upper = curve.at(score)
    return sigmoid(logit(upper) - moved)


def exact_risk(own: Sequence[Evidence]) -> float:
    """Return P(wrong) for an equal question: none unless its own observations speak against it."""
    wrong = sum(one.weight for one in own if not one.correct)
    return (wrong + 0.5) / (sum(one.weight for one in own) + 1) if wrong else 0.0


@dataclass(slots=True)
class Budget:
    """Keeps the wrong answers within a share of all requests to one model; safe to call from many threads.

    Each request allows for a little risk, and a served one takes what it is estimated to cost; what is
    allowed is never exceeded. Among the recent requests those of the least risk are the ones to serve, so
    that the allowance buys the most hits. A question that was already served without asking the model counts
    as much riskier, since it is likely to be asked again: it is soon verified, and an exact hit from then on.

    Several processes that each keep the share of their own requests keep it together.
    """

    _allowance: float = 0.0
    _cut: float = 0.0
    _requests: int = 0
    _recent: "deque[tuple[float, float]]" = field(default_factory=lambda: deque(maxlen=WINDOW))
    _unverified: "LRUCache[str, int]" = field(default_factory=lambda: LRUCache(KEPT_QUESTIONS))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serves(self, question: str, estimate: float, error_rate: float) -> bool:
        """Tell whether to serve this question (its fingerprint) at this risk; False is to explore."""
        with self._lock:
            rate = SPENT_SHARE * error_rate
            self._allowance = min(self._allowance + rate, rate * WINDOW)
            served = self._unverified.get(question, 0)
            weighed = estimate * (1 + served)
            self._recent.append((weighed, estimate))
            self._requests += 1
            if self._requests % RECUT_EVERY == 0:
                self._cut = _cut(sorted(self._recent), rate)
            if not estimate:
                return True
            if weighed < self._cut and estimate <= min(self._allowance, MOST_RISK):
                self._allowance -= estimate
                self._unverified[question] = served + 1
                return True
            self._unverified.pop(question, None)
            return False


def _cut(recent: Sequence[tuple[float, float]], rate: float) -> float:
    """Return the risk from which on to explore, so that all below it together cost this rate."""
    allowed = rate * len(recent)
    for weighed, estimate in recent:
        allowed -= estimate
        if allowed < 0:
            return weighed
    return math.inf


@dataclass(slots=True)
class Verifier:
    """What decides for one model: the pooled curve, as it was last fitted, and the budget."""

    curve: Curve = field(default_factory=Curve)
    budget: Budget = field(default_factory=Budget)

    def serves(self, question: str, score: float, own: Sequence[Evidence], error_rate: float) -> bool:
        """Tell whether an entry may answer this question (its fingerprint), which it is alike."""
        known = self.curve.weight >= LEAST_OBSERVATIONS
        return self.budget.serves(question, risk(score, own, self.curve) if known else 1.0, error_rate)

    def serves_exact(self, question: str, own: Sequence[Evidence], error_rate: float) -> bool:
        """Tell the same of an equal question."""
        return self.budget.serves(question, exact_risk(own), error_rate)


def own_threshold(own: Sequence[Evidence], threshold: float) -> float:
    """Return the score from which on an entry answers, by its own observations; not under ``threshold``.

    It is where P(right) is what it is at ``threshold`` for an entry of which nothing is known. Where no right
    answer was seen at or over the highest score of a wrong one, it is also some way over that.
    """
    start, odds = logit(threshold), logit(RIGHT_AT_THRESHOLD)
    moved = offset(own, [odds + SLOPE * (logit(one.score) - start) for one in own])
    found = max(threshold, sigmoid(start - moved / SLOPE))
    wrong = max((one.score for one in own if not one.correct), default=None)
    if wrong is not None and not any(one.correct and one.score >= wrong for one in own):
        found = max(found, wrong + MARGIN * (1 - wrong))
    return found
