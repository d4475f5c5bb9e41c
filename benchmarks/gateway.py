"""The gateway beside the server behind it, and beside the same look-up without it."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import requests

from benchmarks.load import drive, request_bytes
from benchmarks.measure import Comparison, alternate, milliseconds
from benchmarks.questions import questions
from benchmarks.semantic import ANY, DEMO, HIT, Fresh
from benchmarks.sizes import Sizes
from benchmarks.stocked import (
    ANSWER,
    bundled_embedder,
    demo_settings,
    query_body,
    random_vectors,
    running,
    serving,
    stock,
)
from modelcache.embedding.e5 import E5Embedder
from tests.support.gateway_client import CHAT, chat_body
from tests.support.running import RunningService
from tests.support.upstream import Script, Upstream

THREADS = 8
WHOLE, STREAMED = b'"chat.completion"', b"[DONE]"
# What the gateway may add, in milliseconds.
MISS_MS, HIT_MS = 5.0, 3.0
STREAMS = 64
# Look-ups of a service that has few threads for them.
FEW_THREADS = 2
CHUNK_SECONDS = 0.25
MODEL = "m"


def run(sizes: Sizes, folder: Path) -> Iterator[Comparison]:
    """Compare misses, hits, replayed streams, and look-ups beside streams that flow."""
    embedder = bundled_embedder()
    reply = folder / "reply"
    with Upstream() as example:
        reply.write_text(json.dumps(example.completion(chat_body("q"), Script(text=lambda body: ANSWER))))
    texts = questions(sizes.entries)
    data = folder / "data"
    stock(demo_settings(data), texts, random_vectors(len(texts), embedder.dimension), embedder)
    with running(folder / "bare", "-m", "benchmarks.bare", str(THREADS), str(reply)) as behind:
        chosen = {"slot_guard": False, "upstream_url": f"{behind.url}/v1", "gateway_tenant": "shared"}
        with serving(DEMO, data, lookup_deadline_ms=60_000, **chosen) as service:
            fresh = Fresh()
            yield _miss(sizes, service, behind, embedder, fresh)
            yield _hit(
                "gateway-hit", "a semantic hit through the gateway", sizes, service, fresh, stream=False
            )
            yield _hit("gateway-stream", "the same as a stream", sizes, service, fresh, stream=True)
    yield _beside_streams(sizes, folder)


def _chats(texts: Sequence[str], threshold: float, *, stream: bool = False) -> list[bytes]:
    more = {"stream": True} if stream else {}
    headers = {"x-modelcache-threshold": str(threshold)}
    return [request_bytes(chat_body(text, MODEL, **more), CHAT, headers) for text in texts]


def _strange(texts: Sequence[str]) -> list[bytes]:
    """Ask what no entry is near to: these questions are all alike, and each is kept."""
    return [
        request_bytes(chat_body(text, MODEL), CHAT, {"x-modelcache-namespace": text[:256]}) for text in texts
    ]


def _miss(
    sizes: Sizes, service: RunningService, behind: RunningService, embedder: E5Embedder, fresh: Fresh
) -> Comparison:
    texts = [fresh.texts(sizes.embedded) for _ in range(sizes.rounds)]

    def ours(turn: int) -> float:
        return drive(service.url, _strange(texts[turn]), 1, WHOLE).p50

    def theirs(turn: int) -> float:
        embedding = median(milliseconds(partial(embedder.embed, [text])) for text in texts[turn])
        return drive(behind.url, _strange(texts[turn]), 1, WHOLE).p50 + embedding + MISS_MS

    return Comparison(
        "gateway-miss",
        "p50 of a miss through the gateway, which is kept; no entry is near; 1 client",
        f"the server behind alone and the embedder alone on the same texts, and {MISS_MS:g} ms",
        "ms",
        *alternate("gateway-miss", sizes.rounds, ours, theirs),
        goal=1.0,
        more_is_better=False,
    )


def _hit(
    name: str, what: str, sizes: Sizes, service: RunningService, fresh: Fresh, *, stream: bool
) -> Comparison:
    # An entry that the gateway made, and that is the nearest of all.
    drive(service.url, _chats(fresh.texts(1), 1.0), 1, WHOLE)

    def ours(turn: int) -> float:
        expected = STREAMED if stream else WHOLE
        return drive(service.url, _chats(fresh.texts(sizes.embedded), ANY, stream=stream), 1, expected).p50

    def theirs(turn: int) -> float:
        asked = [request_bytes(query_body(text, threshold=ANY)) for text in fresh.texts(sizes.embedded)]
        return drive(service.url, asked, 1, HIT).p50 + HIT_MS

    return Comparison(
        name,
        f"p50 of {what}, 1 client",
        f"a semantic hit of POST /modelcache, and {HIT_MS:g} ms",
        "ms",
        *alternate(name, sizes.rounds, ours, theirs),
        goal=1.0,
        more_is_better=False,
    )


def _beside_streams(sizes: Sizes, folder: Path) -> Comparison:
    """Compare the slowest look-ups while streams flow with those while none does."""
    data = folder / "streams"
    with Upstream() as upstream:
        upstream.script = Script(seconds=CHUNK_SECONDS, text=lambda body: ANSWER)
        chosen = {"upstream_url": upstream.url, "gateway_tenant": "shared", "threads": FEW_THREADS}
        with serving(DEMO, data, gateway_threads=STREAMS, **chosen) as service:
            service.insert([("q", "a")])
            asked = [request_bytes(query_body("q") | {"scope": {"model": "m"}})] * sizes.exact_requests

            def p95(turn: int) -> float:
                return drive(service.url, asked, FEW_THREADS, b'"hit_type":"exact"').p95

            def beside(turn: int) -> float:
                with _streams(service.url, turn):
                    return p95(turn)

            figures = alternate("gateway-streams", sizes.rounds, beside, p95)
    return Comparison(
        "gateway-streams",
        f"p95 of exact hits while {STREAMS} streams flow through the gateway, {FEW_THREADS} threads",
        "the same while none does",
        "ms",
        *figures,
        goal=1.5,
        more_is_better=False,
    )


@contextmanager
def _streams(url: str, turn: int) -> Iterator[None]:
    """Let streams flow, all of them begun, until the end of the block."""
    over = threading.Event()
    begun = threading.Semaphore(0)

    def read(reader: int) -> None:
        body = chat_body(f"stream {turn} {reader}", stream=True)
        with requests.post(f"{url}{CHAT}", json=body, stream=True, timeout=60) as reply:
            for number, _ in enumerate(reply.iter_content(None)):
                if number == 0:
                    begun.release()
                if over.is_set():
                    return

    readers = [threading.Thread(target=read, args=(number,)) for number in range(STREAMS)]
    with ExitStack() as ending:
        for reader in readers:
            reader.start()
            ending.callback(reader.join)
        ending.callback(over.set)
        for _ in readers:
            begun.acquire()
        yield
