"""The OpenAI-compatible endpoint, in front of a server of our own that speaks HTTP."""

import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modelcache.app import get_service
from modelcache.errors import ConfigError
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.gateway_client import CHAT, GatewayClient, chat_body, events_of, headers_of, text_of
from tests.support.upstream import MODEL, USAGE, Script, Upstream


@pytest.fixture
def app(make_app: AppFactory, upstream: Upstream) -> Flask:
    return make_app(upstream_url=upstream.url, lookup_deadline_ms=5000)


def test_a_miss_is_answered_by_the_server_behind_and_told_so(
    gateway: GatewayClient, upstream: Upstream
) -> None:
    reply = gateway.ask("q")
    [call] = upstream.calls
    assert reply.json == upstream.completion(chat_body("q"))
    assert call.json == chat_body("q")
    assert call.headers["authorization"] == "Bearer sk-one"
    assert reply.headers["x-modelcache"] == "miss"
    assert reply.headers["cache-status"] == "modelcache; fwd=miss; stored"
    assert reply.headers["x-modelcache-entry-id"]


def test_an_equal_question_is_answered_from_the_cache(gateway: GatewayClient, upstream: Upstream) -> None:
    first = gateway.ask("q")
    again = gateway.ask("q")
    assert len(upstream.calls) == 1
    assert again.headers["x-modelcache"] == "hit"
    assert again.headers["cache-status"] == "modelcache; hit; detail=exact"
    assert again.headers["age"] == "0"
    assert again.headers["x-modelcache-entry-id"] == first.headers["x-modelcache-entry-id"]
    one, other = first.json, again.json
    assert one
    assert other
    assert one.pop("id") != other.pop("id")
    assert one.pop("created") < other.pop("created")
    assert one == other


def test_a_question_in_other_words_is_answered_from_the_cache(
    gateway: GatewayClient, upstream: Upstream
) -> None:
    gateway.ask("q")
    reply = gateway.ask("q" + NEAR)
    assert len(upstream.calls) == 1
    assert text_of(reply) == "You asked: q"
    assert reply.headers["cache-status"] == "modelcache; hit; detail=semantic"
    assert 0.9 < float(reply.headers["x-modelcache-similarity"]) < 1
    assert float(reply.headers["x-modelcache-confidence"]) > 0.5


@pytest.mark.parametrize("kept_as_stream", [True, False])
@pytest.mark.parametrize("asked_as_stream", [True, False])
def test_one_entry_serves_both_forms(
    gateway: GatewayClient, upstream: Upstream, kept_as_stream: bool, asked_as_stream: bool
) -> None:
    upstream.script.message = {"reasoning_content": "think of it"}
    options = {"include_usage": True}
    gateway.ask("a b c", stream=kept_as_stream, stream_options=options).get_data()
    reply = gateway.ask("a b c", stream=asked_as_stream, stream_options=options)
    assert len(upstream.calls) == 1
    assert reply.headers["x-modelcache"] == "hit"
    assert text_of(reply) == "You asked: a b c"
    if not asked_as_stream:
        assert reply.json
        assert reply.json["usage"] == USAGE
        assert reply.json["choices"][0]["message"]["reasoning_content"] == "think of it"
        assert (reply.json["model"], reply.json["system_fingerprint"]) == (MODEL, "fp_1")
        return
    first, *chunks, last, usage = events_of(reply.data)
    assert first["choices"][0]["delta"]["role"] == "assistant"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "think of it"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]) == ([], USAGE)
    assert all(chunk["usage"] is None for chunk in (first, *chunks, last))
    assert {chunk["id"] for chunk in chunks} == {first["id"]}


def test_a_replayed_stream_has_no_usage_unless_it_is_asked_for(gateway: GatewayClient) -> None:
    gateway.ask("q")
    assert all("usage" not in chunk for chunk in events_of(gateway.ask("q", stream=True).data))


