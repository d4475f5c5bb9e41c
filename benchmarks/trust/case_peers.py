"""What plain cosine and two other caches decide on the same pairs, by the product's own vectors."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.trust.peers import PEERS, Peer, defaults, nearest
from modelcache.core import Cache
from modelcache.evaluation.asking import Found, Step
from modelcache.evaluation.counting import Outcomes
from modelcache.records.vectors import Embeddings

BATCH = 200
# Rounding may leave a cosine of 1 a little below.
ROUNDING = 1e-7


def beside(cache: Cache, ours: Outcomes, together: bool) -> dict[str, Outcomes]:
    """Ask the others what we were asked: of its own entry alone, or of all entries."""
    return {peer.name: _asked(cache, peer, ours, together) for peer in PEERS}


def _asked(cache: Cache, peer: Peer, ours: Outcomes, together: bool) -> Outcomes:
    questions = ours.questions
    if not questions:
        return ours
    texts = [peer.text(one.asked) for one in questions]
    asked = _embedded(cache, texts)
    if together:
        # All questions of one cache share its entries.
        index = _embedded(cache, [peer.text(entry) for entry in questions[0].entries])
        cosines, places = nearest(index, asked, {})
    else:
        own = _embedded(cache, [peer.text(one.entries[one.own]) for one in questions])
        cosines, places = (own * asked).sum(axis=1).astype(np.float64), np.zeros(len(asked), np.int64)
    scores = peer.score(cosines)
    answered = scores >= defaults(peer, texts, cache) - ROUNDING
    found = [
        Found((Step(score, place),), place if hit else None, score)
        for score, place, hit in zip(scores.tolist(), places.tolist(), answered.tolist(), strict=True)
    ]
    return Outcomes(
        [replace(one, found=other) for one, other in zip(questions, found, strict=True)], ours.equal
    )


def _embedded(cache: Cache, texts: Sequence[str]) -> Embeddings:
    parts = (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))
    return np.concatenate([cache.gathering.embed([text.strip() for text in part]) for part in parts])
