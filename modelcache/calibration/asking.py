"""What a cache of all cached questions finds for each asked one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelcache.calibration.pairs import LabelledPair
from modelcache.decision.confidence import Pair
from modelcache.decision.features import NEIGHBOURS
from modelcache.embedding.base import Embeddings
from modelcache.slots.guard import SlotGuard

CANDIDATES = NEIGHBOURS + 1
# Neighbours that are kept, to make smaller caches of.
KEPT = 300
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """One pair's question, asked of the cache."""

    pair: LabelledPair
    own: Pair
    """It and the question it is labelled with."""
    candidates: tuple[Pair, ...]
    """It and the nearest, nearest first."""
    own_place: int
    """Where among them its own is; -1: it is not."""
    cosines: NDArray[np.float32]
    """Of the nearest besides its own, falling."""


def ask(
    pairs: Sequence[LabelledPair], cached: Embeddings, asked: Embeddings, slot_guard: SlotGuard
) -> list[Asked]:
    """Fill a cache with the first question of all pairs and ask the second; rows go with ``pairs``.

    An asked question that is in the cache itself is left out there: it would be an exact hit.
    """
    texts = list(dict.fromkeys(pair.cached for pair in pairs))
    place = {text: number for number, text in enumerate(texts)}
    first = {pair.cached: row for row, pair in reversed(list(enumerate(pairs)))}
    index = cached[[first[text] for text in texts]]
    found = []
    for start in range(0, len(pairs), CHUNK):
        cosines = asked[start : start + CHUNK] @ index.T
        for row, pair in enumerate(pairs[start : start + CHUNK]):
            vectors = asked[start + row], index
            found.append(_asked(pair, cosines[row], vectors, texts, place, slot_guard))
    return found


def _asked(
    pair: LabelledPair,
    cosines: NDArray[np.float32],
    vectors: tuple[Embeddings, Embeddings],
    texts: Sequence[str],
    place: dict[str, int],
    slot_guard: SlotGuard,
) -> Asked:
    """``vectors``: of the asked question, and of all texts."""
    if pair.asked in place and pair.asked != pair.cached:
        cosines[place[pair.asked]] = -1.0
    kept = min(KEPT, len(texts))
    nearest = np.argpartition(-cosines, kept - 1)[:kept]
    nearest = nearest[np.argsort(-cosines[nearest], kind="stable")]
    own = place[pair.cached]

    def compared(number: int, count: int) -> Pair:
        others = nearest[:count][nearest[:count] != number]
        return Pair(
            pair.asked,
            texts[number],
            slot_guard.differences(pair.asked, texts[number]),
            float(cosines[number]),
            tuple(cosines[others].tolist()),
            (vectors[0], vectors[1][number]),
        )

    candidates = nearest[:CANDIDATES].tolist()
    return Asked(
        pair=pair,
        own=compared(own, CANDIDATES),
        candidates=tuple(compared(number, CANDIDATES) for number in candidates),
        own_place=candidates.index(own) if own in candidates else -1,
        cosines=cosines[nearest[nearest != own]],
    )
