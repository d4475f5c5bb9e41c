"""A LiteLLM cache: ``litellm.cache.cache = ModelCache("http://127.0.0.1:5000")``.

It needs ``litellm`` beside the client; examples/litellm_cache.py puts it into the proxy. LiteLLM tells its
cache what was asked in calls that are awaited, as all of its proxy's are; in others nothing is cached.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from litellm.caching.base_cache import BaseCache
from litellm.types.utils import is_litellm_owned_kwarg

from modelcache.client.bodies import Scope
from modelcache.client.calls import AsyncClient
from modelcache.client.chats import Asked, hashed, read_asked, text_to_keep
from modelcache.client.replies import Answer

logger = logging.getLogger(__name__)

SIMILARITY = "semantic-similarity"
# Messages of Anthropic's API, whose answers have another form.
OTHER_CALLS = frozenset({"anthropic_messages", "aanthropic_messages"})
LOGGING = "litellm_logging_obj"
# LiteLLM's own fields change nothing that is said, but for these.
OWN_BUT_ASKED = frozenset({"prompt_id", "prompt_variables"})
# Not among them, and of the call alone.
NOT_SENT = frozenset({"parent_otel_span"})
# So many calls are remembered, since a stream is handed over twice.
MOST_CALLS = 4096


class ModelCache(BaseCache):
    """Answers chat requests of LiteLLM from the cache at ``url``; whatever fails there is a miss.

    Callers share answers if ``metadata`` holds the same under the name ``tenant``: by default the hash of
    their key of the proxy. Who has none is not answered from the cache; with ``tenant=""`` all share.
    ``scope`` parts the entries further, and ``options`` go to httpx2.AsyncClient.
    """

    def __init__(
        self,
        url: str,
        *,
        tenant: str = "user_api_key",
        scope: Scope | None = None,
        timeout: float = 1.0,
        retries: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        self._client = AsyncClient(url, timeout=timeout, retries=retries, **options)
        self._tenant = tenant
        self._scope = dict(scope or {})
        self._calls: dict[tuple[Any, str], None] = {}

    def get_cache(self, key: str, **asked: Any) -> None:
        """Return a miss: what was asked is not told here."""

    def set_cache(self, key: str, value: Any, **asked: Any) -> None:
        """Keep nothing, since nothing would be found."""

    async def async_get_cache(self, key: str, **asked: Any) -> dict[str, Any] | None:
        """Return what was kept for a question of this meaning; None for a miss."""
        with _unfailing():
            chat = self._read(key, asked)
            if chat is not None:
                answer = await self._client.query(chat.messages, chat.model, chat.scope)
                if answer.similarity is not None and isinstance(asked.get("metadata"), dict):
                    asked["metadata"][SIMILARITY] = answer.similarity
                return _unpacked(answer) if answer.hit else None
        return None

    async def async_set_cache(self, key: str, value: Any, **asked: Any) -> None:
        """Keep an answer, unless it was cut off or filtered, is empty or calls a tool."""
        with _unfailing():
            chat = self._read(key, asked)
            packed = _packed(value)
            if chat is None or packed is None or not self._is_new(asked.get("litellm_call_id"), key):
                return
            text, metadata = packed
            ttl = asked.get("ttl")
            await self._client.insert(
                [(chat.messages, text)],
                chat.model,
                chat.scope,
                ttl=None if ttl is None else float(ttl),
                metadata=metadata,
            )

    async def async_set_cache_pipeline(self, cache_list: Any, **asked: Any) -> None:
        """Keep nothing: these are embeddings."""

    async def disconnect(self) -> None:
        """Close the connections; harmless when repeated."""
        await self._client.close()

    def _read(self, key: str, asked: Mapping[str, Any]) -> Asked | None:
        metadata = asked.get("metadata") or {}
        if "model" not in asked or getattr(asked.get(LOGGING), "call_type", "") in OTHER_CALLS:
            return None
        tenant = metadata.get(self._tenant) if self._tenant else "all"
        if not tenant:
            return None
        fields = {
            name: value
            for name, value in asked.items()
            if name in OWN_BUT_ASKED or not (name in NOT_SENT or is_litellm_owned_kwarg(name))
        }
        # As callers of the proxy name it.
        fields["model"] = metadata.get("model_group") or asked["model"]
        # LiteLLM writes the namespace before the key, wherever it comes from.
        namespace = key.rpartition(":")[0]
        scope = {"tenant": hashed(str(tenant)), "namespace": namespace, "from": "litellm"}
        return read_asked(fields, scope | self._scope)

    def _is_new(self, call_id: Any, key: str) -> bool:
        """Tell whether this call's answer was not handed over before."""
        call = (call_id, key)
        if call_id is None or call not in self._calls:
            self._calls[call] = None
            if len(self._calls) > MOST_CALLS:
                del self._calls[next(iter(self._calls))]
            return True
        return False


@contextmanager
def _unfailing() -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.warning("the cache could not be used", exc_info=True)


def _packed(value: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the text of a completion that may be kept, and the rest of it; None of any other."""
    response = value["response"]
    completion = json.loads(response) if isinstance(response, str) else response
    if not isinstance(completion, dict) or len(completion.get("choices") or ()) != 1:
        return None
    [choice] = completion["choices"]
    message = choice.get("message") or {}
    text = text_to_keep(choice.get("finish_reason"), message)
    if not text:
        return None
    rest = {name: one for name, one in message.items() if name != "content"}
    kept = completion | {"choices": [choice | {"message": rest}]}
    return text, {"timestamp": value["timestamp"], "response": kept}


def _unpacked(answer: Answer) -> dict[str, Any]:
    """Put what was kept together again."""
    response = dict(answer.metadata["response"])
    [choice] = response["choices"]
    response["choices"] = [choice | {"message": choice["message"] | {"content": answer.text}}]
    return {"timestamp": answer.metadata["timestamp"], "response": response}
