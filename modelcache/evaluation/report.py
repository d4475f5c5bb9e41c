"""Tell what was measured, for people and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from modelcache.evaluation.counting import Outcome, Outcomes, Tally
from modelcache.evaluation.pairs import shown
from modelcache.learning.verified import wilson_95

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)
WRONG_SHOWN = 10
MISSED_SHOWN = 5
TEXT_SHOWN = 160
KINDS_SHOWN = 20
KIND_SHOWN = 40
NO_KIND = "(none)"


def share(part: int, whole: int) -> str:
    """Write a share with its 95 % interval (Wilson, 1927)."""
    if not whole:
        return "–"
    low, high = wilson_95(part, whole)
    return f"{part / whole:.1%} ({low:.1%} to {high:.1%})"


def lines(title: str, outcomes: Outcomes, threshold: float | None) -> Iterator[str]:
    """Tell all about one way of asking."""
    tally = outcomes.at(threshold)
    where = "the configured threshold" if threshold is None else f"threshold {threshold:g}"
    yield f"{title}, at {where}: {tally.asked:,} questions, {tally.answerable:,} of them rephrasings"
    if outcomes.equal:
        yield f"  {outcomes.equal:,} more have an equal question in the cache and are not counted"
    yield f"  hits   {tally.hits:,}: {tally.right:,} right, {tally.wrong:,} wrong"
    yield f"  wrong  {share(tally.wrong, tally.hits)} of the hits"
    yield f"  found  {share(tally.right, tally.answerable)} of the rephrasings"
    yield from _by_kind(outcomes, threshold)
    yield ""
    yield from _table("threshold", [(f"{one:g}", outcomes.at(one)) for one in THRESHOLDS])
    yield from examples(outcomes, threshold, WRONG_SHOWN, MISSED_SHOWN)


def _by_kind(outcomes: Outcomes, threshold: float | None) -> Iterator[str]:
    """Tell the kinds apart, where there are several: those with most wrong hits first, then the largest."""
    rows = [
        (kind or NO_KIND, outcomes.at(threshold, kind))
        for kind in sorted({one.kind for one in outcomes.questions})
    ]
    if len(rows) > 1:
        rows.sort(key=lambda row: (-row[1].wrong, -row[1].asked))
        yield ""
        yield from _table("kind", [(name[:KIND_SHOWN], tally) for name, tally in rows[:KINDS_SHOWN]])
        if len(rows) > KINDS_SHOWN:
            yield f"  and {len(rows) - KINDS_SHOWN} more kinds, which --json has"


def examples(
    outcomes: Outcomes, threshold: float | None, wrong: int, missed: int | None = None
) -> Iterator[str]:
    """Show the surest wrong hits, and the rephrasings that came nearest to being found."""
    failed = wrong_hits(outcomes, threshold)
    if failed:
        yield f"\nwrong hits, the surest {min(wrong, len(failed))} of {len(failed)}:"
        for one in failed[:wrong]:
            yield from _example(one, one.hit(threshold))
    unfound = [one for one in outcomes.questions if one.answers and one.hit(threshold) is None]
    unfound.sort(key=_nearness, reverse=True)
    if unfound:
        count = min(wrong if missed is None else missed, len(unfound))
        yield f"\nrephrasings missed, the nearest {count} of {len(unfound)}:"
        for one in unfound[:count]:
            yield from _example(one, min(one.answers) if one.own not in one.answers else one.own)


def wrong_hits(outcomes: Outcomes, threshold: float | None) -> list[Outcome]:
    """Return the questions that got a wrong answer, the surest first."""
    failed = [
        one
        for one in outcomes.questions
        if (hit := one.hit(threshold)) is not None and hit not in one.answers
    ]
    return sorted(failed, key=lambda one: one.found.surest(one.hit(threshold)), reverse=True)


def _nearness(one: Outcome) -> float:
    return max((one.found.surest(answer) for answer in one.answers), default=0.0)


def _example(one: Outcome, entry: int | None) -> Iterator[str]:
    sure = one.found.surest(entry)
    # Without a hit at any threshold it was a rule that refused it, or nothing was found at all.
    how = f"{sure:.3f}" if sure else one.found.veto or "not found"
    cached = "" if entry is None else shown(one.entries[entry])
    yield f"  {how}{f'  {one.kind}' if one.kind else ''}"
    yield f"    cached  {_cut(cached)}"
    yield f"    asked   {_cut(shown(one.asked))}"


def _cut(text: str) -> str:
    """Keep the end of what is too long: of a conversation it is the last turn."""
    return text if len(text) <= TEXT_SHOWN else f"… {text[-TEXT_SHOWN:]}"


def _table(name: str, rows: Sequence[tuple[str, Tally]]) -> Iterator[str]:
    width = max(len(name), *(len(label) for label, _ in rows))
    yield f"  {name:{width}}   asked  right  wrong   wrong share of hits       rephrasings found"
    for label, tally in rows:
        yield (
            f"  {label:{width}}  {tally.asked:6,} {tally.right:6,} {tally.wrong:6,}   "
            f"{share(tally.wrong, tally.hits):24}  {share(tally.right, tally.answerable)}"
        ).rstrip()


def figures(tally: Tally) -> dict[str, Any]:
    """Return one threshold's figures for a file."""
    return {
        "asked": tally.asked,
        "rephrasings": tally.answerable,
        "hits": tally.hits,
        "right": tally.right,
        "wrong": tally.wrong,
        "wrong_share": tally.wrong_share,
        "wrong_interval": list(tally.wrong_interval),
        "found_share": tally.found_share,
        "found_interval": list(tally.found_interval),
    }


def as_json(outcomes: Outcomes, threshold: float | None) -> dict[str, Any]:
    """Return all of one way of asking for a file; ``questions`` has one line each."""
    return figures(outcomes.at(threshold)) | {
        "equal": outcomes.equal,
        "kinds": {
            kind: figures(outcomes.at(threshold, kind))
            for kind in sorted({one.kind for one in outcomes.questions})
        },
        "thresholds": {f"{one:g}": figures(outcomes.at(one)) for one in THRESHOLDS},
        "questions": [_question(one, threshold) for one in outcomes.questions],
    }


def _question(one: Outcome, threshold: float | None) -> dict[str, Any]:
    hit = one.hit(threshold)
    return {
        "asked": one.asked,
        "hit": None if hit is None else one.entries[hit],
        "right": None if hit is None else hit in one.answers,
        "has_answer": bool(one.answers),
        "kind": one.kind,
        "confidence": one.found.confidence,
        "veto": one.found.veto,
    }
