"""Texts of concurrent requests go through the embedder together, and each comes back to its own."""

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.records.vectors import Embeddings
from modelcache.testing.hash_embedder import HashEmbedder
from modelcache.testing.waiting import wait_until
from tests.support.running import all_at_once

MEGABYTE = 2**20


class WatchedEngine(HashEmbedder):
    """Keeps what it was asked for; it can be made to wait, and to fail at a text."""

    batch_texts = 4

    def __init__(self, parallel: int = 1) -> None:
        self.parallel = parallel
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()
        self.running = 0
        self.most_running = 0
        self.lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        with self.lock:
            self.batches.append(list(texts))
            self.running += 1
            self.most_running = max(self.running, self.most_running)
        self.go.wait()
        with self.lock:
            self.running -= 1
        if "bad" in texts:
            raise EmbeddingError("a bad text")
        if "worse" in texts:
            raise ZeroDivisionError
        return super().embed(texts)


@pytest.fixture
def engine() -> WatchedEngine:
    return WatchedEngine()


def opened(engine: WatchedEngine, memory_bytes: int = 0) -> GatheringEmbedder:
    gathering = GatheringEmbedder(engine, memory_bytes)
    gathering.open()
    return gathering


def held_up(
    engine: WatchedEngine, gathering: GatheringEmbedder, *calls: Sequence[str], urgent: Sequence[int] = ()
) -> list[Any]:
    """Make these calls one after another while the engine is busy with another text, and let it go.

    ``urgent`` are the numbers of the calls that are.
    """
    engine.go.clear()
    results: list[Any] = [None] * len(calls)

    def call(number: int) -> None:
        try:
            results[number] = gathering.embed(calls[number], urgent=number in urgent)
        except Exception as exc:  # noqa: BLE001 - told by the test
            results[number] = exc

    threads = [threading.Thread(target=gathering.embed, args=(["busy"],))]
    threads[0].start()
    wait_until(lambda: engine.running == 1, "being busy")
    for number in range(len(calls)):
        threads.append(threading.Thread(target=call, args=(number,)))
        threads[-1].start()
        wait_until(waits(gathering, calls[number]), "being queued")
    engine.go.set()
    for thread in threads:
        thread.join()
    return results


def waits(gathering: GatheringEmbedder, texts: Sequence[str]) -> Callable[[], bool]:
    return lambda: all(text in gathering._on_its_way for text in texts)


def test_vectors_are_those_of_the_engine(engine: WatchedEngine) -> None:
    texts = ["a", "b", "a", "", "\ud800", *(f"text {number}" for number in range(20))]
    gathering = opened(engine)
    np.testing.assert_array_equal(gathering.embed(texts), HashEmbedder().embed(texts))
    assert gathering.embed([]).shape == (0, engine.dimension)


def test_who_comes_meanwhile_shares_the_next_batch(engine: WatchedEngine) -> None:
    results = held_up(engine, opened(engine), ["a"], ["b"], ["c"])
    assert engine.batches == [["busy"], ["a", "b", "c"]]
    np.testing.assert_array_equal(np.concatenate(results), HashEmbedder().embed(["a", "b", "c"]))


def test_equal_texts_on_their_way_are_embedded_once(engine: WatchedEngine) -> None:
    held_up(engine, opened(engine), ["a"], ["a"], ["busy"], ["b", "a"])
    assert sorted(text for batch in engine.batches for text in batch) == ["a", "b", "busy"]


def test_a_query_goes_before_a_large_request_which_is_not_kept_waiting(engine: WatchedEngine) -> None:
    large = [f"large {number}" for number in range(6)]
    held_up(engine, opened(engine), large, *([f"query {number}"] for number in range(4)))
    assert engine.batches[1:3] == [
        ["query 0", "query 1", "large 0", "large 1"],
        ["query 2", "query 3", "large 2", "large 3"],
    ]


def test_the_texts_of_an_urgent_call_go_before_a_large_request(engine: WatchedEngine) -> None:
    large = [f"large {number}" for number in range(6)]
    held_up(engine, opened(engine), large, ["last turn", "earlier turn"], urgent=[1])
    assert engine.batches[1] == ["last turn", "earlier turn", "large 0", "large 1"]


