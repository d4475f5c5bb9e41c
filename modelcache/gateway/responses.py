"""A request to ``POST /v1/responses`` as the cache sees it."""

from collections.abc import Mapping
from typing import Any

from modelcache.gateway.chat import BypassError, Chat, message_of, model_of, refuse, terms_of
from modelcache.hashing import digest
from modelcache.processor.texts import has_text
from modelcache.records.dialogue import SYSTEM, USER, Message

# What changes nothing that is said. `store` and `background` come here as false only.
NOT_ASKED = frozenset(
    {
        *("model", "input", "instructions", "cache", "stream", "stream_options", "store", "background"),
        *("user", "metadata", "safety_identifier", "service_tier", "include"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
    }
)
# They refer to what only the server behind knows, or ask for what no cached answer has.
NOT_CACHED = (
    *("previous_response_id", "conversation", "background", "prompt", "store"),
    *("include", "top_logprobs", "image", "moderation"),
)
# They are called by the caller. All others, such as a search, are used by the server behind.
TOOLS_OF_CALLERS = ("function", "custom")
MESSAGE = "message"
TEXTS = ("input_text", "output_text", "text")
# What the server behind numbers the messages by that it sent.
NOT_SAID = ("type", "id", "status")


def read_asked(body: Mapping[str, Any]) -> Chat:
    """Return what is asked; BypassError where the cache has no part in it.

    What is malformed is left to the server behind, which says so in its own words.
    """
    model = model_of(body)
    refuse(body, NOT_CACHED)
    _refuse_tools(body.get("tools"))
    said = _instructions(body.get("instructions")) + _messages(body.get("input"))
    if said[-1].role != USER or not has_text(said[-1].content):
        raise BypassError("last-message")
    terms = terms_of(body, NOT_ASKED, {})
    # Its entries are told in another form than those of chats.
    return Chat(model, said, digest("terms", {"api": "responses"} | terms))


def _refuse_tools(tools: Any) -> None:
    if tools in (None, []):
        return
    if not isinstance(tools, list) or not all(
        isinstance(tool, Mapping) and tool.get("type") in TOOLS_OF_CALLERS for tool in tools
    ):
        raise BypassError("tools")


def _instructions(instructions: Any) -> tuple[Message, ...]:
    if instructions in (None, ""):
        return ()
    if not isinstance(instructions, str):
        raise BypassError("instructions")
    return (Message(SYSTEM, instructions, {}),)


def _messages(given: Any) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (Message(USER, given, {}),)
    if not isinstance(given, list) or not given:
        raise BypassError("input")
    return tuple(_message(item) for item in given)


def _message(item: Any) -> Message:
    if not isinstance(item, Mapping):
        raise BypassError("input")
    kind = item.get("type", MESSAGE)
    if kind != MESSAGE:
        raise BypassError("tool-result" if str(kind).endswith("call_output") else "input-item")
    return message_of({name: value for name, value in item.items() if name not in NOT_SAID}, TEXTS)
