"""The routes under ``/admin``, and the one shape of their errors."""

import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from flask import Blueprint, Response, request

from modelcache.access.gate import ADMIN, Caller, audit
from modelcache.admin import entries, figures
from modelcache.admin.models import models
from modelcache.core import Cache, Service
from modelcache.errors import UNEXPECTED_DESC, ModelCacheError, RequestError, UnavailableError
from modelcache.manager.patience import one_request

logger = logging.getLogger(__name__)

PREFIX = "/admin/"
JSON = "application/json; charset=utf-8"
Work = Callable[[Cache, Caller], entries.Reply]


def blueprint(service: Service) -> Blueprint:
    """Return the routes of a service."""
    routes = Blueprint("admin", __name__, url_prefix=PREFIX.rstrip("/"))

    def answer(what: str, named: Mapping[str, Any], work: Work, model: str = "") -> Response:
        """Do the work for a caller who is an admin, of the model where it is of one; nothing is raised."""
        try:
            caller = service.gate.admit(request.headers.get("Authorization", ""))
            caller.permit(ADMIN, model)
            with one_request():
                status, body = work(service.cache, caller)
            audit.info("%s by %r: %s", what, caller.name, json.dumps(named, ensure_ascii=False))
        except ModelCacheError as exc:
            return _refused(exc)
        except Exception:
            logger.exception("a request failed unexpectedly")
            return error(500, UNEXPECTED_DESC)
        return Response(b"" if body is None else orjson.dumps(body), status, content_type=JSON)

    @routes.get("/entries")
    def list_entries() -> Response:
        try:
            asked = entries.Listing.read(dict(request.args.lists()))
        except entries.AskedError as exc:
            # Who may not ask is told that, and not what would be right.
            return answer("entries.list", {}, _raising(exc))
        return answer("entries.list", asked.audited, partial(entries.listed, asked=asked), asked.model or "")

    @routes.get("/stats")
    def get_stats() -> Response:
        try:
            asked = figures.Asked(dict(request.args.lists()))
        except entries.AskedError as exc:
            return answer("stats", {}, _raising(exc))
        named = {"model": asked.model} if asked.model else {}
        return answer("stats", named, partial(figures.told, asked=asked), asked.model)

    @routes.get("/models")
    def get_models() -> Response:
        return answer("models", {}, models)

    @routes.get("/entries/<int:id_>")
    def get_entry(id_: int) -> Response:
        return answer("entries.get", {"id": id_}, partial(entries.got, id_=id_))

    @routes.delete("/entries/<int:id_>")
    def delete_entry(id_: int) -> Response:
        return answer("entries.delete", {"id": id_}, partial(entries.deleted, id_=id_))

    return routes


def error(
    status: int, message: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Make the reply of a failed request; ``field`` is the one that is wrong."""
    body = orjson.dumps({"error": {"field": field, "message": message}})
    return Response(body, status, headers=headers, content_type=JSON)


def _refused(exc: ModelCacheError) -> Response:
    if isinstance(exc, entries.AskedError):
        return error(400, exc.message, exc.field)
    if isinstance(exc, RequestError):
        return error(exc.http_status, exc.public, headers=exc.headers)
    if not isinstance(exc, UnavailableError):
        logger.warning("a request failed: %s", exc, exc_info=exc.__cause__ is not None)
    return error(503, exc.public)


def _raising(exc: Exception) -> Work:
    def work(cache: Cache, caller: Caller) -> entries.Reply:
        raise exc

    return work
