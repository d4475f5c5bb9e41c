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
SEED = 20261122
# Of the others, so many are left in the caches whose nearest entry is a stranger.
STRANGER_SHARES = (0.3, 0.1, 0.03)


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
    strangers: tuple[Pair, ...]
    """It and the nearest besides its own in sparser caches, half of which hold its own too."""


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
    random = np.random.default_rng(SEED)
    found = []
    for start in range(0, len(pairs), CHUNK):
        cosines = asked[start : start + CHUNK] @ index.T
        for row, pair in enumerate(pairs[start : start + CHUNK]):
            vectors = asked[start + row], index
            found.append(_asked(pair, cosines[row], vectors, texts, place, slot_guard, random))
    return found


def _asked(
    pair: LabelledPair,
    cosines: NDArray[np.float32],
    vectors: tuple[Embeddings, Embeddings],
    texts: Sequence[str],
    place: dict[str, int],
    slot_guard: SlotGuard,
    random: np.random.Generator,
) -> Asked:
    """``vectors``: of the asked question, and of all texts."""
    if pair.asked in place and pair.asked != pair.cached:
        cosines[place[pair.asked]] = -1.0
    kept = min(KEPT, len(texts))
    nearest = np.argpartition(-cosines, kept - 1)[:kept]
    nearest = nearest[np.argsort(-cosines[nearest], kind="stable")]
    own = place[pair.cached]

    def compared(number: int, among: NDArray[np.int64]) -> Pair:
        others = among[among != number]
        return Pair(
            pair.asked,
            texts[number],
            slot_guard.differences(pair.asked, texts[number]),
            float(cosines[number]),
            tuple(cosines[others].tolist()),
            (vectors[0], vectors[1][number]),
        )

    def stranger(share: float) -> Pair | None:
        left = nearest[(random.random(kept) < share) & (nearest != own)][:CANDIDATES]
        if not len(left):
            return None
        among = np.append(left, own) if random.random() < 0.5 else left
        return compared(int(left[0]), among[np.argsort(-cosines[among], kind="stable")][:CANDIDATES])

    candidates = nearest[:CANDIDATES].tolist()
    return Asked(
        pair=pair,
        own=compared(own, nearest[:CANDIDATES]),
        candidates=tuple(compared(number, nearest[:CANDIDATES]) for number in candidates),
        own_place=candidates.index(own) if own in candidates else -1,
        cosines=cosines[nearest[nearest != own]],
        strangers=tuple(one for share in STRANGER_SHARES if (one := stranger(share)) is not None),
    )