def test_a_streamed_miss_goes_through_as_it_is(gateway: GatewayClient, upstream: Upstream) -> None:
    body = chat_body("a question of some length", stream=True)
    reply = gateway.post(body)
    assert reply.headers["cache-status"] == "modelcache; fwd=miss"
    assert events_of(reply.data) == list(upstream.chunks(body))


def test_a_stream_without_its_end_mark_is_whole_by_its_finish_reason(
    gateway: GatewayClient, upstream: Upstream
) -> None:
    upstream.script = Script(done=False, separator="\r\n\r\n")
    gateway.ask("q", stream=True).get_data()
    assert gateway.said("q") == ("hit", "You asked: q")


@pytest.mark.parametrize(
    ("script", "stream", "reason"),
    [
        (Script(finish_reason="length"), False, "finish-length"),
        (Script(finish_reason="content_filter"), False, "finish-content-filter"),
        (Script(finish_reason="tool_calls"), False, "finish-tool-calls"),
        (Script(message={"tool_calls": [{"id": "c", "type": "function"}]}), False, "tool-calls"),
        (Script(text=lambda body: " "), False, "empty"),
        (Script(message={"refusal": "no"}), False, "refusal"),
        (Script(status=429), False, "status"),
        (Script(status=500), False, "status"),
        (Script(finish_reason="length"), True, ""),
        (Script(fault="no-finish"), True, ""),
        (Script(fault="error"), True, ""),
        (Script(fault="cut"), True, ""),
    ],
)
def test_what_is_not_whole_or_not_right_is_not_kept(
    gateway: GatewayClient, upstream: Upstream, script: Script, stream: bool, reason: str
) -> None:
    upstream.script = script
    reply = gateway.ask("q", stream=stream)
    reply.get_data()
    assert reply.headers.get("x-modelcache-reason", "") == reason
    assert "stored" not in reply.headers["cache-status"]
    upstream.script = Script()
    assert gateway.said("q") == ("miss", "You asked: q")


def test_an_error_of_the_server_behind_goes_through_as_it_is(
    gateway: GatewayClient, upstream: Upstream
) -> None:
    upstream.script = Script(status=429, headers={"Retry-After": "7", "x-request-id": "r"})
    reply = gateway.ask("q")
    assert (reply.status_code, reply.json) == (429, {"error": upstream.script.error})
    assert (reply.headers["retry-after"], reply.headers["x-request-id"]) == ("7", "r")


def test_a_stream_that_breaks_off_ends_with_an_error(gateway: GatewayClient, upstream: Upstream) -> None:
    upstream.script.fault = "cut"
    data = gateway.ask("q", stream=True).data
    last = data.decode().rstrip().rsplit("\n\n", 1)[1]
    assert '"error"' in last
    assert '"code":"upstream_broke_off"' in last
    assert b"[DONE]" not in data


def test_a_server_behind_that_drops_the_request_is_told_in_openais_shape(
    gateway: GatewayClient, upstream: Upstream
) -> None:
    upstream.script.fault = "drop"
    reply = gateway.ask("q")
    assert reply.status_code == 502
    assert reply.json == {
        "error": {
            "message": "the server behind broke off",
            "type": "server_error",
            "param": None,
            "code": "upstream_broke_off",
        }
    }


