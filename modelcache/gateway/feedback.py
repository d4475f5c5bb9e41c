"""``POST /v1/feedback``: what a caller says of an answer that came from the cache."""

import logging
from dataclasses import replace
from time import time
from typing import Any

import orjson

from modelcache.core import Cache, Service
from modelcache.errors import ModelCacheError, UnavailableError
from modelcache.gateway.asked import read_asked, tenant_of
from modelcache.gateway.chat import BypassError
from modelcache.gateway.dialects import CHAT, RESPONSES
from modelcache.gateway.entry import owner_of
from modelcache.gateway.messages import HttpReply, HttpRequest, error_reply, json_reply
from modelcache.manager.patience import one_request
from modelcache.telling import UNKNOWN, tell, tell_of_itself

logger = logging.getLogger(__name__)

EXPECTED = {
    "entry_id": "the integer of the reply's x-modelcache-entry-id",
    "correct": "true or false",
    "request": "the body of the chat request that was answered",
}


class _FieldError(Exception):
    """A field that is missing or misshapen."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: expected {EXPECTED[name]}")
        self.name = name


def answer_feedback(service: Service, request: HttpRequest) -> HttpReply:
    """Record what is said of an entry of the caller's own.

    With the request that was answered, it is said of this question; without, of the entry's own. Raises
    ControlError.
    """
    try:
        entry_id, correct, chat = _read(request.body)
        with one_request():
            status = _tell(service.cache, request, entry_id, correct, chat)
    except _FieldError as exc:
        return error_reply(400, str(exc), "invalid_feedback", exc.name)
    except ModelCacheError as exc:
        if not isinstance(exc, UnavailableError):
            logger.warning("feedback failed: %s", exc, exc_info=exc.__cause__ is not None)
        return error_reply(503, exc.public, "unavailable")
    if status == UNKNOWN:
        message = "entry_id: no entry of this caller that can have answered"
        return error_reply(404, message, "unknown_entry", "entry_id")
    return json_reply(200, {"object": "modelcache.feedback", "entry_id": entry_id, "status": status})


def _read(body: bytes) -> tuple[int, bool, dict[str, Any] | None]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise _FieldError("entry_id")
    entry_id, correct, chat = fields.get("entry_id"), fields.get("correct"), fields.get("request")
    if isinstance(entry_id, str) and entry_id.isdecimal() and entry_id.isascii():
        entry_id = int(entry_id[:20])
    if not isinstance(entry_id, int) or isinstance(entry_id, bool):
        raise _FieldError("entry_id")
    if not isinstance(correct, bool):
        raise _FieldError("correct")
    if chat is not None and not isinstance(chat, dict):
        raise _FieldError("request")
    return entry_id, correct, chat


def _tell(
    cache: Cache, request: HttpRequest, entry_id: int, correct: bool, chat: dict[str, Any] | None
) -> str:
    if chat is not None:
        dialect = RESPONSES if "input" in chat else CHAT
        asked = read_asked(replace(request, body=orjson.dumps(chat)), dialect, cache.settings)
        return UNKNOWN if asked.question is None else tell(cache, asked.question, entry_id, correct=correct)
    scalars = cache.data_manager.scalars
    # Beyond what a store can hold there is no entry.
    entry = scalars.get_live([entry_id], time()).get(entry_id) if 0 < entry_id < 2**63 else None
    if entry is None:
        return UNKNOWN
    try:
        tenant, model = owner_of(scalars.envelope(entry_id))
        is_own = tenant == tenant_of(request, cache.settings.gateway_tenant)
    except (ValueError, KeyError, TypeError, BypassError):
        return UNKNOWN
    return tell_of_itself(cache, model, entry, correct=correct) if is_own else UNKNOWN
