"""Requests and replies of the gateway, whatever server they come through."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import orjson

Headers = list[tuple[str, str]]
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
# A server of ours puts a function here that lets a request go, and returns what answers it later, on any
# thread, by a WSGI app.
DETACH = "modelcache.detach"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request, read whole."""

    method: str
    path: str
    """Without the query string; begins with ``/v1/``."""
    query: str
    headers: tuple[tuple[str, str], ...]
    """Names are lower case."""
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header, "" where there is none; several are joined by commas."""
        return ", ".join(value for known, value in self.headers if known == name)


@dataclass(slots=True)
class HttpReply:
    """A reply; ``body`` comes in parts where it is sent as it comes."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | Iterator[bytes] = b""


# What takes as long as the server behind takes: it wants a thread that nobody waits for.
Later = Callable[[], HttpReply]


def error_reply(
    status: int, message: str, code: str, param: str | None = None, headers: Headers | None = None
) -> HttpReply:
    """Make an error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
    if status == 429:
        kind = "rate_limit_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return json_reply(status, body, headers)


def json_reply(status: int, body: object, headers: Headers | None = None) -> HttpReply:
    """Make a reply of a JSON body."""
    return HttpReply(status, [("content-type", JSON), *(headers or [])], orjson.dumps(body))
