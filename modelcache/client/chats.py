"""What is asked in a chat request of OpenAI's API, and which answers may be kept."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STOP = "stop"
# What changes nothing that is said, and what concerns the call alone.
NOT_ASKED = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "user", "metadata", "safety_identifier"),
        *("prompt_cache_key", "service_tier", "extra_headers", "extra_query", "timeout"),
    }
)
# No cached answer can stand for what these ask for.
NOT_CACHED = ("logprobs", "top_logprobs", "audio", "web_search_options", "prediction", "store", "extra_body")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, and what must be equal for an answer to serve."""

    model: str
    messages: list[Any]
    scope: dict[str, Any]
    asked_at: float | None = None
    """When the look-up began, of a miss."""


def read_asked(asked: Mapping[str, Any], scope: Mapping[str, Any]) -> Asked | None:
    """Return what to ask the cache; None where it has no part in the request."""
    if any(asked.get(name) for name in NOT_CACHED) or asked.get("n") not in (None, 1):
        return None
    try:
        # Through JSON: the cache takes what can be sent, and nothing else.
        messages = json.loads(json.dumps(list(asked["messages"])))
        terms = {name: value for name, value in asked.items() if name not in NOT_ASKED and value is not None}
        told = json.dumps(terms, sort_keys=True)
    except (TypeError, ValueError, KeyError):
        return None
    if not messages or not all(isinstance(one, dict) and _is_text(one) for one in messages):
        return None
    if messages[-1].get("role") != "user":
        return None
    return Asked(str(asked.get("model")), messages, {"terms": hashed(told), **scope})


def hashed(text: str) -> str:
    """Return what stands for a text that is long, or not to be shown."""
    return hashlib.sha256(text.encode()).hexdigest()


def text_to_keep(finish_reason: Any, message: Mapping[str, Any]) -> str:
    """Return the text of an answer that may be kept, "" of any other."""
    has_more = any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))
    text = message.get("content")
    if finish_reason != STOP or has_more or not isinstance(text, str) or not text.strip():
        return ""
    return text


def _is_text(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(part, dict) and part.get("type") == "text" for part in content)
    return isinstance(content, str)
