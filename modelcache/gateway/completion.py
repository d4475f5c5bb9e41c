"""Completions: whole, as chunks of a stream, and as an entry keeps them; and which of them may be kept."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import orjson

from modelcache.gateway.chat import Form
from modelcache.gateway.messages import EVENT_STREAM, JSON
from modelcache.records.event import Usage

Completion = dict[str, Any]

COMPLETION, CHUNK = "chat.completion", "chat.completion.chunk"
DONE = b"[DONE]"
DONE_EVENT = b"data: [DONE]\n\n"
STOP = "stop"
# Words with the spaces before them; what has none, such as Chinese, in short pieces.
WORD = re.compile(r"\s*\S{1,12}|\s+")
# Random bytes that hide the length of a chunk.
NOT_SAID = frozenset({"obfuscation"})
NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class NotKeptError(Exception):
    """An answer that must not be kept; tells why in a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_whole(content_type: str, data: bytes) -> Completion:
    """Return the completion in a reply of either form. Raises NotKeptError where there is none in it."""
    if content_type.startswith(EVENT_STREAM):
        return rebuild(read_events(data))
    return read_object(content_type, data)


def read_object(content_type: str, data: bytes) -> Completion:
    """Return the JSON object of a reply. Raises NotKeptError where it is none, or an error."""
    if not content_type.startswith(JSON):
        raise NotKeptError("content-type")
    try:
        completion = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise NotKeptError("body") from None
    if not isinstance(completion, dict) or completion.get("error"):
        raise NotKeptError("error")
    return completion


def read_events(data: bytes) -> list[Mapping[str, Any]]:
    """Return the JSON objects of a stream's events. Raises NotKeptError where one is none, or is an error."""
    events: list[Mapping[str, Any]] = []
    # Each event of such a stream is one line of data; other lines are comments and names of events.
    for line in re.split(rb"\r\n|\n|\r", data):
        name, _, value = line.partition(b":")
        if name != b"data" or value.strip() in (b"", DONE):
            continue
        try:
            event = orjson.loads(value.strip())
        except orjson.JSONDecodeError:
            raise NotKeptError("stream") from None
        if not isinstance(event, dict) or event.get("error"):
            raise NotKeptError("error")
        events.append(event)
    return events


def rebuild(chunks: Iterable[Mapping[str, Any]]) -> Completion:
    """Put the chunks of a stream together to what would have come without streaming."""
    whole: Completion = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name == "choices":
                for choice in value or ():
                    _add_choice(choices, choice)
            elif name not in NOT_SAID and (value is not None or name not in whole):
                whole[name] = value
    whole["object"] = COMPLETION
    whole["choices"] = [choices[index] for index in sorted(choices)]
    for choice in whole["choices"]:
        # Only chunks need to say which of the calls they go on with.
        for call in choice["message"].get("tool_calls") or ():
            del call["index"]
    if whole.get("usage", 0) is None:
        del whole["usage"]
    return whole


def _add_choice(choices: dict[int, dict[str, Any]], part: Mapping[str, Any]) -> None:
    index = part.get("index", 0)
    blank: dict[str, Any] = {"index": index, "message": {"role": "assistant", "content": None}}
    choice = choices.setdefault(index, blank | {"finish_reason": None})
    for name, value in part.items():
        if name == "delta":
            _add(choice["message"], value or {})
        elif name != "index" and (value is not None or name not in choice):
            choice[name] = value


