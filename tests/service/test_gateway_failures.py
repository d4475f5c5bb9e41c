"""Whatever fails in the cache, the server behind is asked, and a header says why."""

import threading
from time import monotonic, sleep
from typing import Any

import pytest
from flask import Flask

from modelcache.app import create_app, get_service
from modelcache.core import Cache
from modelcache.errors import EmbeddingError, ScalarStoreError, VectorStoreError
from modelcache.gateway.flight import StoreFlights
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.conftest import AppFactory
from tests.support.gateway_client import GatewayClient, text_of
from tests.support.running import all_at_once
from tests.support.upstream import Upstream


@pytest.fixture
def app(make_app: AppFactory, upstream: Upstream) -> Flask:
    return make_app(upstream_url=upstream.url, lookup_deadline_ms=1000)


def failing(error: Exception) -> Any:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("part", "name", "error", "reason"),
    [
        ("scalars", "find_exact", ScalarStoreError("gone"), "store"),
        ("vectors", "search", VectorStoreError("gone"), "store"),
        ("scalars", "get_live", ScalarStoreError("gone"), "store"),
        ("embedder", "embed", EmbeddingError("gone"), "embedder"),
        ("judge", "judge", RuntimeError("a mistake"), "error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_part_that_fails_has_the_server_behind_asked(
    cache: Cache,
    gateway: GatewayClient,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    name: str,
    error: Exception,
    reason: str,
    stream: bool,
) -> None:
    gateway.ask("q")
    parts = {"scalars": cache.data_manager.scalars, "vectors": cache.data_manager.vectors}
    monkeypatch.setattr(
        {**parts, "embedder": cache.embedder, "judge": cache.judge}[part], name, failing(error)
    )
    reply = gateway.ask("q" + NEAR, stream=stream)
    assert text_of(reply) == "You asked: q" + NEAR
    assert reply.headers["cache-status"].startswith("modelcache; fwd=bypass")
    assert (reply.headers["x-modelcache"], reply.headers["x-modelcache-reason"]) == ("bypass", reason)
    assert "gone" not in str(reply.headers)


def test_an_answer_that_cannot_be_kept_is_told_all_the_same(
    cache: Cache, gateway: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.data_manager, "insert", failing(ScalarStoreError("gone")))
    for stream in (False, True):
        reply = gateway.ask("q", stream=stream)
        assert text_of(reply) == "You asked: q"
        assert "stored" not in reply.headers["cache-status"]


@pytest.mark.parametrize("slow", ["embed", "find_exact"])
def test_what_takes_too_long_is_not_waited_for(
    make_app: AppFactory, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    app = make_app(upstream_url=upstream.url, lookup_deadline_ms=100)
    cache = get_service(app).cache
    part: Any = cache.embedder if slow == "embed" else cache.data_manager.scalars
    original = getattr(part, slow)

    def slowly(*arguments: Any) -> Any:
        sleep(1.5)
        return original(*arguments)

    monkeypatch.setattr(part, slow, slowly)
    started = monotonic()
    reply = GatewayClient(app.test_client()).ask("q")
    assert monotonic() - started < 1
    assert (reply.headers["x-modelcache"], reply.headers["x-modelcache-reason"]) == ("bypass", "deadline")
    assert text_of(reply) == "You asked: q"


def test_an_envelope_that_cannot_be_read_is_a_miss(
    cache: Cache, gateway: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.ask("q")
    for broken in ("{", "[]", '{"completion": 3}'):
        monkeypatch.setattr(cache.data_manager.scalars, "envelope", lambda id_, told=broken: told)
        assert gateway.said("q") == ("miss", "You asked: q")


def test_a_service_that_is_starting_passes_on(upstream: Upstream, tmp_path: Any) -> None:
    app = create_app(
        {"data_dir": tmp_path, "upstream_url": upstream.url}, embedder=HashEmbedder(), open_now=False
    )
    reply = GatewayClient(app.test_client()).ask("q")
    assert (reply.status_code, reply.headers["x-modelcache-reason"]) == (200, "starting")
    get_service(app).close()


def test_more_than_there_are_threads_for_is_refused_at_once(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, gateway_threads=2, lookup_deadline_ms=5000)
    clients = [GatewayClient(app.test_client()) for _ in range(4)]
    clients[3].ask("kept")
    upstream.script.seconds = 1
    replies: list[Any] = []

    def late() -> None:
        sleep(0.5)
        replies.append(clients[2].ask("z"))
        replies.append(clients[3].ask("kept"))

    all_at_once(lambda: clients[0].ask("x"), lambda: clients[1].ask("y"), late)
    refused, hit = replies
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json["error"]["code"] == "too_many_requests"
    assert hit.headers["x-modelcache"] == "hit"
    upstream.script.seconds = 0
    assert clients[2].said("z")[0] == "miss"


def test_places_are_given_back_after_failures(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, gateway_threads=1, lookup_deadline_ms=5000)
    client = GatewayClient(app.test_client())
    for fault in ("drop", "cut", "error", ""):
        upstream.script.fault = fault
        assert client.ask("q", stream=fault in ("cut", "error")).status_code != 429


def test_equal_questions_in_flight_ask_once(app: Flask, upstream: Upstream) -> None:
    upstream.script.seconds = 0.1
    clients = [GatewayClient(app.test_client()) for _ in range(20)]
    replies: Any = all_at_once(
        *(lambda client=client, n=n: client.ask("q", stream=n % 3 == 0) for n, client in enumerate(clients))
    )
    assert len(upstream.calls) == 1
    assert {text_of(reply) for reply in replies} == {"You asked: q"}
    told = [reply.headers["cache-status"] for reply in replies if reply.headers["x-modelcache"] == "hit"]
    assert len(told) == 19
    assert "modelcache; fwd=miss; collapsed" in told


def test_a_question_in_flight_answers_those_in_other_words(app: Flask, upstream: Upstream) -> None:
    upstream.script.seconds = 0.5
    first, second, third = (GatewayClient(app.test_client()) for _ in range(3))

    def later() -> Any:
        sleep(0.2)
        return second.ask("q" + NEAR)

    def another() -> Any:
        sleep(0.2)
        return third.ask("another")

    replies: Any = all_at_once(lambda: first.ask("q"), later, another)
    assert [text_of(reply) for reply in replies] == ["You asked: q", "You asked: q", "You asked: another"]
    assert len(upstream.calls) == 2


@pytest.mark.parametrize("fault", ["finish", "drop", "status"])
def test_those_who_wait_for_an_answer_that_does_not_come_ask_alone(
    app: Flask, upstream: Upstream, fault: str
) -> None:
    upstream.script.seconds = 0.2
    upstream.script.finish_reason = "length" if fault == "finish" else "stop"
    upstream.script.status = 503 if fault == "status" else 200
    upstream.script.fault = "drop" if fault == "drop" else ""
    clients = [GatewayClient(app.test_client()) for _ in range(3)]
    replies: Any = all_at_once(*(lambda client=client: client.ask("q") for client in clients))
    expected = {"finish": 200, "drop": 502, "status": 503}[fault]
    assert [reply.status_code for reply in replies] == [expected] * 3
    assert len(upstream.calls) == 3


def test_nobody_waits_longer_than_is_set(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, single_flight_seconds=0.1, lookup_deadline_ms=5000)
    upstream.script.seconds = 0.6
    clients = [GatewayClient(app.test_client()) for _ in range(2)]
    all_at_once(*(lambda client=client: client.ask("q") for client in clients))
    assert len(upstream.calls) == 2


def test_a_lease_keeps_other_processes_from_asking(cache: Cache) -> None:
    from modelcache.processor.pre import make_question
    from modelcache.records.dialogue import Message

    question = make_question("m", {}, [Message("user", "q")], cache.settings)
    flights = StoreFlights(cache.data_manager, 0.5)
    entry, holder = flights.wait(question)
    assert (entry, bool(holder)) == (None, True)
    started = monotonic()
    assert flights.wait(question)[0] is None
    assert monotonic() - started > 0.3
    waited: list[Any] = []
    flights = StoreFlights(cache.data_manager, 5)
    entry, holder = flights.wait(question)
    thread = threading.Thread(target=lambda: waited.append(flights.wait(question)))
    thread.start()
    sleep(0.1)
    flights.release(question, holder)
    thread.join()
    assert waited[0][0] is None
    assert waited[0][1] not in ("", holder)


def test_a_store_that_fails_keeps_nobody_from_asking(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelcache.processor.pre import make_question
    from modelcache.records.dialogue import Message

    question = make_question("m", {}, [Message("user", "q")], cache.settings)
    monkeypatch.setattr(cache.data_manager.scalars, "take_lease", failing(ScalarStoreError("gone")))
    monkeypatch.setattr(cache.data_manager.scalars, "release_lease", failing(ScalarStoreError("gone")))
    flights = StoreFlights(cache.data_manager, 5)
    assert flights.wait(question) == (None, "")
    flights.release(question, "holder")
