"""The product through HTTP, beside other caches in process: the same weights, each with its own engine."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import Load, drive, request_bytes
from benchmarks.measure import Comparison, alternate
from benchmarks.questions import questions
from benchmarks.servers import redis_server
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
from tests.running import RunningService

PEERS_VENV = Path(__file__).parent.parent / ".venv-peers"
CLIENTS = 8
ENTRIES_A_REQUEST = 20
EXACT = b'"hit_type":"exact"'
SEMANTIC = b'"hit_type":"semantic"'
OK = b'"errorCode":0'


def run_gptcache(sizes: Sizes, folder: Path) -> Iterator[Comparison]:
    """Compare with GPTCache on SQLite and FAISS."""
    home = folder / "peer"
    home.mkdir()
    yield from _compare("gptcache", str(home), "GPTCache in process", 20.0, sizes, folder)


def run_redisvl(sizes: Sizes, folder: Path) -> Iterator[Comparison]:
    """Compare with RedisVL's SemanticCache on a Redis of the benchmark's own."""
    with redis_server(folder) as url:
        yield from _compare("redisvl", url, "RedisVL in process", 10.0, sizes, folder)


class _Peer:
    """Speaks with the other cache's process."""

    def __init__(self, name: str, where: str, log: Path) -> None:
        python = Path(os.environ.get("MODELCACHE_BENCH_PEERS", PEERS_VENV)) / "bin" / "python"
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [python, Path(__file__).with_name("peer_process.py"), name, where],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log

    def do(self, action: str, texts: Sequence[str], clients: int = 1) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, "texts": texts, "clients": clients}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended: {self._log.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=60)


@contextmanager
def _peer(name: str, where: str, folder: Path) -> Iterator[_Peer]:
    peer = _Peer(name, where, folder / "peer.log")
    try:
        yield peer
    finally:
        peer.close()


def _compare(
    name: str, where: str, other: str, goal: float, sizes: Sizes, folder: Path
) -> Iterator[Comparison]:
    embedder = bundled_embedder()
    texts = questions(sizes.entries)
    stock(demo_settings(folder), texts, random_vectors(len(texts), embedder.dimension), embedder)
    rounds = sizes.rounds
    # The questions asked differ from those inserted in words that the slot guard knows; the others have none.
    settings = {"slot_guard": False}
    with (
        serving("flask4modelcache_demo.py", folder, **settings) as service,
        _peer(name, where, folder) as peer,
    ):
        peer.do("stock", texts)
        # Entries with vectors of their own, which questions about them are near to.
        inserted = [questions(sizes.embedded, f"inserted {number}") for number in range(rounds)]
        yield _side_by_side(
            f"{name}-insert-one",
            "entries inserted one at a time through HTTP",
            f"the same with {other}",
            "entries/s",
            rounds,
            lambda number: _insert(service, inserted[number], 1),
            lambda number: len(inserted[number]) / peer.do("insert", inserted[number])["all"],
        )
        more = [questions(sizes.embedded, f"more {number}") for number in range(rounds)]
        yield _side_by_side(
            f"{name}-insert",
            f"entries inserted through HTTP, {ENTRIES_A_REQUEST} a request",
            f"the same with {other}, which takes one at a time",
            "entries/s",
            rounds,
            lambda number: _insert(service, more[number], ENTRIES_A_REQUEST),
            lambda number: len(more[number]) / peer.do("insert", more[number])["all"],
        )
        missed = [questions(sizes.embedded, f"missed {number}") for number in range(rounds)]
        yield _side_by_side(
            f"{name}-miss-insert",
            "misses, each followed by the insert of its answer, through HTTP",
            f"the same with {other}",
            "pairs/s",
            rounds,
            lambda number: _miss_and_insert(service, missed[number]),
            lambda number: len(missed[number]) / peer.do("miss-insert", missed[number])["all"],
        )
        known = [text for part in inserted for text in part]
        near = [questions(sizes.embedded, f"inserted {number} again") for number in range(rounds)]
        yield _side_by_side(
            f"{name}-semantic",
            f"p50 of a semantic hit through HTTP, 1 client, {len(texts) + len(known):,} entries",
            f"the same with {other}",
            "ms",
            rounds,
            lambda number: _ask(service, near[number], 1, SEMANTIC).p50,
            lambda number: 1000 * median(peer.do("ask", near[number])["each"]),
            goal=0.5,
            more_is_better=False,
        )
        yield _side_by_side(
            f"{name}-exact",
            f"exact hits through HTTP, {CLIENTS} clients, {len(texts) + len(known):,} entries",
            f"the same questions asked of {other}, {CLIENTS} threads",
            "replies/s",
            rounds,
            lambda _: _ask(service, known * 5, CLIENTS, EXACT).rate,
            lambda number: len(inserted[number]) / peer.do("ask", inserted[number], CLIENTS)["all"],
            goal=goal,
        )


def _side_by_side(
    name: str,
    ours_is: str,
    theirs_is: str,
    unit: str,
    rounds: int,
    ours: Callable[[int], float],
    theirs: Callable[[int], float],
    *,
    goal: float = 2.0,
    more_is_better: bool = True,
) -> Comparison:
    """Measure both in turn; each is called with the number of the round."""
    measured = alternate(name, rounds, ours, theirs)
    return Comparison(name, ours_is, theirs_is, unit, *measured, goal=goal, more_is_better=more_is_better)


def _insert(service: RunningService, texts: Sequence[str], at_once: int) -> float:
    parts = [texts[start : start + at_once] for start in range(0, len(texts), at_once)]
    load = drive(service.url, [request_bytes(insert_body(part)) for part in parts], 1, OK)
    return len(texts) / load.seconds


def _miss_and_insert(service: RunningService, texts: Sequence[str]) -> float:
    requests = []
    for text in texts:
        requests += [request_bytes(query_body(text, threshold=1.0)), request_bytes(insert_body([text]))]
    return len(texts) / drive(service.url, requests, 1, OK).seconds


def _ask(service: RunningService, texts: Sequence[str], clients: int, expected: bytes) -> Load:
    asked = [request_bytes(query_body(text, threshold=0.0)) for text in texts]
    return drive(service.url, asked, clients, expected)