def _add(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add what a chunk says: texts and lists go on, of anything else the last holds."""
    for name, value in delta.items():
        known = message.get(name)
        if name in NOT_SAID:
            continue
        if name == "tool_calls" and isinstance(value, list):
            _add_calls(message.setdefault(name, []), value)
        elif name == "role" or known is None:
            message[name] = known if value is None and known else value
        elif isinstance(known, str) and isinstance(value, str):
            message[name] = known + value
        elif isinstance(known, list) and isinstance(value, list):
            message[name] = [*known, *value]
        elif value is not None:
            message[name] = value


def _add_calls(calls: list[dict[str, Any]], parts: list[dict[str, Any]]) -> None:
    for part in parts:
        place = part.get("index", len(calls))
        call = next((one for one in calls if one["index"] == place), None)
        if call is None:
            call = {"index": place}
            calls.append(call)
        function = call.setdefault("function", {})
        for name, value in (part.get("function") or {}).items():
            function[name] = function.get(name, "") + value if isinstance(value, str) else value
        call.update({name: part[name] for name in ("id", "type") if part.get(name)})


def text_to_keep(completion: Completion) -> str:
    """Return the answer's text. Raises NotKeptError where the answer is not whole, or not only text."""
    choices = completion.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise NotKeptError("choices")
    [choice] = choices
    message = choice.get("message")
    if not isinstance(message, dict):
        raise NotKeptError("choices")
    if message.get("tool_calls") or message.get("function_call"):
        raise NotKeptError("tool-calls")
    reason = choice.get("finish_reason")
    if reason is None:
        raise NotKeptError("incomplete")
    if reason != STOP:
        raise NotKeptError(f"finish-{str(reason)[:32].replace('_', '-')}")
    if message.get("audio") or message.get("refusal"):
        raise NotKeptError("refusal" if message.get("refusal") else "audio")
    text = message.get("content")
    if not isinstance(text, str) or not text.strip():
        raise NotKeptError("empty")
    return text


def without_text(completion: Completion) -> Completion:
    """Return a completion of one choice without its text."""
    [choice] = completion["choices"]
    message = {name: value for name, value in choice["message"].items() if name != "content"}
    return completion | {"choices": [choice | {"message": message}]}


def with_text(completion: Completion, text: str) -> Completion:
    """Return it with a text again."""
    [choice] = completion["choices"]
    message = {"role": "assistant", "content": text} | choice["message"]
    return completion | {"choices": [choice | {"message": message}]}


def bare(text: str, model: str) -> Completion:
    """Return a completion of a text, of which nothing else is known."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": STOP}
    return {"object": COMPLETION, "model": model, "choices": [choice], "usage": dict(NO_USAGE)}


def told_anew(completion: Completion, body: Mapping[str, Any], now: float) -> Completion:
    """Return the completion as of now, with an id of its own."""
    return completion | {"id": f"chatcmpl-{uuid4().hex}", "object": COMPLETION, "created": int(now)}


def usage_of(completion: Completion) -> Usage | None:
    """Return the tokens that a completion cost; None where it does not say so."""
    return tokens_of(completion, "prompt_tokens", "completion_tokens")


def tokens_of(completion: Completion, prompt: str, completed: str) -> Usage | None:
    """Return the same by the names of two fields of its usage."""
    found = usage if isinstance(usage := completion.get("usage"), dict) else {}
    asked, said = found.get(prompt), found.get(completed)
    return Usage(asked, said) if isinstance(asked, int) and isinstance(said, int) else None


def render(completion: Completion, form: Form) -> tuple[str, bytes]:
    """Return the content type and the body in which a completion is sent."""
    if form.stream:
        return EVENT_STREAM, b"".join((*map(event, replay(completion, form.include_usage)), DONE_EVENT))
    return JSON, orjson.dumps(completion)


def replay(completion: Completion, include_usage: bool) -> Iterator[dict[str, Any]]:
    """Give the chunks of a stream that says a completion of one choice, word by word."""
    told = {name: value for name, value in completion.items() if name not in ("choices", "usage")}
    head = told | {"object": CHUNK} | ({"usage": None} if include_usage else {})
    [choice] = completion["choices"]
    message = dict(choice["message"])

    def chunk(delta: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None} | more]}

    texts = {
        name: message.pop(name)
        for name, value in list(message.items())
        if name != "role" and isinstance(value, str) and value
    }
    content = texts.pop("content", "")
    first = {name: value for name, value in message.items() if value not in (None, [], {})}
    yield chunk(first | {"content": ""})
    for name, text in (*texts.items(), ("content", content)):
        for word in WORD.findall(text):
            yield chunk({name: word})
    yield chunk({}, **{name: value for name, value in choice.items() if name not in ("index", "message")})
    if include_usage:
        yield head | {"choices": [], "usage": completion.get("usage") or NO_USAGE}


def event(chunk: Mapping[str, Any]) -> bytes:
    """Write one event of a stream."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def broken(message: str, code: str) -> bytes:
    """Return the event that ends a stream which broke off; OpenAI's clients raise it."""
    return event({"error": {"message": message, "type": "server_error", "param": None, "code": code}})
