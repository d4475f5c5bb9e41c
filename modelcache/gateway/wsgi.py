"""Between the gateway and a WSGI server, which may let a request wait on a thread of the gateway's."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from modelcache.core import Service
from modelcache.gateway.gateway import Gateway
from modelcache.gateway.messages import DETACH, HttpReply, HttpRequest, Later, error_reply

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 1
UNEXPECTED = "unexpected error; the service's log has the details"


class GatewayApp:
    """Answers requests under ``/v1/`` as a WSGI app."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._most_bytes = gateway.settings.gateway_max_body_bytes

    @classmethod
    def of(cls, service: Service) -> "GatewayApp":
        """Make the gateway of a service; ConfigError says in a sentence what is wrong."""
        return cls(Gateway.from_service(service))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or detach the request and return nothing."""
        reply = self._unfailing(partial(self._begin, environ))
        if isinstance(reply, HttpReply):
            return _send(reply, start_response)
        threads = self._gateway.threads
        if not threads.take():
            self._gateway.failed(429)
            return _send(_too_many(), start_response)
        detach = environ.get(DETACH)
        if detach is not None:
            finish: Callable[[WSGIApplication], None] = detach()
            threads.run(partial(finish, partial(_send_later, partial(self._unfailing, reply))))
            return []
        waited = self._waited(reply)
        if isinstance(waited.body, bytes):
            threads.leave()
            return _send(waited, start_response)
        return _Leaving(_send(waited, start_response), threads.leave)

    def _begin(self, environ: WSGIEnvironment) -> HttpReply | Later:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > self._most_bytes:
            self._gateway.failed(413)
            message = f"the body is larger than {self._most_bytes} bytes"
            return error_reply(413, message, "request_too_large")
        return self._gateway.answer(_request_of(environ, length))

    def _waited(self, later: Later) -> HttpReply:
        reply = self._unfailing(later)
        assert isinstance(reply, HttpReply)
        return reply

    def _unfailing(self, work: Callable[[], HttpReply | Later]) -> HttpReply | Later:
        try:
            return work()
        except Exception:
            logger.exception("a request failed unexpectedly")
            self._gateway.failed(500)
            return error_reply(500, UNEXPECTED, "internal_error")


class _Leaving:
    """Parts of a reply whose end gives a place back."""

    def __init__(self, parts: Iterable[bytes], leave: Callable[[], None]) -> None:
        self._parts = parts
        self._leave: Callable[[], None] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        leave, self._leave = self._leave, None
        try:
            _close(self._parts)
        finally:
            if leave is not None:
                leave()


def _send_later(
    work: Callable[[], HttpReply | Later], environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    reply = work()
    assert isinstance(reply, HttpReply)
    return _send(reply, start_response)


def _send(reply: HttpReply, start_response: StartResponse) -> Iterable[bytes]:
    headers = reply.headers
    if isinstance(reply.body, bytes) and not any(name == "content-length" for name, _ in headers):
        headers = [*headers, ("content-length", str(len(reply.body)))]
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    start_response(f"{reply.status} {phrase}", headers)
    return [reply.body] if isinstance(reply.body, bytes) else reply.body


def _close(parts: Iterable[bytes]) -> None:
    close: Callable[[], object] | None = getattr(parts, "close", None)
    if close is not None:
        close()


def _request_of(environ: WSGIEnvironment, length: int) -> HttpRequest:
    headers = [
        (name.removeprefix("HTTP_").replace("_", "-").lower(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    if environ.get("CONTENT_TYPE"):
        headers.append(("content-type", environ["CONTENT_TYPE"]))
    return HttpRequest(
        method=environ["REQUEST_METHOD"],
        # WSGI has the bytes of a path as Latin-1.
        path=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
        query=environ.get("QUERY_STRING", ""),
        headers=tuple(headers),
        body=environ["wsgi.input"].read(length) if length else b"",
    )


def _too_many() -> HttpReply:
    message = "too many requests wait for the server behind"
    headers = [("retry-after", str(RETRY_AFTER_SECONDS))]
    return error_reply(429, message, "too_many_requests", headers=headers)
