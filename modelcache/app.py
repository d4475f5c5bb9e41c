"""The HTTP side: routes, and the rendering of every error outside a request's own reply."""

import io
import json
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from modelcache.access_log import AccessLog
from modelcache.adapter import adapter, reply
from modelcache.adapter.packing import PACKINGS, unpacked
from modelcache.admin import dashboard_routes as dashboard
from modelcache.admin import routes as admin
from modelcache.admin.statistics import Statistics
from modelcache.core import Service
from modelcache.embedding.base import Embedder
from modelcache.errors import UNEXPECTED_CODES, UNEXPECTED_DESC, BodyError, ModelCacheError
from modelcache.gateway.messages import DETACH
from modelcache.gptcache import routes as gptcache
from modelcache.langcache import routes as langcache
from modelcache.registry import Registry
from modelcache.settings import Settings, make_settings
from modelcache.spans import Spans
from modelcache.watching import Watching

logger = logging.getLogger(__name__)

EXTENSION = "modelcache"
PATH = "/modelcache"
GATEWAY_PATH = "/v1/"
GATEWAY_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# Loaded only where they are wanted: they want a package more, or an environment that is set before.
PARTS: Registry[Any] = Registry(
    "part",
    {
        "gateway": "modelcache.gateway.wsgi:GatewayApp",
        "metrics": "modelcache.admin.metrics_routes:MetricsRoutes",
        "tracing": "modelcache.tracing:OpenTelemetrySpans",
    },
)
JSON = "application/json; charset=utf-8"


def create_app(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    embedder: Embedder | None = None,
    open_now: bool = True,
    processes: int = 1,
) -> Flask:
    """Build the service: stores opened, embedder loaded. ``get_service(app).close()`` ends it.

    With ``open_now=False`` nothing is opened, and requests get 503 until ``get_service(app).open()``
    has returned. ``processes`` serve together, this one among them. Raises ConfigError.
    """
    if not isinstance(settings, Settings):
        settings = make_settings(settings or {})
    spans = PARTS.load("tracing")() if settings.tracing else Spans()
    service = Service(settings, embedder, processes, spans)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.extensions[EXTENSION] = service

    _add_routes(app, service)
    app.register_blueprint(admin.AdminRoutes(service))
    app.register_blueprint(dashboard.blueprint())
    if settings.statistics_days:
        statistics = Statistics(service)
        service.accompanied_by(statistics.open, statistics.close)
    if settings.langcache:
        app.register_blueprint(langcache.blueprint(service))
    if settings.gptcache_model:
        app.register_blueprint(gptcache.blueprint(service))
    if settings.metrics:
        app.register_blueprint(PARTS.load("metrics")(service))
    gateway: WSGIApplication | None = None
    if settings.upstream_url:
        gateway = PARTS.load("gateway").of(service)
        _add_gateway(app, gateway, settings.gateway_max_body_bytes)
    _add_error_handlers(app)
    app.wsgi_app = _watched(_Shortcut(service, app, gateway), service)  # type: ignore[method-assign, assignment]
    if open_now:
        service.open()
    return app


def _watched(app: WSGIApplication, service: Service) -> WSGIApplication:
    """Put before the app what watches each request, where there is somebody to tell."""
    settings = service.settings
    log = None
    if settings.access_log == "json":
        log = AccessLog(with_questions=settings.access_log_questions)
        service.accompanied_by(log.open, log.close)
    if log is None and not settings.tracing:
        return app
    return Watching(app, service.events, service.spans, None if log is None else log.tell)


def get_service(app: Flask) -> Service:
    """Return the service behind an app made by ``create_app``."""
    service: Service = app.extensions[EXTENSION]
    return service


