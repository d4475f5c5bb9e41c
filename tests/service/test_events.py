"""What happens in the service is told to those who listen, whatever API it came through."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from modelcache.app import get_service
from modelcache.errors import ScalarStoreError
from modelcache.events import Events
from modelcache.records.event import Embedded, Failed, Inserted, Queried, Removed, SentOn, Told, Usage
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.service.test_langcache import LangCacheClient
from tests.support.client import CacheClient
from tests.support.gateway_client import GatewayClient, chat_body
from tests.support.upstream import Upstream

KINDS = (Queried, Inserted, Removed, Told, Embedded, SentOn, Failed)


@pytest.fixture
def app(make_app: AppFactory, upstream: Upstream) -> Flask:
    return make_app(
        upstream_url=upstream.url, lookup_deadline_ms=5000, langcache=True, gptcache_model="g", mode="serve"
    )


class Heard:
    """Keeps what an app tells."""

    def __init__(self, app: Flask) -> None:
        self.events: list[Any] = []
        for kind in KINDS:
            get_service(app).events.listen(kind, self.events.append)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


@pytest.fixture
def heard(app: Flask) -> Heard:
    return Heard(app)


def gptcache_post(app: Flask, path: str, **body: str) -> Any:
    return app.test_client().post(path, json=body)


# Each keeps an answer to "q", then asks "q", the same in other words, and something else.
def by_modelcache(app: Flask) -> None:
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    for text in ("q", "q" + NEAR, "other"):
        client.query(text)


def by_gateway(app: Flask) -> None:
    gateway = GatewayClient(app.test_client())
    for text in ("q", "q", "q" + NEAR, "other"):
        gateway.ask(text)


def by_langcache(app: Flask) -> None:
    langcache = LangCacheClient(app)
    langcache.insert("q", "a")
    for text in ("q", "q" + NEAR, "other"):
        langcache.search(text)


def by_gptcache(app: Flask) -> None:
    gptcache_post(app, "/put", prompt="q", answer="a")
    for text in ("q", "q" + NEAR, "other"):
        gptcache_post(app, "/get", prompt=text)


@pytest.mark.parametrize(
    ("api", "use", "model"),
    [
        ("modelcache", by_modelcache, "m"),
        ("gateway", by_gateway, "m"),
        ("langcache", by_langcache, "c"),
        ("gptcache", by_gptcache, "g"),
    ],
    ids=["modelcache", "gateway", "langcache", "gptcache"],
)
def test_every_api_tells_of_its_queries_and_inserts(
    app: Flask, heard: Heard, api: str, use: Callable[[Flask], None], model: str
) -> None:
    use(app)
    queried = heard.of(Queried)
    assert {event.api for event in queried} == {api}
    assert {event.model for event in queried} == {model}
    told = [(event.outcome, event.hit_type) for event in queried]
    assert told[-3:] == [("hit", "exact"), ("hit", "semantic"), ("miss", "")]
    assert all(event.seconds > 0 for event in queried)
    assert queried[-3].entry_id == queried[-2].entry_id
    assert 0.9 < queried[-2].similarity < 1
    assert {(event.api, event.model, event.entries) for event in heard.of(Inserted)} == {(api, model, 1)}
    assert sum(event.texts for event in heard.of(Embedded)) >= 3
    assert not heard.of(Failed)


def test_the_gateway_tells_what_a_hit_saved_and_how_old_it_is(app: Flask, heard: Heard) -> None:
    gateway = GatewayClient(app.test_client())
    gateway.ask("q")
    gateway.ask("q", stream=True)
    miss, hit = heard.of(Queried)
    assert (miss.usage, miss.entry_age) == (None, None)
    assert hit.usage == Usage(prompt=5, completion=7)
    assert 0 <= hit.entry_age < 60
    assert [event.status for event in heard.of(SentOn)] == ["200"]


@pytest.mark.parametrize(
    ("more", "headers", "outcome", "reason"),
    [
        ({}, {"Cache-Control": "no-cache"}, "bypass", "no-cache"),
        ({"n": 2}, {}, "bypass", "n"),
        ({}, {"x-modelcache-mode": "off"}, "bypass", "off"),
        ({}, {"Cache-Control": "only-if-cached"}, "miss", ""),
    ],
    ids=["no-cache", "n", "off", "only-if-cached"],
)
def test_the_gateway_tells_why_the_cache_had_no_part(
    app: Flask, heard: Heard, more: dict[str, Any], headers: dict[str, str], outcome: str, reason: str
) -> None:
    GatewayClient(app.test_client()).post(chat_body("q", **more), headers)
    [event] = heard.of(Queried)
    assert (event.outcome, event.reason) == (outcome, reason)


def test_a_server_behind_that_is_gone_is_told(app: Flask, heard: Heard, upstream: Upstream) -> None:
    upstream.script.fault = "drop"
    assert GatewayClient(app.test_client()).ask("q").status_code == 502
    assert [event.status for event in heard.of(SentOn)] == ["broke_off"]
    assert [event.outcome for event in heard.of(Queried)] == ["miss"]
    assert [(event.api, event.code) for event in heard.of(Failed)] == [("gateway", 502)]


def test_a_query_that_is_not_looked_up_tells_why(app: Flask, heard: Heard) -> None:
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    client.query("q", cache_skip=True)
    client.register(mode="off")
    client.query("q")
    client.register(mode="shadow")
    client.query("q")
    told = [(event.outcome, event.reason, event.is_withheld) for event in heard.of(Queried)]
    assert told == [("bypass", "skip", False), ("bypass", "off", False), ("miss", "", True)]


def test_failures_are_told(app: Flask, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ScalarStoreError("gone")

    client = CacheClient(app.test_client())
    client.post({"type": "query"})
    monkeypatch.setattr(get_service(app).cache.data_manager, "find_exact", fail)
    client.query("q")
    assert LangCacheClient(app).call("POST", "/entries/search", {"prompt": "q"}).status_code == 424
    assert gptcache_post(app, "/get", prompt="q").status_code == 503
    assert GatewayClient(app.test_client()).ask("q").status_code == 200
    told = [(event.api, event.outcome, event.reason) for event in heard.of(Queried)]
    assert told == [
        ("modelcache", "error", ""),
        ("langcache", "error", ""),
        ("gptcache", "error", ""),
        ("gateway", "bypass", "store"),
    ]
    assert [tuple(event) for event in heard.of(Failed)] == [
        ("modelcache", "query", 103),
        ("modelcache", "query", 201),
        ("langcache", "query", 424),
        ("gptcache", "query", 503),
    ]


def test_removals_and_feedback_are_told(make_app: AppFactory) -> None:
    app = make_app(max_size=2, clean_size=1)
    heard = Heard(app)
    client = CacheClient(app.test_client())
    ids = client.insert(("one", "a"), ("two", "b"), tags=["t"])["ids"]
    client.insert(("three", "c"))
    client.feedback(ids[1], "two", True)
    client.feedback(ids[1], "two", False)
    client.feedback(ids[1], "two", False)
    client.remove("delete_by_tag", tags=["t"])
    client.remove("truncate_by_model")
    assert [(event.cause, event.entries) for event in heard.of(Removed)] == [
        ("evicted", 1),
        ("id", 1),
        ("truncate", 1),
    ]
    assert [(event.verdict, event.status) for event in heard.of(Told)] == [
        ("right", "recorded"),
        ("wrong", "retired"),
        ("wrong", "unknown"),
    ]


def test_a_listener_that_fails_keeps_nobody_from_an_answer(
    app: Flask, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: object) -> None:
        raise RuntimeError("no")

    get_service(app).events.listen(Queried, fail)
    get_service(app).events.listen(Queried, heard.events.append)
    assert CacheClient(app.test_client()).query("q")["errorCode"] == 0
    assert len(heard.of(Queried)) == 2
    assert "a listener failed" in caplog.text


def test_nobody_need_listen() -> None:
    Events().tell(Failed("modelcache", "query", 101))
