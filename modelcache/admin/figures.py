"""Figures of days and models, from what was counted."""

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any

from modelcache.access.gate import ADMIN, Caller
from modelcache.admin.entries import AskedError, Reply
from modelcache.admin.statistics import (
    COMPARED,
    COMPLETION,
    DOLLARS,
    FEEDBACK,
    HITS,
    INSERTED,
    PROMPT,
    TOOK,
    VETO,
    WITHHELD,
    milliseconds_of,
    today,
)
from modelcache.core import Cache
from modelcache.learning.verified import wilson_95
from modelcache.records.day_count import DayCount
from modelcache.records.event import BYPASS, ERROR, HIT, MISS, RIGHT, UNCLEAR, WRONG
from modelcache.records.names import model_key

DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
EPOCH = date(1970, 1, 1)
USUAL_DAYS = 30
MOST_DAYS = 3660
QUANTILES = (0.5, 0.95, 0.99)
KNOWN = ("model", "from", "to")

Figures = dict[str, Any]


class Asked:
    """Of which model, and which days, figures are asked for."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        """Read the query of an address. Raises AskedError, which names the field."""
        for name, values in fields.items():
            if name not in KNOWN:
                raise AskedError(name, f"expected one of {', '.join(KNOWN)}")
            if len(values) > 1:
                raise AskedError(name, "expected once")
        self.model = fields.get("model", [""])[0]
        self.last = _day(fields, "to", today())
        self.first = _day(fields, "from", self.last - USUAL_DAYS + 1)
        if not 0 <= self.last - self.first < MOST_DAYS:
            raise AskedError("from", f"expected a day up to {MOST_DAYS - 1} before `to`")

    @property
    def audited(self) -> Figures:
        """What an audit wants to know."""
        return {"model": self.model} if self.model else {}


def told(cache: Cache, caller: Caller, asked: Asked) -> Reply:
    """Return the figures of the models that the caller may see: all together, by day, and by model."""
    key = model_key(asked.model) if asked.model else None
    counts = cache.data_manager.scalars.day_counts(asked.first, asked.last, key)
    names = {one.model_key: one.model for one in sorted(counts, key=lambda one: one.model)}
    seen = [one for one in counts if caller.may(ADMIN, names[one.model_key])]
    by_day: dict[int, list[DayCount]] = defaultdict(list)
    by_model: dict[str, list[DayCount]] = defaultdict(list)
    for one in seen:
        by_day[one.day].append(one)
        by_model[one.model_key].append(one)
    days = [{"day": _text(day), **figures_of(by_day[day])} for day in range(asked.first, asked.last + 1)]
    models = [{"model": names[one], **figures_of(of_it)} for one, of_it in by_model.items()]
    models.sort(key=lambda one: (-one["queries"], one["model"]))
    return 200, {
        "from": _text(asked.first),
        "to": _text(asked.last),
        "model": asked.model or None,
        "total": figures_of(seen),
        "days": days,
        "models": models,
    }


def figures_of(counts: Iterable[DayCount]) -> Figures:
    """Return the figures of some counts."""
    sums: dict[str, float] = defaultdict(float)
    for one in counts:
        sums[one.name] += one.amount
    hits = _behind(sums, HITS)
    misses, bypasses, errors = (round(sums[name]) for name in (MISS, BYPASS, ERROR))
    hit_count = sum(hits.values())
    answerable = hit_count + misses
    return {
        "queries": answerable + bypasses + errors,
        "hits": hit_count,
        "hits_by_type": hits,
        "misses": misses,
        "bypasses": bypasses,
        "errors": errors,
        "hit_rate": hit_count / answerable if answerable else None,
        "withheld": round(sums[WITHHELD]),
        "inserted": round(sums[INSERTED]),
        "vetoes": dict(sorted(_behind(sums, VETO).items(), key=lambda one: -one[1])),
        "feedback": _judged(_behind(sums, FEEDBACK)),
        "compared": _judged(_behind(sums, COMPARED)),
        "milliseconds": {kind: _quantiles(_behind(sums, f"{TOOK}{kind}.")) for kind in (HIT, MISS)},
        "saved": {
            "prompt_tokens": round(sums[PROMPT]),
            "completion_tokens": round(sums[COMPLETION]),
            "usd": round(sums[DOLLARS], 6),
        },
    }


def _behind(sums: dict[str, float], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): round(amount) for name, amount in sums.items() if name.startswith(prefix)
    }


def _judged(verdicts: dict[str, int]) -> Figures:
    """Return how many answers were right and wrong, and the share of wrong ones with its interval."""
    right, wrong = verdicts.get(RIGHT, 0), verdicts.get(WRONG, 0)
    judged = right + wrong
    return {
        "right": right,
        "wrong": wrong,
        "unclear": verdicts.get(UNCLEAR, 0),
        "wrong_rate": wrong / judged if judged else None,
        "wrong_interval": list(wilson_95(wrong, judged)) if judged else None,
    }


def _quantiles(counts: dict[str, int]) -> Figures:
    """Return how long the quicker shares took at most, a fifth too long in the worst case; None for none."""
    steps = sorted((int(step), count) for step, count in counts.items())
    reached = list(accumulate(count for _, count in steps))
    found: Figures = {}
    for share in QUANTILES:
        step = next(
            (step for (step, _), by in zip(steps, reached, strict=True) if by >= share * reached[-1]), None
        )
        found[f"p{round(100 * share)}"] = None if step is None else float(f"{milliseconds_of(step):.3g}")
    return found


def _day(fields: dict[str, list[str]], name: str, usual: int) -> int:
    if name not in fields:
        return usual
    [text] = fields[name]
    try:
        if not DAY.fullmatch(text):
            raise ValueError
        return (datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date() - EPOCH).days
    except ValueError:
        raise AskedError(name, "expected a day such as 2026-01-31") from None


def _text(day: int) -> str:
    return (EPOCH + timedelta(days=day)).isoformat()
