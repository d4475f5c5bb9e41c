"""The decisions of plain cosine and of two other caches, on the vectors that the product compares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.trust.hits import Floats, Hits, Tally
from benchmarks.trust.product import Dialogue, Product, Truth
from modelcache.core import Cache
from modelcache.records.dialogue import Message, splice

PLAIN_COSINE = "plain cosine of all messages"
BATCH = 500
GPTCACHE_MAX_DISTANCE = 4.0
GPTCACHE_SIMILARITY_THRESHOLD = 0.8
REDISVL_DISTANCE_THRESHOLD = 0.1


@dataclass(frozen=True, slots=True)
class Peer:
    """A decision by the nearest entry alone, wherever it is."""

    name: str
    text: Callable[[Dialogue], str]
    """What of a dialogue is embedded."""
    score: Callable[[Floats], Floats]
    """From the cosine; larger is surer."""
    show: Callable[[float], str]
    default: float | None
    """The score that it asks for unless told otherwise; None: the calibrated value of the embedder."""


def _all_messages(dialogue: Dialogue) -> str:
    """Splice system prompt and turns into one text, as ModelCache does; one message is its own text."""
    messages = [Message(message["role"], message["content"]) for message in dialogue]
    return splice(messages) if len(messages) > 1 else _last_message(dialogue)


def _last_message(dialogue: Dialogue) -> str:
    content: str = dialogue[-1]["content"]
    return content.strip()


PEERS = (
    Peer(
        PLAIN_COSINE,
        _all_messages,
        lambda cosine: cosine,
        lambda score: f"cosine {score:.4f}",
        None,
    ),
    # SearchDistanceEvaluation: the squared L2 distance of unit vectors is 2 - 2 cosine; the rank, that
    # distance off the largest one, has to reach that share of its range.
    Peer(
        "GPTCache, of the last message",
        _last_message,
        lambda cosine: (GPTCACHE_MAX_DISTANCE - (2 - 2 * cosine)) / GPTCACHE_MAX_DISTANCE,
        lambda score: f"similarity_threshold {score:.4f}",
        GPTCACHE_SIMILARITY_THRESHOLD,
    ),
    # SemanticCache: up to this cosine distance.
    Peer(
        "RedisVL, of the last message",
        _last_message,
        lambda cosine: cosine - 1,
        lambda score: f"distance_threshold {-score:.4f}",
        -REDISVL_DISTANCE_THRESHOLD,
    ),
)


def peer_hits(
    product: Product,
    entries: Sequence[Dialogue],
    asked: Sequence[Dialogue],
    truth: Truth,
    left_out: Mapping[int, int] | None = None,
) -> list[Hits]:
    """Ask each peer; ``left_out`` maps a question's number to the place of an entry that it does not see."""
    hits = []
    for peer in PEERS:
        texts = [peer.text(dialogue) for dialogue in asked]
        index = product.embed([peer.text(dialogue) for dialogue in entries])
        cosines, winners = nearest(index, product.embed(texts), left_out or {})
        scores = peer.score(cosines)
        of_own = winners == np.asarray(truth.own)
        right = of_own & truth.same
        wrong = ~right & (of_own | truth.others_are_wrong)
        # Rounding may leave a cosine of 1 a little below.
        answered = scores >= defaults(peer, texts, product.cache) - 1e-7
        count = int((right & answered).sum())
        rephrasings = int(truth.same.sum())
        tally = Tally(count, int((wrong & answered).sum()), rephrasings - count)
        hits.append(Hits.of_scores(peer.name, scores, right, wrong, rephrasings, tally, peer.show))
    return hits


def defaults(peer: Peer, texts: Sequence[str], cache: Cache) -> Floats:
    """Return the score that a peer asks of each question unless told otherwise."""
    if peer.default is not None:
        return np.full(len(texts), peer.default)
    calibrated, limit = cache.embedder.thresholds, cache.settings.long_text_chars
    return np.array([calibrated.long if len(text) > limit else calibrated.short for text in texts])


def nearest(
    index: NDArray[np.float32], asked: NDArray[np.float32], left_out: Mapping[int, int]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the cosine and the place of the nearest entry to each question."""
    best, winners = [], []
    for start in range(0, len(asked), BATCH):
        cosines = asked[start : start + BATCH] @ index.T
        for question, entry in left_out.items():
            if start <= question < start + len(cosines):
                cosines[question - start, entry] = -1
        winners.append(cosines.argmax(axis=1))
        best.append(cosines.max(axis=1))
    return np.concatenate(best).astype(np.float64), np.concatenate(winners)
