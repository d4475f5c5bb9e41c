"""One request, from its body to its reply."""

import logging

from modelcache.adapter import (
    adapter_feedback,
    adapter_insert,
    adapter_query,
    adapter_register,
    adapter_remove,
    reply,
    request,
)
from modelcache.adapter.reply import Reply
from modelcache.core import Service
from modelcache.errors import (
    UNEXPECTED_CODES,
    UNEXPECTED_DESC,
    ModelCacheError,
    RequestError,
    UnavailableError,
)
from modelcache.manager.patience import one_request

logger = logging.getLogger(__name__)


def handle(service: Service, body: bytes) -> tuple[Reply, int]:
    """Return the reply and its HTTP status; nothing is raised, whatever the body holds."""
    request_type = "query"
    try:
        fields = request.read_body(body)
        request_type = request.read_type(fields)
        asked = request.parse(request_type, fields)
        with one_request():
            return _dispatch(service, asked), 200
    except ModelCacheError as exc:
        if not isinstance(exc, RequestError | UnavailableError):
            logger.warning("%s failed: %s", request_type, exc, exc_info=exc.__cause__ is not None)
        return reply.error(request_type, exc.code(request_type), exc.public), exc.http_status
    except Exception:
        logger.exception("%s failed unexpectedly", request_type)
        return reply.error(request_type, UNEXPECTED_CODES[request_type], UNEXPECTED_DESC), 200


def _dispatch(service: Service, asked: request.Request) -> Reply:
    cache = service.cache
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
