"""Answers of ``POST /v1/responses``: whole, as the events of a stream, and as an entry keeps them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import orjson

from modelcache.gateway.chat import Form
from modelcache.gateway.completion import (
    WORD,
    Completion,
    NotKeptError,
    read_events,
    read_object,
    tokens_of,
)
from modelcache.gateway.messages import EVENT_STREAM, JSON
from modelcache.records.event import Usage

RESPONSE, MESSAGE, REASONING, TEXT = "response", "message", "reasoning", "output_text"
COMPLETED = "completed"
COMPLETED_EVENT = b'"response.completed"'
# They end a stream whose answer is not whole.
FAILURES = {"error": "error", "response.failed": "failed", "response.incomplete": "incomplete"}
# An answer repeats them as the request has them, and they make no difference.
REPEATED = ("metadata", "user", "safety_identifier", "prompt_cache_key")
NO_USAGE: dict[str, Any] = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def read_whole(content_type: str, data: bytes) -> Completion:
    """Return the answer in a reply of either form. Raises NotKeptError where there is none in it."""
    if content_type.startswith(EVENT_STREAM):
        return rebuild(read_events(data))
    return read_object(content_type, data)


def rebuild(events: Iterable[Mapping[str, Any]]) -> Completion:
    """Return the answer that a stream ends with. Raises NotKeptError where it does not end well."""
    items: dict[int, Any] = {}
    for event in events:
        kind = event.get("type")
        if kind in FAILURES:
            raise NotKeptError(FAILURES[kind])
        if kind == "response.output_item.done":
            items[event.get("output_index", len(items))] = event.get("item")
        elif kind == "response.completed" and isinstance(event.get("response"), dict):
            # Some servers say the items on the way only.
            output = event["response"].get("output") or [items[index] for index in sorted(items)]
            return {**event["response"], "output": output}
    raise NotKeptError("incomplete")


def text_to_keep(answer: Completion) -> str:
    """Return the answer's text. Raises NotKeptError where the answer is not whole, or not only text."""
    status, output = answer.get("status"), answer.get("output")
    if status != COMPLETED:
        raise NotKeptError(str(status)[:32].replace("_", "-"))
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        raise NotKeptError("output")
    messages = [item for item in output if item.get("type") == MESSAGE]
    if len(messages) != len([item for item in output if item.get("type") != REASONING]):
        raise NotKeptError("tool-calls")
    if len(messages) != 1:
        raise NotKeptError("output" if messages else "empty")
    content = messages[0].get("content")
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], dict):
        raise NotKeptError("output")
    [part] = content
    if part.get("type") != TEXT:
        raise NotKeptError("refusal" if part.get("type") == "refusal" else "output")
    if part.get("annotations"):
        # They refer to files and pages of the caller's.
        raise NotKeptError("annotations")
    text = part.get("text")
    if not isinstance(text, str) or not text.strip():
        raise NotKeptError("empty")
    return text


def without_text(answer: Completion) -> Completion:
    """Return an answer of one message without its text."""
    return _with_part(answer, lambda part: {name: value for name, value in part.items() if name != "text"})


def with_text(answer: Completion, text: str) -> Completion:
    """Return it with a text again."""
    return _with_part(answer, lambda part: {"type": TEXT, "text": text} | part)


def _with_part(answer: Completion, change: Any) -> Completion:
    output = [
        item | {"content": [change(item["content"][0])]} if item.get("type") == MESSAGE else item
        for item in answer["output"]
    ]
    return answer | {"output": output}


def bare(text: str, model: str) -> Completion:
    """Return an answer of a text, of which nothing else is known."""
    part = {"type": TEXT, "text": text, "annotations": []}
    message = {"id": _new_id("msg"), "type": MESSAGE, "role": "assistant", "status": COMPLETED}
    return {
        "id": _new_id("resp"),
        "object": RESPONSE,
        "created_at": 0,
        "status": COMPLETED,
        "error": None,
        "model": model,
        "output": [message | {"content": [part]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": dict(NO_USAGE),
    }


def told_anew(answer: Completion, body: Mapping[str, Any], now: float) -> Completion:
    """Return the answer to another request.

    The server behind keeps an answer under its id, for later requests to refer to, unless it is asked not
    to: only then the id is a new one.
    """
    repeated = {
        name: body.get(name, {} if name == "metadata" else None) for name in REPEATED if name in answer
    }
    if body.get("store") is False:
        repeated |= {"id": _new_id("resp"), "created_at": int(now), "store": False}
    return answer | repeated


def render(answer: Completion, form: Form) -> tuple[str, bytes]:
    """Return the content type and the body in which an answer is sent."""
    if form.stream:
        events = (one | {"sequence_number": number} for number, one in enumerate(replay(answer)))
        return EVENT_STREAM, b"".join(map(event, events))
    return JSON, orjson.dumps(answer)


def replay(answer: Completion) -> Iterator[dict[str, Any]]:
    """Give the events of a stream that says an answer, word by word."""
    begun = answer | {"status": "in_progress", "output": [], "usage": None, "completed_at": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(answer["output"]):
        place = {"output_index": index}
        say = _say_message if item.get("type") == MESSAGE else _say_reasoning
        empty = item | {"content" if item.get("type") == MESSAGE else "summary": [], "status": "in_progress"}
        yield {"type": "response.output_item.added", "item": empty} | place
        for one in say(item):
            yield one | place | {"item_id": item.get("id", "")}
        yield {"type": "response.output_item.done", "item": item} | place
    yield {"type": "response.completed", "response": answer}


def _say_message(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for index, part in enumerate(item["content"]):
        place = {"content_index": index}
        yield {"type": "response.content_part.added", "part": part | {"text": ""}} | place
        for word in WORD.findall(part["text"]):
            yield {"type": "response.output_text.delta", "delta": word, "logprobs": []} | place
        yield {"type": "response.output_text.done", "text": part["text"], "logprobs": []} | place
        yield {"type": "response.content_part.done", "part": part} | place


def _say_reasoning(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for index, part in enumerate(item.get("summary") or ()):
        text = part.get("text") or ""
        place = {"summary_index": index}
        yield {"type": "response.reasoning_summary_part.added", "part": part | {"text": ""}} | place
        for word in WORD.findall(text):
            yield {"type": "response.reasoning_summary_text.delta", "delta": word} | place
        yield {"type": "response.reasoning_summary_text.done", "text": text} | place
        yield {"type": "response.reasoning_summary_part.done", "part": part} | place


def event(one: Mapping[str, Any]) -> bytes:
    """Write one event of a stream."""
    return b"event: " + str(one["type"]).encode() + b"\ndata: " + orjson.dumps(one) + b"\n\n"


def broken(message: str, code: str) -> bytes:
    """Return the event that ends a stream which broke off; OpenAI's clients raise it."""
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    return event({"type": "error", "code": code, "message": message, "param": None, "error": error})


def usage_of(answer: Completion) -> Usage | None:
    """Return the tokens that an answer cost; None where it does not say so."""
    return tokens_of(answer, "input_tokens", "output_tokens")


def _new_id(kind: str) -> str:
    return f"{kind}_{uuid4().hex}"
