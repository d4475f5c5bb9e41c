"""``POST /v1/responses`` through the cache, in front of a server of our own that speaks HTTP."""

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from modelcache.gateway.chat import Form
from modelcache.gateway.response import rebuild, render, replay, with_text, without_text
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.gateway_client import GatewayClient, text_of
from tests.support.upstream import RESPONSE_USAGE, Script, Upstream

Json = dict[str, Any]
RESPONSES = "/v1/responses"
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "think of it"}]}


@pytest.fixture
def app(make_app: AppFactory, upstream: Upstream) -> Flask:
    return make_app(upstream_url=upstream.url, lookup_deadline_ms=5000)


def asked(text: Any, **more: Any) -> Json:
    return {"model": "m", "input": text} | more


def events(data: bytes) -> list[Json]:
    """Return the events of a stream, each under the name that it says itself."""
    found = []
    for said in data.decode().split("\n\n")[:-1]:
        name, _, value = said.partition("\n")
        found.append(json.loads(value.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_an_equal_question_is_answered_from_the_cache(gateway: GatewayClient, upstream: Upstream) -> None:
    upstream.script.output = [REASONING]
    first = gateway.post(asked("q"), path=RESPONSES)
    again = gateway.post(asked("q"), path=RESPONSES)
    assert len(upstream.calls) == 1
    assert first.headers["cache-status"] == "modelcache; fwd=miss; stored"
    assert again.headers["cache-status"] == "modelcache; hit; detail=exact"
    assert again.json == first.json == upstream.response(asked("q"))


def test_a_question_in_other_words_is_answered_in_any_form_of_the_input(
    gateway: GatewayClient, upstream: Upstream
) -> None:
    gateway.post(asked("q", instructions="be short"), path=RESPONSES)
    messages = [
        {"role": "developer", "content": "be short"},
        {"role": "user", "content": [{"type": "input_text", "text": "q" + NEAR}]},
    ]
    reply = gateway.post(asked(messages), path=RESPONSES)
    assert len(upstream.calls) == 1
    assert reply.headers["cache-status"] == "modelcache; hit; detail=semantic"


@pytest.mark.parametrize("kept_as_stream", [True, False])
@pytest.mark.parametrize("asked_as_stream", [True, False])
def test_one_entry_serves_both_forms(
    gateway: GatewayClient, upstream: Upstream, kept_as_stream: bool, asked_as_stream: bool
) -> None:
    upstream.script.output = [REASONING]
    gateway.post(asked("a b c", stream=kept_as_stream), path=RESPONSES).get_data()
    reply = gateway.post(asked("a b c", stream=asked_as_stream), path=RESPONSES)
    assert len(upstream.calls) == 1
    assert reply.headers["x-modelcache"] == "hit"
    if not asked_as_stream:
        assert reply.json
        assert reply.json["output"][1]["content"][0]["text"] == "You asked: a b c"
        assert reply.json["usage"] == RESPONSE_USAGE
        return
    said = events(reply.data)
    assert [one["sequence_number"] for one in said] == list(range(len(said)))
    deltas = {one["type"]: "" for one in said if "delta" in one}
    for one in said:
        if "delta" in one:
            deltas[one["type"]] += one["delta"]
    assert deltas == {
        "response.reasoning_summary_text.delta": "think of it",
        "response.output_text.delta": "You asked: a b c",
    }
    assert said[-1]["type"] == "response.completed"
    assert said[-1]["response"]["usage"] == RESPONSE_USAGE


def test_a_streamed_miss_goes_through_as_it_is(gateway: GatewayClient, upstream: Upstream) -> None:
    body = asked("a question of some length", stream=True)
    said = events(gateway.post(body, path=RESPONSES).data)
    for one in said:
        del one["sequence_number"]
    assert said == list(upstream.response_events(body))


def test_chats_and_responses_do_not_share_entries(gateway: GatewayClient, upstream: Upstream) -> None:
    gateway.post(asked("q"), path=RESPONSES)
    assert gateway.said("q") == ("miss", "You asked: q")
    assert len(upstream.calls) == 2


def test_an_answer_that_is_not_kept_behind_gets_an_id_of_its_own(gateway: GatewayClient) -> None:
    body = asked("q", store=False)
    first = gateway.post(body, path=RESPONSES).json
    again = gateway.post(body | {"metadata": {"a": "b"}}, path=RESPONSES).json
    assert first
    assert again
    assert first["id"] != again["id"]
    assert again["metadata"] == {"a": "b"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"previous_response_id": "resp_0"}, "previous-response-id"),
        ({"conversation": "conv_0"}, "conversation"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}]}, "tool-result"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input-item"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}]},
            "content-type",
        ),
        ({"input": [{"role": "assistant", "content": "hm"}]}, "last-message"),
        ({"input": 5}, "input"),
    ],
)
def test_what_the_cache_has_no_part_in_goes_through(
    gateway: GatewayClient, upstream: Upstream, more: Json, reason: str
) -> None:
    upstream.script = Script(text=lambda body: "answer")
    body = asked("q") | more
    for _ in range(2):
        reply = gateway.post(body, path=RESPONSES)
        assert reply.headers["x-modelcache"] == "bypass"
        assert reply.headers["x-modelcache-reason"] == reason
    assert [call.json for call in upstream.calls] == [body, body]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (Script(response={"status": "incomplete"}), "incomplete"),
        (Script(output=[{"id": "c", "type": "function_call", "name": "f", "arguments": "{}"}]), "tool-calls"),
        (Script(part={"annotations": [{"type": "url_citation", "url": "u"}]}), "annotations"),
        (Script(part={"type": "refusal", "refusal": "no"}), "refusal"),
        (Script(text=lambda body: " "), "empty"),
    ],
    ids=["incomplete", "tool-calls", "annotations", "refusal", "empty"],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_not_whole_or_not_only_text_is_not_kept(
    gateway: GatewayClient, upstream: Upstream, script: Script, reason: str, stream: bool
) -> None:
    upstream.script = script
    for _ in range(2):
        reply = gateway.post(asked("q", stream=stream), path=RESPONSES)
        reply.get_data()
        assert reply.headers["x-modelcache"] == "miss"
        assert stream or reply.headers["x-modelcache-reason"] == reason
    assert len(upstream.calls) == 2


