"""``/put``, ``/get`` and ``/flush``, over one model."""

import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import orjson
from flask import Blueprint, Response, request
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from modelcache.access.gate import ADMIN, READ, WRITE
from modelcache.answering import Answered, Asking, keep, look_up
from modelcache.core import Cache, Service
from modelcache.errors import UNEXPECTED_DESC, BodyError, FieldError, ModelCacheError, RequestError
from modelcache.manager.patience import one_request
from modelcache.processor.pre import make_question
from modelcache.processor.texts import encodable, not_blank
from modelcache.records.dialogue import Message
from modelcache.records.event import CHANGE, QUERY, Failed
from modelcache.records.question import Question

logger = logging.getLogger(__name__)

API = "gptcache"
JSON = "application/json"


class _Get(BaseModel):
    prompt: Annotated[str, AfterValidator(not_blank)]


class _Put(_Get):
    answer: Annotated[str, Field(min_length=1), AfterValidator(encodable)]


def blueprint(service: Service) -> Blueprint:
    """Return the routes of a service; the setting ``gptcache_model`` names the model."""
    routes = Blueprint("gptcache", __name__)
    model = service.settings.gptcache_model

    def answer(role: str, work: Callable[[Cache, bytes], Any]) -> Response:
        headers: Mapping[str, str] = {}
        sent = request.get_data()
        try:
            caller = service.gate.admit(request.headers.get("Authorization", ""))
            caller.permit(role, model, inserts=int(role == WRITE))
            with one_request():
                status, body = 200, work(service.cache, sent)
        except RequestError as exc:
            status = 422 if exc.http_status == 200 else exc.http_status
            body, headers = {"detail": exc.public}, exc.headers
        except ModelCacheError as exc:
            logger.warning("a request failed: %s", exc, exc_info=exc.__cause__ is not None)
            status, body = 503, {"detail": exc.public}
        except Exception:
            logger.exception("a request failed unexpectedly")
            status, body = 500, {"detail": UNEXPECTED_DESC}
        if status != 200:
            service.events.tell(Failed(API, QUERY if role == READ else CHANGE, status))
        return Response(orjson.dumps(body), status, headers=headers, content_type=JSON)

    @routes.post("/put")
    def put() -> Response:
        return answer(WRITE, lambda cache, body: _put(cache, model, _read(_Put, body)))

    @routes.post("/get")
    def get() -> Response:
        return answer(READ, lambda cache, body: _get(cache, model, _read(_Get, body)))

    @routes.post("/flush")
    def flush() -> Response:
        return answer(ADMIN, lambda cache, body: _flush(cache, model))

    return routes


def _put(cache: Cache, model: str, asked: _Put) -> str:
    keep(cache, model, [Answered(_question(cache, model, asked.prompt), asked.answer)], api=API)
    return "successfully update the cache"


def _get(cache: Cache, model: str, asked: _Get) -> dict[str, str | None]:
    question = _question(cache, model, asked.prompt)
    with Asking(cache, API, question) as asking:
        asking.found, asking.served = look_up(cache, question)
    entry = asking.found.entry if asking.served else None
    answer = None if entry is None else entry.answer
    return {"prompt": asked.prompt, "answer": answer}


def _flush(cache: Cache, model: str) -> str:
    cache.data_manager.truncate(model)
    return "successfully flush the cache"


def _question(cache: Cache, model: str, prompt: str) -> Question:
    return make_question(model, {}, [Message("user", prompt)], cache.settings)


def _read(kind: type[Any], body: bytes) -> Any:
    """Return the typed request. Raises BodyError, and FieldError, which names the field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        if problem["type"] == "json_invalid":
            raise BodyError("the body is not valid JSON in UTF-8") from exc
        where = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        raise FieldError(f"{where}: {message}" if where else message) from exc