def _add_routes(app: Flask, service: Service) -> None:
    @app.post(PATH)
    @app.post(f"{PATH}/")
    def modelcache() -> Response:
        try:
            body = _read_body(service.settings.max_body_bytes)
        except BodyError as exc:
            return _json(reply.error("query", exc.code("query"), exc.public), 200)
        return _json(*adapter.handle(service, body, request.headers.get("Authorization", "")))

    @app.get("/welcome")
    def welcome() -> str:
        return "hello, modelcache!"

    @app.get("/health")
    def health() -> Response:
        return _json({"status": "ok"}, 200)

    @app.get("/ready")
    def ready() -> Response:
        try:
            service.check()
        except ModelCacheError as exc:
            return _json({"status": "unavailable", "reason": exc.public}, 503)
        return _json({"status": "ready"}, 200)


def _read_body(most: int) -> bytes:
    """Return the request's body, unpacked; HTTPException or BodyError where that cannot be done."""
    body = request.get_data(cache=False)
    packing = request.headers.get("Content-Encoding", "").strip().lower()
    if packing in ("", "identity"):
        return body
    if packing not in PACKINGS:
        known = " and ".join(PACKINGS)
        raise UnsupportedMediaType(f"Content-Encoding {packing!r} is not read; {known} are")
    data = unpacked(body, packing, most)
    if data is None:
        raise RequestEntityTooLarge()
    return data


def _add_gateway(app: Flask, gateway: WSGIApplication, most_bytes: int) -> None:
    @app.route(f"{GATEWAY_PATH}<path:rest>", methods=GATEWAY_METHODS, provide_automatic_options=False)
    def through_gateway(rest: str) -> Response:
        # Flask knows nothing of requests that wait elsewhere.
        environ = {name: value for name, value in request.environ.items() if name != DETACH}
        if (request.content_length or 0) <= most_bytes:
            request.max_content_length = most_bytes
            body = request.get_data()
            environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return cast(Response, Response.from_app(gateway, environ))


def _add_error_handlers(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def http_error(exc: HTTPException) -> Response:
        status, said = exc.code or 500, f"{exc.name}: {exc.description}"
        if request.path.startswith(admin.PREFIX):
            response = admin.error(status, said)
        else:
            response = _json(reply.error("query", status, said), status)
        # Such as Allow, for a method that the route does not know.
        response.headers.extend(
            {name: value for name, value in exc.get_headers() if name.lower() != "content-type"}
        )
        return response

    @app.errorhandler(Exception)
    def unexpected(exc: Exception) -> Response:
        logger.error("a request failed unexpectedly", exc_info=exc)
        return _json(reply.error("query", UNEXPECTED_CODES["query"], UNEXPECTED_DESC), 500)


class _Shortcut:
    """Hands a plain request to the adapter or the gateway as its route does, without the rest of Flask.

    Matching, contexts, signals and response objects take longer than finding an equal question. What the
    route may refuse, such as a body that is too large, is left to it; so is everything once the app has
    hooks of somebody's own, such as a check of keys.
    """

    def __init__(self, service: Service, app: Flask, gateway: WSGIApplication | None) -> None:
        self._service = service
        self._gateway = gateway
        self._inner: WSGIApplication = app.wsgi_app
        self._hooks = (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or ""
        if (
            self._gateway is not None
            and environ["PATH_INFO"].startswith(GATEWAY_PATH)
            and not (self._service.settings.langcache and environ["PATH_INFO"].startswith(langcache.PREFIX))
            and environ["REQUEST_METHOD"] in GATEWAY_METHODS
            and not any(self._hooks)
        ):
            return self._gateway(environ, start_response)
        if (
            environ["PATH_INFO"] != PATH
            or environ["REQUEST_METHOD"] != "POST"
            or not length.isdecimal()
            or int(length) > self._service.settings.max_body_bytes
            or "HTTP_CONTENT_ENCODING" in environ
            or any(self._hooks)
        ):
            return self._inner(environ, start_response)
        body = environ["wsgi.input"].read(int(length))
        said, status, further = adapter.handle(self._service, body, environ.get("HTTP_AUTHORIZATION", ""))
        data = _encode(said)
        headers = [("Content-Type", JSON), ("Content-Length", str(len(data))), *further.items()]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [data]


def _json(body: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers=headers, content_type=JSON)


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        # What was echoed from a request may hold half a surrogate pair, which has no UTF-8.
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
