"""Requests that embed a text, beside the embedder alone on the same texts."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.engine import BATCH_TEXTS, batch_rate
from benchmarks.load import drive, request_bytes
from benchmarks.measure import Comparison, alternate, milliseconds
from benchmarks.questions import questions
from benchmarks.sizes import Sizes
from benchmarks.stocked import (
    bundled_embedder,
    demo_settings,
    insert_body,
    query_body,
    random_vectors,
    serving,
    stock,
)
from modelcache.embedding.e5 import E5Embedder
from tests.support.running import RunningService

DEMO = "flask4modelcache_demo.py"
CLIENTS_UNDER_LOAD = 16
INSERTED_TEXTS = 200
# Every text is nearer to any other than this: the nearest entry always answers.
ANY = 0.0
HIT = b'"hit_type":"semantic"'
MISS = b'"cacheHit":false'
OK = b'"errorCode":0'


Measure = Callable[[Sequence[str]], float]


class Fresh:
    """Texts that were never embedded before: a recent one would not be embedded again."""

    def __init__(self) -> None:
        self._rounds = count()

    def texts(self, number: int) -> list[str]:
        return questions(number, f"asked {next(self._rounds)}")


def run(sizes: Sizes, folder: Path) -> Iterator[Comparison]:
    """Compare hits, misses and inserts of one client, and hits of many at a time."""
    embedder = bundled_embedder()
    texts = questions(sizes.entries)
    vectors = random_vectors(len(texts), embedder.dimension)
    stock(demo_settings(folder), texts, vectors, embedder)
    fresh = Fresh()
    # What is asked is nearest to entries about other things, which the slot guard would refuse.
    with serving(DEMO, folder, slot_guard=False) as service:
        yield _one_client("semantic", "a semantic hit", sizes, service, embedder, fresh, ANY, HIT)
        yield _one_client("miss", "a miss", sizes, service, embedder, fresh, 1.0, MISS)
        yield _under_load(sizes, service, embedder, fresh)
        yield _insert(sizes, service, embedder, fresh)


def _one_client(
    name: str,
    what: str,
    sizes: Sizes,
    service: RunningService,
    embedder: E5Embedder,
    fresh: Fresh,
    threshold: float,
    expected: bytes,
) -> Comparison:
    def ours(texts: Sequence[str]) -> float:
        asked = [request_bytes(query_body(text, threshold=threshold)) for text in texts]
        return drive(service.url, asked, 1, expected).p50

    return Comparison(
        name,
        f"p50 of {what} through HTTP, 1 client, {sizes.entries:,} entries",
        "p50 of the embedder alone on the same texts",
        "ms",
        *_on_same_texts(name, sizes.rounds, sizes.embedded, fresh, ours, lambda texts: _p50(embedder, texts)),
        goal=1.35,
        more_is_better=False,
    )


def _under_load(sizes: Sizes, service: RunningService, embedder: E5Embedder, fresh: Fresh) -> Comparison:
    def ours(texts: Sequence[str]) -> float:
        asked = [request_bytes(query_body(text, threshold=ANY)) for text in texts]
        return drive(service.url, asked, CLIENTS_UNDER_LOAD, HIT).rate

    return Comparison(
        "semantic-load",
        f"semantic hits through HTTP, {CLIENTS_UNDER_LOAD} clients",
        f"the embedder alone, {BATCH_TEXTS} texts a call on all cores",
        "texts/s",
        *_on_same_texts(
            "semantic-load",
            sizes.rounds,
            sizes.loaded,
            fresh,
            ours,
            lambda texts: batch_rate(embedder, texts),
        ),
        goal=0.75,
        more_is_better=True,
    )


def _insert(sizes: Sizes, service: RunningService, embedder: E5Embedder, fresh: Fresh) -> Comparison:
    def ours(texts: Sequence[str]) -> float:
        parts = [texts[start : start + INSERTED_TEXTS] for start in range(0, len(texts), INSERTED_TEXTS)]
        load = drive(service.url, [request_bytes(insert_body(part)) for part in parts], 1, OK)
        return len(texts) / load.seconds

    return Comparison(
        "insert",
        f"entries through HTTP, requests of {INSERTED_TEXTS}",
        f"the embedder alone, {BATCH_TEXTS} texts a call on all cores",
        "texts/s",
        *_on_same_texts(
            "insert", sizes.rounds, sizes.loaded, fresh, ours, lambda texts: batch_rate(embedder, texts)
        ),
        goal=0.75,
        more_is_better=True,
    )


def _on_same_texts(
    name: str,
    rounds: int,
    number: int,
    fresh: Fresh,
    ours: Measure,
    theirs: Measure,
) -> tuple[list[float], list[float]]:
    """Measure both on the same texts, other ones in each round."""
    texts = [fresh.texts(number) for _ in range(rounds)]
    return alternate(name, rounds, lambda turn: ours(texts[turn]), lambda turn: theirs(texts[turn]))


def _p50(embedder: E5Embedder, texts: Sequence[str]) -> float:
    return median(milliseconds(partial(embedder.embed, [text])) for text in texts)
