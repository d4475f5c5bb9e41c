"""What callers ask of the gateway's cache: by Cache-Control, by headers, by the body's ``cache``."""

from time import sleep
from typing import Any

import pytest
from flask import Flask

from modelcache.app import get_service
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.gateway_client import GatewayClient, chat_body
from tests.support.upstream import Upstream


@pytest.fixture
def app(make_app: AppFactory, upstream: Upstream) -> Flask:
    return make_app(upstream_url=upstream.url, lookup_deadline_ms=5000)


def controlled(**by: Any) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Give a wish by header and by field: headers, and further fields of the body."""
    return [({"cache-control": by["header"]}, {}), ({}, {"cache": by["field"]})]


@pytest.mark.parametrize(("headers", "more"), controlled(header="no-cache", field={"no-cache": True}))
def test_no_cache_asks_anew_and_keeps_the_answer(
    gateway: GatewayClient, upstream: Upstream, headers: dict[str, str], more: dict[str, Any]
) -> None:
    gateway.ask("q")
    upstream.script.text = lambda body: "newer"
    reply = gateway.ask("q", headers, **more)
    assert reply.headers["cache-status"] == "modelcache; fwd=request; stored"
    assert upstream.calls[-1].json == chat_body("q")
    assert "cache-control" not in upstream.calls[-1].headers
    assert gateway.said("q") == ("hit", "newer")


@pytest.mark.parametrize(("headers", "more"), controlled(header="no-store", field={"no-store": True}))
def test_no_store_keeps_nothing(
    gateway: GatewayClient, headers: dict[str, str], more: dict[str, Any]
) -> None:
    reply = gateway.ask("q", headers, **more)
    assert reply.headers["cache-status"] == "modelcache; fwd=miss; detail=no-store"
    assert reply.headers["x-modelcache-reason"] == "no-store"
    assert gateway.said("q")[0] == "miss"
    assert gateway.said("q", headers, **more)[0] == "hit"


@pytest.mark.parametrize(("headers", "more"), controlled(header="max-age=1", field={"s-maxage": 1}))
def test_an_entry_that_is_too_old_is_asked_anew(
    gateway: GatewayClient, headers: dict[str, str], more: dict[str, Any]
) -> None:
    gateway.ask("q")
    assert gateway.said("q", headers, **more)[0] == "hit"
    sleep(1.1)
    reply = gateway.ask("q", headers, **more)
    assert reply.headers["cache-status"] == "modelcache; fwd=stale; stored"
    assert gateway.said("q", headers, **more)[0] == "hit"


def test_only_if_cached_asks_nobody(gateway: GatewayClient, upstream: Upstream) -> None:
    reply = gateway.ask("q", {"cache-control": "only-if-cached"})
    assert (reply.status_code, reply.json and reply.json["error"]["code"]) == (504, "not_cached")
    assert not upstream.calls
    gateway.ask("q")
    assert gateway.said("q", {"cache-control": "only-if-cached"})[0] == "hit"


@pytest.mark.parametrize(("headers", "more"), [({"x-modelcache-ttl": "1"}, {}), ({}, {"cache": {"ttl": 1}})])
def test_an_entry_ends_with_its_time(
    gateway: GatewayClient, headers: dict[str, str], more: dict[str, Any]
) -> None:
    gateway.ask("q", headers, **more)
    reply = gateway.ask("q")
    assert reply.headers["cache-status"] in (
        "modelcache; hit; ttl=0; detail=exact",
        "modelcache; hit; ttl=1; detail=exact",
    )
    sleep(1.1)
    assert gateway.said("q")[0] == "miss"


def test_the_operators_time_bounds_that_of_requests(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, gateway_ttl=50, lookup_deadline_ms=5000)
    client = GatewayClient(app.test_client())
    client.ask("q", {"x-modelcache-ttl": "1000"})
    assert "ttl=49" in client.ask("q").headers["cache-status"]


@pytest.mark.parametrize(
    ("headers", "more"), [({"x-modelcache-namespace": "a"}, {}), ({}, {"cache": {"namespace": "a"}})]
)
def test_a_namespace_parts_a_tenants_entries(
    app: Flask, gateway: GatewayClient, headers: dict[str, str], more: dict[str, Any]
) -> None:
    gateway.ask("q")
    assert gateway.said("q", headers, **more)[0] == "miss"
    assert gateway.said("q", headers, **more)[0] == "hit"
    other = GatewayClient(app.test_client(), "sk-two")
    assert other.said("q", headers, **more)[0] == "miss"


def test_a_threshold_holds_for_one_request(gateway: GatewayClient) -> None:
    gateway.ask("q")
    reply = gateway.ask("q" + NEAR, {"x-modelcache-threshold": "1"})
    assert reply.headers["x-modelcache"] == "miss"


def test_the_mode_exact_takes_equal_questions_only(gateway: GatewayClient) -> None:
    gateway.ask("q")
    assert gateway.said("q", {"x-modelcache-mode": "exact"})[0] == "hit"
    assert gateway.said("q" + NEAR, {"x-modelcache-mode": "exact"})[0] == "miss"


@pytest.mark.parametrize(
    ("headers", "more"), [({"x-modelcache-mode": "off"}, {}), ({}, {"cache": {"use-cache": False}})]
)
def test_the_mode_off_goes_past_the_cache(
    gateway: GatewayClient, upstream: Upstream, headers: dict[str, str], more: dict[str, Any]
) -> None:
    for _ in range(2):
        reply = gateway.ask("q", headers, **more)
        assert (reply.headers["x-modelcache"], reply.headers["x-modelcache-reason"]) == ("bypass", "off")
    assert "x-modelcache-mode" not in upstream.calls[0].headers


def test_tags_are_kept_to_remove_by(app: Flask, gateway: GatewayClient) -> None:
    gateway.ask("q", {"x-modelcache-tags": "news, sport"})
    assert CacheClient(app.test_client()).remove("delete_by_tag", tags=["sport"])["response"] == {
        "status": "success",
        "VectorDB": "delete_count: 1",
        "ScalarDB": "delete_count: 1",
    }
    assert gateway.said("q")[0] == "miss"


@pytest.mark.parametrize(
    ("headers", "more", "param"),
    [
        ({"cache-control": "no-transform"}, {}, "cache-control"),
        ({"cache-control": "max-age=soon"}, {}, "cache-control"),
        ({"cache-control": "max-age=-1"}, {}, "cache-control"),
        ({"x-modelcache-ttl": "0"}, {}, "x-modelcache-ttl"),
        ({"x-modelcache-ttl": "inf"}, {}, "x-modelcache-ttl"),
        ({"x-modelcache-threshold": "2"}, {}, "x-modelcache-threshold"),
        ({"x-modelcache-mode": "shadow"}, {}, "x-modelcache-mode"),
        ({"x-modelcache-tags": "a,,b"}, {}, "x-modelcache-tags"),
        ({"x-modelcache-namespace": "n" * 257}, {}, "x-modelcache-namespace"),
        ({"x-modelcache-color": "red"}, {}, "x-modelcache-color"),
        ({}, {"cache": True}, "cache"),
        ({}, {"cache": {"no-cache": "yes"}}, "cache.no-cache"),
        ({}, {"cache": {"ttl": True}}, "cache.ttl"),
        ({}, {"cache": {"color": "red"}}, "cache.color"),
    ],
)
def test_a_wish_that_is_not_understood_is_refused_by_its_name(
    gateway: GatewayClient, upstream: Upstream, headers: dict[str, str], more: dict[str, Any], param: str
) -> None:
    reply = gateway.ask("q", headers, **more)
    assert reply.status_code == 400
    assert reply.json
    error = reply.json["error"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert error["message"].startswith(f"{param}: ")
    assert not upstream.calls


def test_what_a_hit_cost_may_be_told_as_nothing(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, hit_usage="zero", lookup_deadline_ms=5000)
    client = GatewayClient(app.test_client())
    client.ask("q")
    reply = client.ask("q")
    assert reply.json
    assert set(reply.json["usage"].values()) == {0}


def test_feedback_without_the_request_is_about_the_entrys_own_question(
    app: Flask, gateway: GatewayClient
) -> None:
    gateway.ask("q")
    entry_id = gateway.ask("q").headers["x-modelcache-entry-id"]
    told = {"entry_id": entry_id, "correct": True}
    reply = gateway.post(told, path="/v1/feedback")
    assert reply.json == {"object": "modelcache.feedback", "entry_id": int(entry_id), "status": "recorded"}
    stranger = GatewayClient(app.test_client(), "sk-two")
    assert stranger.post(told | {"correct": False}, path="/v1/feedback").status_code == 404
    assert gateway.said("q")[0] == "hit"
    reply = gateway.post(told | {"correct": False}, path="/v1/feedback")
    assert reply.json
    assert reply.json["status"] == "retired"
    assert gateway.said("q")[0] == "miss"


def test_feedback_with_the_request_is_about_its_question(app: Flask, gateway: GatewayClient) -> None:
    gateway.ask("q")
    near = gateway.ask("q" + NEAR)
    told = {"entry_id": int(near.headers["x-modelcache-entry-id"]), "correct": False}
    stranger = GatewayClient(app.test_client(), "sk-two")
    request = {"request": chat_body("q" + NEAR)}
    assert stranger.post(told | request, path="/v1/feedback").status_code == 404
    reply = gateway.post(told | request, path="/v1/feedback")
    assert reply.json
    assert reply.json["status"] == "recorded"
    reply = gateway.ask("q" + NEAR)
    assert (reply.headers["x-modelcache"], reply.headers["x-modelcache-reason"]) == ("miss", "feedback")
    assert gateway.said("q")[0] == "hit"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], "entry_id"),
        ({"correct": True}, "entry_id"),
        ({"entry_id": True, "correct": True}, "entry_id"),
        ({"entry_id": "x", "correct": True}, "entry_id"),
        ({"entry_id": 1, "correct": "no"}, "correct"),
        ({"entry_id": 1, "correct": True, "request": "q"}, "request"),
    ],
)
def test_feedback_that_is_misshapen_names_the_field(gateway: GatewayClient, body: Any, param: str) -> None:
    reply = gateway.post(body, path="/v1/feedback")
    assert reply.status_code == 400
    assert reply.json
    assert reply.json["error"]["param"] == param


@pytest.mark.parametrize("entry_id", [0, 10**6, 2**63, 10**30])
def test_feedback_of_an_entry_that_is_not_there_is_told(gateway: GatewayClient, entry_id: int) -> None:
    reply = gateway.post({"entry_id": str(entry_id), "correct": True}, path="/v1/feedback")
    assert reply.status_code == 404


@pytest.mark.parametrize("mode", ["shadow", "verified", "off"])
def test_the_gateway_keeps_to_the_models_mode(app: Flask, gateway: GatewayClient, mode: str) -> None:
    gateway.ask("q")
    CacheClient(app.test_client()).register("m", mode=mode)
    reply = gateway.ask("q" + NEAR)
    expected = ("bypass", "off") if mode == "off" else ("miss", mode)
    assert (reply.headers["x-modelcache"], reply.headers["x-modelcache-reason"]) == expected


def test_what_shadow_would_have_answered_is_compared_with_the_answer(
    app: Flask, gateway: GatewayClient
) -> None:
    CacheClient(app.test_client()).register("m", mode="shadow")
    gateway.ask("q")
    gateway.ask("q")
    cache = get_service(app).cache
    key = cache.data_manager.scalars.policies()[0].model_key
    for _ in range(100):
        seen = cache.data_manager.scalars.model_observations(key, 10)
        if seen:
            break
        sleep(0.1)
    assert [one.correct for one in seen] == [True]


def test_a_model_on_the_blacklist_goes_past_the_cache(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, model_blacklist="m", lookup_deadline_ms=5000)
    reply = GatewayClient(app.test_client()).ask("q")
    assert (reply.headers["x-modelcache"], reply.headers["x-modelcache-reason"]) == ("bypass", "blacklist")
