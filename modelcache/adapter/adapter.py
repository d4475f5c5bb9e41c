"""One request, from its body to its reply."""

import json
import logging
from collections.abc import Mapping
from typing import NamedTuple

from modelcache.access.gate import ADMIN, READ, WRITE, Caller, audit
from modelcache.access.keys import ANY_MODEL
from modelcache.adapter import (
    adapter_feedback,
    adapter_insert,
    adapter_query,
    adapter_register,
    adapter_remove,
    reply,
    request,
)
from modelcache.adapter.adapter_query import API
from modelcache.adapter.reply import Reply
from modelcache.core import Cache, Service
from modelcache.errors import (
    UNEXPECTED_CODES,
    UNEXPECTED_DESC,
    ModelCacheError,
    RequestError,
    UnavailableError,
)
from modelcache.manager.patience import one_request
from modelcache.records.event import Failed

logger = logging.getLogger(__name__)


# The types that an admin's may be among.
AUDITED = frozenset({"remove", "register"})
OF_A_WHOLE_MODEL = frozenset({"truncate_by_model", "truncate_all", "delete_by_age"})


class Handled(NamedTuple):
    """What goes back over HTTP."""

    reply: Reply
    status: int = 200
    headers: Mapping[str, str] = {}


def handle(service: Service, body: bytes, authorization: str = "") -> Handled:
    """Return the reply; nothing is raised, whatever the body and the header ``Authorization`` hold."""
    request_type = "query"
    try:
        caller = service.gate.admit(authorization)
        fields = request.read_body(body)
        request_type = request.read_type(fields)
        asked = request.parse(request_type, fields)
        if not service.gate.is_open:
            _permit(caller, asked, len(body))
        with one_request():
            answered = _dispatch(service.cache, asked)
        if request_type in AUDITED and _role(asked) == ADMIN:
            audit.info("%s by %r: %s", request_type, caller.name, _named(asked))
        return Handled(answered)
    except ModelCacheError as exc:
        if not isinstance(exc, RequestError | UnavailableError):
            logger.warning("%s failed: %s", request_type, exc, exc_info=exc.__cause__ is not None)
        code = exc.code(request_type)
        service.events.tell(Failed(API, request_type, code))
        said = reply.error(request_type, code, exc.public)
        return Handled(said, exc.http_status, exc.headers)
    except Exception:
        logger.exception("%s failed unexpectedly", request_type)
        code = UNEXPECTED_CODES[request_type]
        service.events.tell(Failed(API, request_type, code))
        return Handled(reply.error(request_type, code, UNEXPECTED_DESC))


def _permit(caller: Caller, asked: request.Request, size: int) -> None:
    """Raise ForbiddenError or TooManyError where the caller may not ask this."""
    inserts = len(asked.chat_info) if isinstance(asked, request.InsertRequest) else 0
    caller.permit(_role(asked), asked.scope.model, size=size, inserts=inserts)
    if isinstance(asked, request.RemoveRequest) and asked.remove_type == "truncate_all":
        # It is of all models, whatever the scope says.
        caller.permit(ADMIN, ANY_MODEL)


def _role(asked: request.Request) -> str:
    """Return the role that a request needs."""
    match asked:
        case request.QueryRequest():
            return READ
        case request.RemoveRequest() if asked.remove_type in OF_A_WHOLE_MODEL:
            return ADMIN
        case request.RegisterRequest():
            return ADMIN
        case _:
            return WRITE


def _named(asked: request.Request) -> str:
    """Return what an audit wants to know: no text of a question."""
    fields = asked.model_dump(
        include={"remove_type", "older_than", "dry_run", "mode", "error_rate", "ttl", "max_size"},
        exclude_defaults=True,
    )
    return json.dumps({"model": asked.scope.model, **fields}, ensure_ascii=False)


def _dispatch(cache: Cache, asked: request.Request) -> Reply:
    match asked:
        case request.QueryRequest():
            return adapter_query.answer(cache, asked)
        case request.InsertRequest():
            return adapter_insert.insert(cache, asked)
        case request.RemoveRequest():
            return adapter_remove.remove(cache, asked)
        case request.RegisterRequest():
            return adapter_register.register(cache, asked)
        case request.FeedbackRequest():
            return adapter_feedback.learn(cache, asked)
