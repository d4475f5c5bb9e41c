"""The routes."""

from collections.abc import Callable

import orjson
from flask import Blueprint, Response, request

from modelcache.access.gate import READ, WRITE
from modelcache.core import Cache, Service
from modelcache.errors import RequestError
from modelcache.langcache import api

PREFIX = "/v1/caches/"
JSON = "application/json"
Work = Callable[[Cache, api.Caller], api.Reply]


def blueprint(service: Service) -> Blueprint:
    """Return the routes of a service."""
    routes = Blueprint("langcache", __name__, url_prefix=f"{PREFIX}<cache_id>")

    def answer(cache_id: str, role: str, read: Callable[[bytes], Work]) -> Response:
        try:
            work = read(request.get_data())
        except RequestError as exc:
            status, body = api.refuse(service, role, exc)
        else:
            key = request.headers.get("Authorization", "")
            status, body = api.handle(service, work, role, cache_id, key)
        return Response(b"" if body is None else orjson.dumps(body), status, content_type=JSON)

    @routes.post("/entries/search")
    def search(cache_id: str) -> Response:
        return answer(cache_id, READ, api.search)

    @routes.post("/entries")
    def insert(cache_id: str) -> Response:
        return answer(cache_id, WRITE, api.insert)

    @routes.delete("/entries")
    def delete(cache_id: str) -> Response:
        return answer(cache_id, WRITE, api.delete)

    @routes.delete("/entries/<entry_id>")
    def delete_one(cache_id: str, entry_id: str) -> Response:
        return answer(cache_id, WRITE, lambda body: api.delete_one(entry_id))

    @routes.post("/flush")
    def flush(cache_id: str) -> Response:
        return answer(cache_id, WRITE, lambda body: api.flush)

    return routes
