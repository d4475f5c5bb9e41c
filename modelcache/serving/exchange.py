"""One request and its reply: between the HTTP server and a WSGI app."""

import io
import logging
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

import orjson

from modelcache.adapter import reply
from modelcache.app import GATEWAY_PATH
from modelcache.gateway.messages import DETACH
from modelcache.serving.http import LEFT, Connection, Scope, has_left

logger = logging.getLogger(__name__)

# Up to this many times the limit a body is read to its end, so that its sender gets to read the 413
# instead of a connection reset.
READ_BEYOND_LIMIT = 16
# Granian reads somewhat larger ones, and refuses what is larger still without a body.
MOST_HEADER_BYTES = 262_144
SERVER = ("Server", "modelcache")
CLOSE = ("Connection", "close")


class Exchange:
    """Reads requests whole, up to a limit, has the app answer them, and sends the replies."""

    def __init__(
        self,
        app: WSGIApplication,
        address: tuple[str, int],
        max_body_bytes: int,
        max_gateway_bytes: int = 0,
    ) -> None:
        """Bodies to the gateway may have ``max_gateway_bytes``, if that is more."""
        self.draining = False
        """Whether replies tell the client to come back on another connection."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_gateway_bytes = max(max_body_bytes, max_gateway_bytes)
        self._environ: dict[str, Any] = {
            "REQUEST_METHOD": "",
            "SCRIPT_NAME": "",
            "SERVER_NAME": address[0],
            "SERVER_PORT": str(address[1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }

    async def answer(self, scope: Scope, connection: Connection) -> None:
        """Answer one request; nothing is raised."""
        headers = scope.headers.items()
        if sum(len(name) + len(value) for name, value in headers) > MOST_HEADER_BYTES:
            self._refuse(connection, 431, "Request Header Fields Too Large")
            return
        try:
            length, body = await self._read(scope, connection)
            environ = self._make_environ(scope, headers, length, body)
            self._reply(self._app, environ, connection)
        except LEFT:
            # While sending the request: there is nobody to answer.
            return
        except TimeoutError:
            self._refuse(connection, 408, "Request Timeout: the request did not come in whole in time")
        except Exception:
            logger.exception("a request failed unexpectedly")
            self._refuse(connection, 500, "Internal Server Error")

    async def _read(self, scope: Scope, connection: Connection) -> tuple[int, bytes]:
        """Return the body's length and the body; the length alone, which the app refuses, over the limit."""
        told = scope.headers.get("content-length")
        is_chunked = "transfer-encoding" in scope.headers
        if told is None and not is_chunked:
            return 0, b""
        length = 0 if told is None or is_chunked else int(told)
        limit = self._max_gateway_bytes if scope.path.startswith(GATEWAY_PATH) else self._max_body_bytes
        most = READ_BEYOND_LIMIT * limit
        if length <= limit and not is_chunked:
            body = await connection()
            return len(body), body
        if length > most:
            return length, b""
        parts: list[bytes] = []
        length = 0
        async for part in connection:
            length += len(part)
            if length <= limit:
                parts.append(part)
            if length > most:
                break
        return length, b"".join(parts) if length <= limit else b""

    def _make_environ(
        self, scope: Scope, headers: list[tuple[str, str]], length: int, body: bytes
    ) -> dict[str, Any]:
        path = scope.path
        environ = self._environ | {
            "REQUEST_METHOD": scope.method,
            "PATH_INFO": path if path.isascii() else path.encode().decode("latin-1"),
            "QUERY_STRING": scope.query_string,
            "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
            "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
            "wsgi.input": io.BytesIO(body),
        }
        for name, value in headers:
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        if "HTTP_CONTENT_TYPE" in environ:
            environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ.pop("HTTP_CONTENT_LENGTH", None)
        environ["CONTENT_LENGTH"] = str(length)
        return environ

    def _reply(self, app: WSGIApplication, environ: dict[str, Any], connection: Connection) -> None:
        """Have the app answer; it may detach the request, to answer it later on a thread of its own."""
        started: list[Any] = []
        is_detached = False

        def detach() -> Callable[[WSGIApplication], None]:
            nonlocal is_detached
            is_detached = True
            # A copy, since this one is still in use here when the other thread begins.
            return partial(self._reply_later, environ.copy(), connection)

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: object = None, /
        ) -> Callable[[bytes], object]:
            started[:] = int(status[:3]), headers
            return _write

        start: StartResponse = start_response
        environ[DETACH] = detach
        try:
            parts = app(environ, start)
        finally:
            # It holds the environ too: in a circle, a connection would outlive its reply.
            del environ[DETACH]
        if is_detached:
            return
        try:
            # A list or a tuple is whole already; anything else is sent as it comes.
            body = b"".join(parts) if _is_whole(started[1]) else None
            status, headers = started
            headers = [*headers, SERVER, CLOSE] if self.draining else [*headers, SERVER]
            if body is None:
                _stream(connection, status, headers, parts)
            else:
                connection.response_bytes(status, headers, body)
        finally:
            close: Callable[[], object] | None = getattr(parts, "close", None)
            if close is not None:
                close()

    def _reply_later(self, environ: dict[str, Any], connection: Connection, app: WSGIApplication) -> None:
        """Answer a request that was detached; nothing is raised."""
        try:
            self._reply(app, environ, connection)
        except Exception:
            logger.exception("a request failed unexpectedly")
            self._refuse(connection, 500, "Internal Server Error")

    def _refuse(self, connection: Connection, status: int, description: str) -> None:
        """Reply in the shape of every other error; nothing happens if the app has replied."""
        headers = [("Content-Type", "application/json; charset=utf-8"), SERVER, CLOSE]
        connection.response_bytes(status, headers, orjson.dumps(reply.error("query", status, description)))


def _is_whole(headers: list[tuple[str, str]]) -> bool:
    """Tell whether the reply is whole already; anything else is sent as it comes."""
    return any(name.lower() == "content-length" for name, _ in headers)


def _stream(
    connection: Connection, status: int, headers: list[tuple[str, str]], parts: Iterable[bytes]
) -> None:
    transport = connection.response_stream(status, headers)
    for part in parts:
        # The app hears of a client that left by the end of its iteration.
        if part and has_left(transport.send_bytes(part)):
            break


def _write(data: bytes) -> None:
    raise NotImplementedError("replies are returned, not written")
