"""A chat request as the cache sees it: what is asked, under which terms, and why not, where it cannot be."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelcache.hashing import digest
from modelcache.processor.canonical import EMPTY, canonical
from modelcache.processor.texts import has_text, is_deep
from modelcache.records.dialogue import SYSTEM, SYSTEM_ROLES, USER, Message

MAX_MODEL_CHARS = 256
# What changes nothing that is said.
NOT_ASKED = frozenset(
    {
        *("model", "messages", "cache", "stream", "stream_options"),
        *("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
        *("service_tier", "store"),
    }
)
# No cached answer can stand for what these ask for.
NOT_CACHED = ("logprobs", "top_logprobs", "audio", "web_search_options", "prediction", "store")


class BypassError(Exception):
    """The request cannot be answered from the cache, nor its answer be kept; tells why in a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Chat:
    """What is asked, and under which terms."""

    model: str
    messages: tuple[Message, ...]
    terms: str
    """Hash of everything else in the body that can change the answer."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the caller wants the answer sent."""

    stream: bool = False
    include_usage: bool = False


def read_form(body: Mapping[str, Any]) -> Form:
    """Tell how the answer is to be sent."""
    options = body.get("stream_options")
    include_usage = isinstance(options, Mapping) and options.get("include_usage") is True
    return Form(body.get("stream") is True, include_usage)


def read_chat(body: Mapping[str, Any]) -> Chat:
    """Return what is asked; BypassError where the cache has no part in it.

    What is malformed is left to the server behind, which says so in its own words.
    """
    model, messages = model_of(body), body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BypassError("messages")
    refuse(body, NOT_CACHED)
    if body.get("n") not in (None, 1):
        raise BypassError("n")
    if body.get("modalities") not in (None, ["text"]):
        raise BypassError("modalities")
    said = tuple(message_of(message) for message in messages)
    if said[-1].role != USER or not has_text(said[-1].content):
        raise BypassError("tool-result" if said[-1].role in ("tool", "function") else "last-message")
    return Chat(model, said, digest("terms", terms_of(body, NOT_ASKED, {"n": 1})))


def model_of(body: Mapping[str, Any]) -> str:
    """Return the model that a request names. Raises BypassError."""
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_CHARS:
        raise BypassError("model")
    return model


def refuse(body: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise BypassError for a request with any of these fields, or one that is nested too deep."""
    for name in names:
        if body.get(name):
            raise BypassError(name.replace("_", "-"))
    if is_deep(body):
        raise BypassError("nesting")


def terms_of(
    body: Mapping[str, Any], not_asked: Collection[str], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what else in a body can change the answer, in one form for all that mean the same."""
    return {
        name: canonical(value)
        for name, value in body.items()
        if name not in not_asked and value is not None and value != defaults.get(name)
    }


def message_of(message: Any, kinds: Collection[str] = ("text",)) -> Message:
    """Return a message, whose parts are all of these kinds. Raises BypassError."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise BypassError("messages")
    role = message["role"]
    extra = {
        name: canonical(value)
        for name, value in message.items()
        if name not in ("role", "content") and value not in EMPTY
    }
    if role in SYSTEM_ROLES:
        role = SYSTEM
    return Message(role, _text(message.get("content"), kinds), extra)


def _text(content: Any, kinds: Collection[str]) -> str:
    """Join the parts of a content, all of which must be text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise BypassError("messages")
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") not in kinds:
            raise BypassError("content-type")
        if not isinstance(part.get("text"), str):
            raise BypassError("messages")
        texts.append(part["text"])
    return "".join(texts)