def test_long_texts_are_given_to_the_engine_in_smaller_batches(engine: WatchedEngine) -> None:
    engine.batch_chars = 10
    held_up(engine, opened(engine), ["x" * 30], ["y" * 8], ["z" * 8])
    assert [len(batch) for batch in engine.batches] == [1, 1, 2]


def test_a_failure_reaches_whoever_shared_the_batch_and_nobody_else(engine: WatchedEngine) -> None:
    gathering = opened(engine, MEGABYTE)
    results = held_up(engine, gathering, ["bad"], ["a"], ["b"], ["c"], ["d"])
    assert [isinstance(result, EmbeddingError) for result in results] == [True] * 4 + [False]
    with pytest.raises(ZeroDivisionError):
        gathering.embed(["worse"])
    np.testing.assert_array_equal(gathering.embed(["a"]), HashEmbedder().embed(["a"]))


def test_a_recent_text_is_not_embedded_again(engine: WatchedEngine) -> None:
    gathering = opened(engine, MEGABYTE)
    first = gathering.embed(["a", "b"])
    first[:] = 0  # what was returned is the caller's own
    np.testing.assert_array_equal(gathering.embed(["b", "a"]), HashEmbedder().embed(["b", "a"]))
    assert engine.batches == [["a", "b"]]


def test_the_memory_is_bounded(engine: WatchedEngine) -> None:
    gathering = opened(engine, 2000)
    for number in range(100):
        gathering.embed([f"text {number}"])
    engine.batches.clear()
    gathering.embed(["text 99"])
    gathering.embed(["text 0"])
    assert engine.batches == [["text 0"]]


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("memory", [0, 3000])
def test_everybody_gets_their_own_under_load(parallel: int, memory: int) -> None:
    engine = WatchedEngine(parallel)
    gathering = opened(engine, memory)
    reference = {f"text {number}": HashEmbedder().embed([f"text {number}"])[0] for number in range(40)}

    def ask(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(60):
            texts = chance.choices(list(reference), k=chance.choice([1, 1, 1, 7]))
            np.testing.assert_array_equal(gathering.embed(texts), [reference[text] for text in texts])

    assert all_at_once(*[lambda seed=seed: ask(seed) for seed in range(12)]) == [None] * 12
    assert engine.most_running <= parallel
    gathering.close()
    assert not gathering._on_its_way


def test_what_is_queued_is_answered_before_the_end(engine: WatchedEngine) -> None:
    gathering = opened(engine)
    engine.go.clear()
    results: list[Embeddings] = []
    caller = threading.Thread(target=lambda: results.append(gathering.embed(["a"])))
    caller.start()
    wait_until(waits(gathering, ["a"]), "being queued")
    closer = threading.Thread(target=gathering.close)
    closer.start()
    engine.go.set()
    caller.join()
    closer.join()
    np.testing.assert_array_equal(results, [HashEmbedder().embed(["a"])])
    with pytest.raises(EmbeddingError):
        gathering.embed(["b"])
    gathering.close()


def test_the_engine_is_opened_and_called_by_one_thread(
    engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers: set[int] = set()
    original = engine.embed

    def embed(texts: Sequence[str]) -> Embeddings:
        callers.add(threading.get_ident())
        return original(texts)

    monkeypatch.setattr(engine, "embed", embed)
    monkeypatch.setattr(engine, "open", lambda: callers.add(threading.get_ident()))
    gathering = opened(engine)
    all_at_once(*[lambda number=number: gathering.embed([str(number)]) for number in range(5)])
    assert len(callers) == 1
    gathering.close()


def test_an_engine_that_cannot_be_opened_says_so(
    engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ConfigError("no weights")

    monkeypatch.setattr(engine, "open", fail)
    with pytest.raises(ConfigError, match="no weights"):
        opened(engine)


def test_a_text_can_be_embedded_anew(engine: WatchedEngine) -> None:
    gathering = opened(engine, MEGABYTE)
    gathering.embed(["a"])
    gathering.embed(["a"], anew=True)
    assert engine.batches == [["a"], ["a"]]


def test_an_engine_that_gives_too_few_vectors_is_an_error(
    engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathering = opened(engine)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "embed", lambda texts: HashEmbedder().embed(texts[:-1]))
        with pytest.raises(EmbeddingError, match="1 vectors of 2"):
            gathering.embed(["a", "b"])
    assert gathering.embed(["a"]).shape == (1, engine.dimension)