def test_a_server_behind_that_is_not_there_or_too_slow_is_told(
    make_app: AppFactory, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script.fault = "stall"
    slow = GatewayClient(make_app(upstream_url=upstream.url, upstream_timeout=0.2).test_client())
    assert slow.ask("q").status_code == 504
    gone = GatewayClient(
        make_app(upstream_url="http://127.0.0.1:1/v1", data_dir=tmp_path / "gone").test_client()
    )
    reply = gone.ask("q")
    assert reply.status_code == 502
    assert "127.0.0.1" not in reply.text


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"web_search_options": {"a": 1}}, "web-search-options"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"prediction": {"type": "content"}}, "prediction"),
        ({"store": True}, "store"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content-type"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]}, "tool-result"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "last-message",
        ),
        ({"messages": [{"role": "user", "content": " "}]}, "last-message"),
        ({"model": "m" * 257}, "model"),
        ({"messages": 3}, "messages"),
    ],
)
def test_what_no_entry_can_stand_for_goes_past_the_cache(
    gateway: GatewayClient, upstream: Upstream, more: dict[str, Any], reason: str
) -> None:
    upstream.script.text = lambda body: "answer"
    for _ in range(2):
        reply = gateway.post(chat_body("q") | more)
        assert reply.headers["x-modelcache"] == "bypass"
        assert reply.headers["x-modelcache-reason"] == reason
        assert reply.headers["cache-status"] == f"modelcache; fwd=bypass; detail={reason}"
    assert len(upstream.calls) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"max_tokens": 5},
        {"seed": 1},
        {"stop": ["a"]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"reasoning_effort": "low"},
        {"some_new_field": 1},
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]},
        {"messages": [{"role": "user", "content": "q", "name": "n"}]},
        {"model": "other"},
    ],
)
def test_what_can_change_the_answer_separates(gateway: GatewayClient, more: dict[str, Any]) -> None:
    gateway.ask("q")
    assert gateway.post(chat_body("q") | more).headers["x-modelcache"] == "miss"
    assert gateway.post(chat_body("q") | more).headers["x-modelcache"] == "hit"


@pytest.mark.parametrize(
    "more",
    [
        {"user": "u"},
        {"metadata": {"a": "b"}},
        {"n": 1},
        {"seed": None},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}], "name": None}]},
    ],
)
def test_what_changes_nothing_does_not_separate(gateway: GatewayClient, more: dict[str, Any]) -> None:
    gateway.ask("q")
    assert gateway.post(chat_body("q") | more).headers["x-modelcache"] == "hit"


def test_numbers_that_are_equal_are_one(gateway: GatewayClient) -> None:
    gateway.ask("q", temperature=1, tools=[{"a": 2.0}])
    assert gateway.said("q", temperature=1.0, tools=[{"a": 2}])[0] == "hit"


def test_a_developer_prompt_is_a_system_prompt(gateway: GatewayClient) -> None:
    said = {"role": "user", "content": "q"}
    gateway.post(chat_body("q", messages=[{"role": "developer", "content": "s"}, said]))
    reply = gateway.post(chat_body("q", messages=[{"role": "system", "content": "s"}, said]))
    assert reply.headers["x-modelcache"] == "hit"


def test_the_keys_of_callers_part_their_entries(app: Flask, gateway: GatewayClient) -> None:
    gateway.ask("q")
    other = GatewayClient(app.test_client(), "sk-two")
    assert other.said("q")[0] == "miss"
    assert other.said("q" + NEAR)[0] == "hit"
    assert gateway.said("q")[0] == "hit"


def test_a_caller_without_a_key_shares_with_nobody(app: Flask) -> None:
    nobody = GatewayClient(app.test_client(), "")
    for _ in range(2):
        reply = nobody.ask("q")
        assert (reply.headers["x-modelcache"], reply.headers["x-modelcache-reason"]) == (
            "bypass",
            "no-tenant",
        )


def test_the_operator_may_have_everybody_share(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, gateway_tenant="shared", lookup_deadline_ms=5000)
    GatewayClient(app.test_client(), "sk-one").ask("q")
    assert GatewayClient(app.test_client(), "").said("q")[0] == "hit"


def test_a_header_may_name_the_tenant(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, gateway_tenant="header:x-team", lookup_deadline_ms=5000)
    client = GatewayClient(app.test_client())
    client.ask("q", {"x-team": "a"})
    assert client.said("q", {"x-team": "a"})[0] == "hit"
    assert client.said("q", {"x-team": "b"})[0] == "miss"
    assert client.said("q")[0] == "bypass"


