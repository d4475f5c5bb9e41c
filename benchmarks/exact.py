"""Exact hits through HTTP, beside the least that an HTTP reply costs, and beside waitress."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load import drive, request_bytes
from benchmarks.measure import Comparison, alternate
from benchmarks.questions import questions
from benchmarks.servers import database_servers
from benchmarks.sizes import Sizes
from benchmarks.stocked import SEED, bundled_embedder, query_body, random_vectors, running, serving, stock
from modelcache.settings import load_settings
from tests.support.running import RunningService

CLIENTS = 8
THREADS = 8
HIT = b'"hit_type":"exact"'
DEMO = "flask4modelcache_demo.py"
Rates = tuple[list[float], list[float]]


def run(sizes: Sizes, folder: Path) -> Iterator[Comparison]:
    """Compare the demo and the production service with a bare route, and the demo with waitress."""
    texts = questions(sizes.entries)
    asked = [request_bytes(query_body(text)) for text in texts]
    demo: dict[str, Any] = {"threads": THREADS}
    data, copy = folder / "demo", folder / "copy"
    _stock("demo", demo, data, texts)
    # A folder belongs to one process.
    shutil.copytree(data, copy)
    with serving(DEMO, data, **demo) as ours:
        figures = _beside_bare("exact, SQLite", ours, asked, sizes, folder)
        yield _comparison("exact, SQLite", "a bare Flask route on the same server", figures, 0.5, sizes)
        with running(copy, "-m", "benchmarks.under_waitress", **demo) as under_waitress:
            figures = _side_by_side("exact-waitress", ours, under_waitress, asked, sizes)
        yield _comparison(
            "exact-waitress",
            "the same on waitress and all of Flask, as it was served before",
            figures,
            2.0,
            sizes,
        )
    with database_servers(folder) as servers:
        production = servers.settings("mysql", "milvus") | {
            "threads": THREADS,
            "workers": 1,
            "embedder": "e5",
        }
        _stock("default", production, folder / "production", texts)
        with serving("flask4modelcache.py", folder / "production", **production) as ours:
            figures = _beside_bare("exact, MySQL", ours, asked, sizes, folder)
        yield _comparison("exact, MySQL", "a bare Flask route on the same server", figures, 0.35, sizes)


def _stock(profile: str, chosen: dict[str, Any], data: Path, texts: Sequence[str]) -> None:
    embedder = bundled_embedder()
    vectors = random_vectors(len(texts), embedder.dimension)
    stock(load_settings(profile, {}, chosen | {"data_dir": data}), texts, vectors, embedder)


def _beside_bare(
    name: str, ours: RunningService, asked: Sequence[bytes], sizes: Sizes, folder: Path
) -> Rates:
    reply = folder / "reply"
    _, body = asked[0].split(b"\r\n\r\n", 1)
    reply.write_bytes(ours.http.post(f"{ours.url}/modelcache", data=body).content)
    with running(folder / "bare", "-m", "benchmarks.bare", str(THREADS), str(reply)) as bare:
        return _side_by_side(name, ours, bare, asked, sizes)


def _side_by_side(
    name: str, ours: RunningService, theirs: RunningService, asked: Sequence[bytes], sizes: Sizes
) -> Rates:
    """Ask both for each entry once, and then measure."""
    chosen = random.Random(SEED).choices(asked, k=sizes.exact_requests)
    for service in (ours, theirs):
        drive(service.url, asked, CLIENTS, HIT)

    def rate_of(service: RunningService) -> Callable[[int], float]:
        return lambda _: drive(service.url, chosen, CLIENTS, HIT).rate

    return alternate(name, sizes.rounds, rate_of(ours), rate_of(theirs))


def _comparison(name: str, theirs: str, figures: Rates, goal: float, sizes: Sizes) -> Comparison:
    return Comparison(
        name,
        f"exact hits through HTTP, {CLIENTS} clients, {sizes.entries:,} entries, each asked before",
        theirs,
        "replies/s",
        *figures,
        goal=goal,
        more_is_better=True,
    )
