"""Exact hits through HTTP, beside the least that an HTTP reply costs."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.load import drive, request_bytes
from benchmarks.measure import Comparison, alternate
from benchmarks.questions import questions
from benchmarks.servers import database_servers
from benchmarks.sizes import Sizes
from benchmarks.stocked import SEED, query_body, random_vectors, running, serving, stock
from modelcache.embedding.e5 import E5Embedder
from modelcache.settings import load_settings

CLIENTS = 8
THREADS = 8
HIT = b'"hit_type":"exact"'


def run(sizes: Sizes, folder: Path) -> Iterator[Comparison]:
    """Compare the demo service on waitress, and the production service on gunicorn."""
    demo = {"threads": THREADS}
    yield _compare("exact, SQLite", "flask4modelcache_demo.py", "demo", "waitress", demo, 0.6, sizes, folder)
    with database_servers(folder) as servers:
        production = servers.settings("mysql", "milvus") | {
            "threads": THREADS,
            "workers": 1,
            "embedder": "e5",
        }
        yield _compare(
            "exact, MySQL", "flask4modelcache.py", "default", "gunicorn", production, 0.35, sizes, folder
        )


def _compare(
    name: str,
    script: str,
    profile: str,
    server: str,
    settings: dict[str, Any],
    goal: float,
    sizes: Sizes,
    folder: Path,
) -> Comparison:
    data, embedder = folder / name, E5Embedder()
    texts = questions(sizes.entries)
    stock(
        load_settings(profile, {}, settings | {"data_dir": data}),
        texts,
        random_vectors(len(texts), embedder.dimension),
        embedder,
    )
    asked = [request_bytes(query_body(text)) for text in texts]
    chosen = random.Random(SEED).choices(asked, k=sizes.exact_requests)
    with serving(script, data, **settings) as ours:
        reply = folder / f"{name}.reply"
        reply.write_bytes(ours.http.post(f"{ours.url}/modelcache", json=query_body(texts[0])).content)
        bare_route = ("-m", "benchmarks.bare", server, str(THREADS), str(reply))
        with running(folder / "bare", *bare_route) as bare:
            for service in (ours, bare):
                drive(service.url, asked, CLIENTS, HIT)
            figures = alternate(
                name,
                sizes.rounds,
                lambda _: drive(ours.url, chosen, CLIENTS, HIT).rate,
                lambda _: drive(bare.url, chosen, CLIENTS, HIT).rate,
            )
    return Comparison(
        name,
        f"exact hits through HTTP, {CLIENTS} clients, {sizes.entries:,} entries, each asked before",
        f"a bare Flask route on {server}",
        "replies/s",
        *figures,
        goal=goal,
        more_is_better=True,
    )
