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
from modelcache.admin.recent import Recent, recent
from modelcache.admin.shadow import Shadow, shadow
from modelcache.admin.verdicts import judged
from modelcache.core import Cache, Service
from modelcache.errors import UNEXPECTED_DESC, ModelCacheError, RequestError, UnavailableError
from modelcache.manager.patience import one_request

logger = logging.getLogger(__name__)

PREFIX = "/admin/"
JSON = "application/json; charset=utf-8"
Work = Callable[[Cache, Caller], entries.Reply]
Fields = dict[str, list[str]]


class AdminRoutes(Blueprint):
    """The routes of a service."""

    def __init__(self, service: Service) -> None:
        super().__init__("admin", __name__, url_prefix=PREFIX.rstrip("/"))
        self._service = service
        handlers: dict[str, Callable[..., Response]] = {
            "/entries": self.list_entries,
            "/entries/<int:id_>": self.get_entry,
            "/stats": self.get_stats,
            "/models": self.get_models,
            "/recent": self.get_recent,
            "/shadow": self.get_shadow,
        }
        for path, handler in handlers.items():
            self.get(path)(handler)
        self.delete("/entries/<int:id_>")(self.delete_entry)
        self.post("/entries/<int:id_>/feedback")(self.judge_entry)

    def list_entries(self) -> Response:
        return self._asked("entries.list", entries.Listing.read, entries.listed)

    def get_entry(self, id_: int) -> Response:
        return self._answer("entries.get", {"id": id_}, partial(entries.got, id_=id_))

    def delete_entry(self, id_: int) -> Response:
        return self._answer("entries.delete", {"id": id_}, partial(entries.deleted, id_=id_))

    def judge_entry(self, id_: int) -> Response:
        body = request.get_data(cache=False)
        return self._answer("entries.feedback", {"id": id_}, partial(judged, id_=id_, body=body))

    def get_stats(self) -> Response:
        return self._asked("stats", figures.Asked, figures.told)

    def get_models(self) -> Response:
        return self._answer("models", {}, models)

    def get_recent(self) -> Response:
        return self._asked("recent", Recent.read, recent)

    def get_shadow(self) -> Response:
        return self._asked("shadow", Shadow.read, shadow)

    def _asked(
        self, what: str, read: Callable[[Fields], Any], work: Callable[..., entries.Reply]
    ) -> Response:
        """Read the query of the address, and do the work for it."""
        try:
            asked = read(dict(request.args.lists()))
        except entries.AskedError as exc:
            # Who may not ask is told that, and not what would be right.
            return self._answer(what, {}, _raising(exc))
        return self._answer(what, asked.audited, partial(work, asked=asked), asked.model or "")

    def _answer(self, what: str, named: Mapping[str, Any], work: Work, model: str = "") -> Response:
        """Do the work for a caller who is an admin, of the model where it is of one; nothing is raised."""
        try:
            caller = self._service.gate.admit(request.headers.get("Authorization", ""))
            caller.permit(ADMIN, model)
            with one_request():
                status, body = work(self._service.cache, caller)
            audit.info("%s by %r: %s", what, caller.name, json.dumps(named, ensure_ascii=False))
        except ModelCacheError as exc:
            return _refused(exc)
        except Exception:
            logger.exception("a request failed unexpectedly")
            return error(500, UNEXPECTED_DESC)
        return Response(b"" if body is None else orjson.dumps(body), status, content_type=JSON)


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