def test_a_key_of_the_operators_is_sent_in_place_of_the_callers(
    make_app: AppFactory, upstream: Upstream
) -> None:
    app = make_app(upstream_url=upstream.url, upstream_api_key="sk-own")
    GatewayClient(app.test_client()).ask("q")
    assert upstream.calls[0].headers["authorization"] == "Bearer sk-own"


def test_everything_else_is_passed_through(app: Flask, upstream: Upstream) -> None:
    reply = app.test_client().get("/v1/models?limit=3", headers=headers_of(cache_control="no-cache"))
    assert reply.json == {"path": "/v1/models?limit=3", "echo": ""}
    assert upstream.calls[0].headers["cache-control"] == "no-cache"
    reply = app.test_client().post("/v1/embeddings", data=b"as it is", content_type="text/plain")
    assert reply.json == {"path": "/v1/embeddings", "echo": "as it is"}
    assert (upstream.calls[1].method, upstream.calls[1].headers["content-type"]) == ("POST", "text/plain")
    assert "x-modelcache" not in reply.headers


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/a/../../admin", "/v1/./models"])
def test_no_path_leads_out_of_the_server_behind(app: Flask, upstream: Upstream, path: str) -> None:
    reply = app.test_client().get(path, headers=headers_of())
    assert (reply.status_code, reply.json and reply.json["error"]["code"]) == (400, "invalid_path")
    assert not upstream.calls


def test_a_path_goes_through_encoded(app: Flask, upstream: Upstream) -> None:
    app.test_client().get("/v1/models/%E6%A8%A1%20%25%3F:b?x=%2F", headers=headers_of())
    assert upstream.calls[0].path == "/v1/models/%E6%A8%A1%20%25%3F:b?x=%2F"


def test_there_is_no_gateway_without_a_server_behind(make_app: AppFactory) -> None:
    assert make_app().test_client().post(CHAT, json=chat_body("q")).status_code == 404


def test_an_address_that_is_none_is_refused_at_the_start(make_app: AppFactory) -> None:
    with pytest.raises(ConfigError, match="upstream_url"):
        make_app(upstream_url="api.openai.com")


def test_a_package_that_is_not_installed_is_told_at_the_start(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wsgi", "gateway", "upstream"):
        monkeypatch.delitem(sys.modules, f"modelcache.gateway.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "httpx2", None)
    assert make_app().test_client().get("/health").status_code == 200
    with pytest.raises(ConfigError, match="'httpx2', which is not installed; to install it: pip install"):
        make_app(upstream_url="http://127.0.0.1:9/v1")


def test_a_body_that_is_too_large_is_refused_in_openais_shape(
    make_app: AppFactory, upstream: Upstream
) -> None:
    app = make_app(upstream_url=upstream.url, gateway_max_body_bytes=2048, max_body_bytes=1024)
    client = GatewayClient(app.test_client())
    assert client.ask("q" * 1500).status_code == 200
    reply = client.ask("q" * 3000)
    assert (reply.status_code, reply.json and reply.json["error"]["code"]) == (413, "request_too_large")


def test_hooks_of_the_operators_are_called_before_the_gateway(app: Flask, upstream: Upstream) -> None:
    refused = [True]
    app.before_request(lambda: ("no", 401) if refused else None)
    client = GatewayClient(app.test_client())
    assert client.ask("q").status_code == 401
    refused.clear()
    assert [client.said("q")[0] for _ in range(2)] == ["miss", "hit"]
    assert len(upstream.calls) == 1


def test_hits_and_misses_are_in_the_query_log(app: Flask, gateway: GatewayClient) -> None:
    gateway.ask("q")
    gateway.ask("q" + NEAR)
    cache = get_service(app).cache
    cache.writer.flush()
    with cache.data_manager.scalars.proxied.reading() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SELECT cache_hit, query, answer FROM modelcache_query_log ORDER BY id")
        rows = cursor.fetchall()
    assert rows == [(0, "user###q", ""), (1, "user###q" + NEAR, "You asked: q")]
