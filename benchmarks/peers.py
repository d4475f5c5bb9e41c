"""The product through HTTP, beside other caches in process: the same weights, each with its own engine."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from tests.support.running import RunningService

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


@dataclass(frozen=True, slots=True)
class _Meeting:
    """The product's service and the other cache, both with the same entries."""

    name: str
    other: str
    """The other cache, as it is called in a comparison."""
    service: RunningService
    peer: _Peer
    entries: int
    rounds: int


def _compare(
    name: str, where: str, other: str, goal: float, sizes: Sizes, folder: Path
) -> Iterator[Comparison]:
    embedder = bundled_embedder()
    texts = questions(sizes.entries)
    stock(demo_settings(folder), texts, random_vectors(len(texts), embedder.dimension), embedder)
    # The questions asked differ from those inserted in words that the slot guard knows; the others have none.
    settings = {"slot_guard": False}
    with (
        serving("flask4modelcache_demo.py", folder, **settings) as service,
        _peer(name, where, folder) as peer,
    ):
        peer.do("stock", texts)
        both = _Meeting(name, other, service, peer, len(texts), sizes.rounds)
        # Entries with vectors of their own, which questions about them are near to.
        inserted = _questions_a_round(both, sizes, "inserted {}")
        yield _insert_one(both, inserted)
        yield _insert_many(both, _questions_a_round(both, sizes, "more {}"))
        yield _miss_then_insert(both, _questions_a_round(both, sizes, "missed {}"))
        both = replace(both, entries=both.entries + sum(map(len, inserted)))
        yield _semantic_hit(both, _questions_a_round(both, sizes, "inserted {} again"))
        yield _exact_hit(both, inserted, goal)


def _questions_a_round(both: _Meeting, sizes: Sizes, subject: str) -> list[list[str]]:
    return [questions(sizes.embedded, subject.format(number)) for number in range(both.rounds)]


def _insert_one(both: _Meeting, texts: Sequence[Sequence[str]]) -> Comparison:
    return _side_by_side(
        f"{both.name}-insert-one",
        "entries inserted one at a time through HTTP",
        f"the same with {both.other}",
        "entries/s",
        both.rounds,
        lambda number: _insert(both.service, texts[number], 1),
        lambda number: len(texts[number]) / both.peer.do("insert", texts[number])["all"],
    )


def _insert_many(both: _Meeting, texts: Sequence[Sequence[str]]) -> Comparison:
    return _side_by_side(
        f"{both.name}-insert",
        f"entries inserted through HTTP, {ENTRIES_A_REQUEST} a request",
        f"the same with {both.other}, which takes one at a time",
        "entries/s",
        both.rounds,
        lambda number: _insert(both.service, texts[number], ENTRIES_A_REQUEST),
        lambda number: len(texts[number]) / both.peer.do("insert", texts[number])["all"],
    )


def _miss_then_insert(both: _Meeting, texts: Sequence[Sequence[str]]) -> Comparison:
    return _side_by_side(
        f"{both.name}-miss-insert",
        "misses, each followed by the insert of its answer, through HTTP",
        f"the same with {both.other}",
        "pairs/s",
        both.rounds,
        lambda number: _miss_and_insert(both.service, texts[number]),
        lambda number: len(texts[number]) / both.peer.do("miss-insert", texts[number])["all"],
    )


def _semantic_hit(both: _Meeting, near: Sequence[Sequence[str]]) -> Comparison:
    return _side_by_side(
        f"{both.name}-semantic",
        f"p50 of a semantic hit through HTTP, 1 client, {both.entries:,} entries",
        f"the same with {both.other}",
        "ms",
        both.rounds,
        lambda number: _ask(both.service, near[number], 1, SEMANTIC).p50,
        lambda number: 1000 * median(both.peer.do("ask", near[number])["each"]),
        goal=0.5,
        more_is_better=False,
    )


def _exact_hit(both: _Meeting, inserted: Sequence[Sequence[str]], goal: float) -> Comparison:
    known = [text for part in inserted for text in part]
    return _side_by_side(
        f"{both.name}-exact",
        f"exact hits through HTTP, {CLIENTS} clients, {both.entries:,} entries",
        f"the same questions asked of {both.other}, {CLIENTS} threads",
        "replies/s",
        both.rounds,
        lambda _: _ask(both.service, known * 5, CLIENTS, EXACT).rate,
        lambda number: len(inserted[number]) / both.peer.do("ask", inserted[number], CLIENTS)["all"],
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
