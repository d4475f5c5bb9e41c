"""Completions: whole, in chunks, and what an entry keeps of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelcache.gateway.chat import Form
from modelcache.gateway.completion import (
    NotKeptError,
    event,
    read_whole,
    rebuild,
    render,
    replay,
    text_to_keep,
)
from modelcache.gateway.dialects import CHAT
from modelcache.gateway.entry import owner_of, unwrap, wrap
from modelcache.gateway.messages import EVENT_STREAM, JSON
from tests.support.gateway_client import events_of

Json = dict[str, Any]
# Streams take long to make on a busy machine.
UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 9), "details": st.none() | st.just({"cached": 1})}
)
HEADS = st.fixed_dictionaries(
    {"id": TEXT, "object": st.just("chat.completion"), "created": st.integers(0, 10), "model": TEXT},
    optional={"system_fingerprint": st.none() | TEXT, "service_tier": TEXT, "usage": USAGES},
)
FUNCTIONS = st.fixed_dictionaries({"name": st.text(min_size=1, max_size=5), "arguments": TEXT})
CALLS = st.fixed_dictionaries({"id": st.text(min_size=1), "type": st.just("function"), "function": FUNCTIONS})
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXT},
    optional={"reasoning_content": TEXT, "refusal": st.none(), "tool_calls": st.lists(CALLS, min_size=1)},
)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES, "finish_reason": st.sampled_from(["stop", "length"]), "logprobs": st.none()}
)


@st.composite
def completions(draw: st.DrawFn) -> Json:
    choices = draw(st.lists(CHOICES, min_size=1, max_size=3))
    return draw(HEADS) | {"choices": [one | {"index": index} for index, one in enumerate(choices)]}


def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Cut a text anywhere; an empty one is said as well."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def deltas(draw: st.DrawFn, message: Json) -> Iterator[Json]:
    """Say a message in parts, as servers do."""
    yield {name: value for name, value in message.items() if value is None or name == "role"}
    for name in ("reasoning_content", "content"):
        if isinstance(message.get(name), str):
            yield from ({name: part} for part in cut(draw, message[name]))
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        yield {"tool_calls": [call | {"index": index, "function": function | {"arguments": ""}}]}
        for part in cut(draw, function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


@st.composite
def streams(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """Give a completion, and chunks that say it, with the choices mixed in any order."""
    whole = draw(completions())
    head = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    waiting = []
    for choice in whole["choices"]:
        said = [
            {"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": None}
            for delta in deltas(draw, choice["message"])
        ]
        last = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        waiting.append([*said, last])
    chunks = []
    while waiting:
        place = draw(st.integers(0, len(waiting) - 1))
        more = {"obfuscation": "x"} if draw(st.booleans()) else {}
        chunks.append(head | {"choices": [waiting[place].pop(0)], "usage": None} | more)
        waiting = [one for one in waiting if one]
    if "usage" in whole:
        chunks.append(head | {"choices": [], "usage": whole["usage"]})
    return whole, chunks


@UNHURRIED
@given(streams())
def test_chunks_are_rebuilt_to_what_comes_without_streaming(stream: tuple[Json, list[Json]]) -> None:
    whole, chunks = stream
    assert rebuild(chunks) == whole


@UNHURRIED
@given(streams(), st.sampled_from(["\n", "\r\n"]))
def test_the_bytes_of_a_stream_are_read_however_lines_end(
    stream: tuple[Json, list[Json]], newline: str
) -> None:
    whole, chunks = stream
    data = b": ping\n\nevent: x\n" + b"".join(map(event, chunks)) + b"data: [DONE]\n\n"
    assert read_whole(EVENT_STREAM, data.replace(b"\n", newline.encode())) == whole


@given(HEADS, st.text(st.characters(exclude_categories=["Cs"]), min_size=1), TEXT, st.booleans())
def test_what_is_kept_and_replayed_is_what_was_said(
    head: Json, text: str, reasoning: str, include_usage: bool
) -> None:
    message = {"role": "assistant", "content": "x" + text, "reasoning_content": reasoning}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    completion = head | {"choices": [choice]}
    answer, envelope = wrap(CHAT, completion, "t", "m", 5.0)
    assert answer == "x" + text
    kept = unwrap(CHAT, envelope, answer, "m")
    assert (kept.completion, kept.kept_at) == (completion, 5.0)
    assert owner_of(envelope) == ("t", "m")
    content_type, body = render(completion, Form(True, include_usage))
    assert content_type == EVENT_STREAM
    chunks = events_of(body)
    assert chunks == list(replay(completion, include_usage))
    said = rebuild(chunks)["choices"][0]["message"]
    assert (said["content"], said.get("reasoning_content", "")) == ("x" + text, reasoning)


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n",
        b"data: 3\n\n",
        b'data: {"error": {"message": "no"}}\n\n',
        b"",
        b"data: [DONE]\n\n",
        b'data: {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": null}]}\n\n',
    ],
)
def test_a_stream_that_is_not_whole_is_not_kept(data: bytes) -> None:
    with pytest.raises(NotKeptError):
        text_to_keep(read_whole(EVENT_STREAM, data))


@pytest.mark.parametrize(
    ("content_type", "data"),
    [(JSON, b"{"), (JSON, b"[]"), (JSON, b'{"error": {}}'), (JSON, b'{"choices": 3}'), ("text/html", b"<p>")],
)
def test_a_body_that_is_no_completion_is_not_kept(content_type: str, data: bytes) -> None:
    with pytest.raises(NotKeptError):
        text_to_keep(read_whole(content_type, data))