@pytest.mark.parametrize("fault", ["cut", "error"])
def test_a_stream_that_breaks_off_is_not_kept(gateway: GatewayClient, upstream: Upstream, fault: str) -> None:
    upstream.script = Script(fault=fault)
    data = gateway.post(asked("q", stream=True), path=RESPONSES).get_data()
    assert b'"error"' in data.split(b"\n\n")[-2]
    upstream.script = Script()
    assert gateway.post(asked("q"), path=RESPONSES).headers["x-modelcache"] == "miss"


def test_feedback_takes_the_request_that_was_answered(gateway: GatewayClient) -> None:
    reply = gateway.post(asked("q"), path=RESPONSES)
    said = {"entry_id": int(reply.headers["x-modelcache-entry-id"]), "correct": False, "request": asked("q")}
    told = gateway.post(said, path="/v1/feedback")
    assert told.json
    assert told.json["status"] == "retired"
    assert gateway.post(asked("q"), path=RESPONSES).headers["x-modelcache"] == "miss"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXT, TEXT, st.booleans())
def test_what_is_kept_and_replayed_is_what_was_said(text: str, thought: str, thinks: bool) -> None:
    reasoning = {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": thought}]}
    part = {"type": "output_text", "text": "x" + text, "annotations": []}
    message = {"id": "msg", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    answer = {"id": "r", "status": "completed", "output": [*([reasoning] if thinks else []), message]}
    assert with_text(without_text(answer), "x" + text) == answer
    said = list(replay(answer))
    assert rebuild(said) == answer
    assert (
        rebuild(
            [one for one in said if one["type"] != "response.completed"]
            + [{"type": "response.completed", "response": answer | {"output": []}}]
        )
        == answer
    )
    deltas = [one["delta"] for one in said if one["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "x" + text
    _, body = render(answer, Form(stream=True))
    assert [one["type"] for one in events(body)] == [one["type"] for one in said]


def test_chats_are_answered_as_before(gateway: GatewayClient) -> None:
    gateway.ask("q")
    assert text_of(gateway.ask("q" + NEAR)) == "You asked: q"
