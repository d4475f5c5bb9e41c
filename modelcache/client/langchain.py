"""A LangChain cache: ``set_llm_cache(ModelCache(Client("http://127.0.0.1:5000")))``.

It needs ``langchain-core`` beside the client. LangChain asks no cache for ``.stream()``.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.load import dumps, loads

from modelcache.client.bodies import Scope
from modelcache.client.calls import Client
from modelcache.client.replies import CacheError

logger = logging.getLogger(__name__)

ROLES = {"human": "user", "ai": "assistant", "system": "system"}
# Fields of a model that change nothing that it says.
NOT_ASKED = frozenset(
    {
        *("base_url", "openai_api_base", "openai_api_key", "api_key", "openai_organization"),
        *("timeout", "request_timeout", "max_retries", "streaming", "stream_usage", "verbose", "name"),
    }
)
FINISHED_BADLY = frozenset({"length", "content_filter", "tool_calls", "function_call", "max_tokens"})


class ModelCache(BaseCache):
    """Answers from the cache at the other end of a client; whatever fails there is a miss.

    Only text is cached: messages with other parts or tool calls go past it. ``model`` is what the entries are
    kept under, ``scope`` says who may share them.
    """

    def __init__(self, client: Client, model: str = "langchain", scope: Scope | None = None) -> None:
        self._client = client
        self._model = model
        self._scope = dict(scope or {})

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the generations that were kept for a prompt of this meaning, None for a miss."""
        messages = messages_of(prompt)
        if messages is None:
            return None
        answer = self._client.query(messages, self._model, self._scope_of(llm_string))
        return generations_of(answer.text) if answer.hit else None

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep generations, unless one was cut off, filtered, is empty or calls a tool."""
        messages = messages_of(prompt)
        if messages is None or not all(map(_may_be_kept, return_val)):
            return
        text = dumps(list(return_val))
        self._client.insert([(messages, text)], self._model, self._scope_of(llm_string))

    def clear(self, **options: Any) -> None:
        """Remove every entry of the model, whatever its scope."""
        try:
            self._client.remove(self._model)
        except CacheError as exc:
            if not self._client.fail_open:
                raise
            logger.warning("the cache could not be cleared: %s", exc)

    def _scope_of(self, llm_string: str) -> dict[str, Any]:
        told = hashlib.sha256(json.dumps(terms_of(llm_string), sort_keys=True).encode()).hexdigest()
        return {"terms": told} | self._scope


def messages_of(prompt: str) -> list[dict[str, str]] | None:
    """Return the messages of a prompt, which chat models write as JSON; None for more than text."""
    try:
        told = json.loads(prompt)
    except ValueError:
        told = None
    if not (isinstance(told, list) and told and all(isinstance(one, dict) and "lc" in one for one in told)):
        return [{"role": "user", "content": prompt}] if prompt.strip() else None
    messages = []
    for one in told:
        fields = one.get("kwargs", {})
        role, content = ROLES.get(fields.get("type")), _text(fields.get("content"))
        if role is None or content is None or fields.get("tool_calls"):
            return None
        messages.append({"role": role, "content": content})
    return messages if messages[-1]["role"] == "user" and messages[-1]["content"].strip() else None


def _text(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part if isinstance(part, str) else part.get("text") for part in content]
    kinds = {part.get("type") for part in content if isinstance(part, dict)}
    return "".join(texts) if kinds <= {"text"} and all(isinstance(text, str) for text in texts) else None


def terms_of(llm_string: str) -> list[Any]:
    """Return what of a model's description can change its answers."""
    described, mark, parameters = llm_string.partition("---")
    try:
        fields = json.loads(described)
        kept = {name: value for name, value in fields["kwargs"].items() if name not in NOT_ASKED}
    except (ValueError, KeyError, TypeError, AttributeError):
        return [llm_string]
    return [fields.get("id"), kept, mark, parameters]


def generations_of(text: str) -> Sequence[Any] | None:
    """Return what was kept; None for what cannot be read."""
    try:
        with warnings.catch_warnings():
            # That it is a beta is told with every call.
            warnings.simplefilter("ignore")
            read = loads(text, allowed_objects="core")
    except (ValueError, KeyError, TypeError, NotImplementedError):
        logger.warning("an entry holds no generations")
        return None
    # LangChain takes anything but a list for a miss.
    return read if isinstance(read, list) else None


def _may_be_kept(generation: Any) -> bool:
    message = getattr(generation, "message", None)
    told = {**(generation.generation_info or {}), **(getattr(message, "response_metadata", None) or {})}
    reasons = {told.get("finish_reason"), told.get("stop_reason"), told.get("done_reason")}
    if reasons & FINISHED_BADLY or getattr(message, "tool_calls", None):
        return False
    return bool(generation.text.strip())
