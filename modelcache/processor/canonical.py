"""One form for messages and values that say the same, so that equal ones are equal when they are hashed.

Everything in a message counts, but what is listed here: a field that nobody knows may change the answer.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelcache.processor.texts import is_deep
from modelcache.records.dialogue import SYSTEM, SYSTEM_ROLES, Message

# Fields of a message, or of a part of its text, that never change what is asked, each with the reason.
MEANINGLESS: Mapping[str, str] = {
    "id": "is given anew to each copy of a message",
    "cache_control": "tells the provider which beginning to keep, not what to answer",
    "annotations": "repeats which sources an answer was made from, which its text says",
}
# What a field says that holds one of these is what it says when it is absent.
EMPTY: tuple[Any, ...] = (None, "", [], {})
# Ids that link a call and its result. Clients make them up at random.
LINKS = frozenset({"tool_call_id", "call_id", "tool_use_id"})
CALLS = "tool_calls"
CALL_TYPES = frozenset({"tool_use", "function_call"})
# JSON in a string, whose spaces and order of keys are the client's.
ARGUMENTS = "arguments"


def canonical_messages(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with their ids of calls numbered, arguments read as JSON, one name a role."""
    if not any(message.extra or message.role in SYSTEM_ROLES for message in messages):
        return list(messages)
    numbers: dict[str, int] = {}
    return [
        Message(
            SYSTEM if message.role in SYSTEM_ROLES else message.role,
            message.content,
            _canonical_fields(message.extra, numbers) if message.extra else message.extra,
        )
        for message in messages
    ]


def told_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a message, or of a part of one, that say something."""
    return {name: value for name, value in fields.items() if name not in MEANINGLESS and value not in EMPTY}


def canonical(value: Any) -> Any:
    """Hold 1 and 1.0 to be the same number at any depth, as JSON does; True stays apart."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {name: canonical(inner) for name, inner in value.items()} if value else value
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
    return value


def _canonical_fields(fields: Mapping[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    return {name: _linked(name, value, numbers, is_call=False) for name, value in told_fields(fields).items()}


def _linked(name: str, value: Any, numbers: dict[str, int], *, is_call: bool) -> Any:
    """Number the ids of calls in a field's value, and read its arguments; ``is_call``: it is a call's own."""
    if isinstance(value, str):
        if name in LINKS or (is_call and name == "id"):
            return numbers.setdefault(value, len(numbers))
        return _as_json(value) if name == ARGUMENTS else value
    if isinstance(value, Mapping):
        own = name == CALLS or value.get("type") in CALL_TYPES
        return {inner: _linked(inner, kept, numbers, is_call=own) for inner, kept in value.items()}
    if isinstance(value, list | tuple):
        return [_linked(name, inner, numbers, is_call=is_call) for inner in value]
    return canonical(value)


def _as_json(text: str) -> Any:
    """Return what a text of JSON says, marked as such; the text where it is none or nested too deep."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if is_deep(value) else {"json": canonical(value)}
