"""The HTTP server: granian's, in Rust. No other file knows its classes.

It reads, writes and keeps connections on a thread of its own, outside Python, and runs Python on a pool
of threads. A request is a coroutine that awaits parts of its body; while it waits it holds no thread, so
that clients who send half a request, or send it slowly, cost a connection and nothing else. Granian's own
entry points would put an asyncio loop before the pool, which halves the rate of short requests, or read
the body on a thread of the pool, of which slow clients could then take every one.
"""

import logging
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Protocol

from granian import _granian
from granian.http import HTTP1Settings

from modelcache.serving.listening import BACKLOG

logger = logging.getLogger(__name__)

# Its stubs lag behind what it is.
native: Any = _granian

# What Rust threads beside the Python ones may block on: files, which are not served.
RUST_THREADS = 1
# Longer than the pause of any service: a thread of the pool keeps its connections to the stores.
IDLE_THREAD_SECONDS = 86_400
# Files that are no connections: of the stores, libraries, logs.
OTHER_FILES = 256
OVERDUE_POLL_SECONDS = 1.0
# What is raised for a client that went away.
LEFT: tuple[type[Exception], ...] = (native.RSGIProtocolClosed, native.RSGIProtocolError)


class Headers(Protocol):
    """A request's headers; names are lower case."""

    def __contains__(self, name: str) -> bool: ...

    def get(self, name: str) -> str | None: ...

    def items(self) -> list[tuple[str, str]]: ...


class Scope(Protocol):
    """A request without its body."""

    method: str
    path: str
    query_string: str
    http_version: str
    client: str
    headers: Headers


class Connection(Protocol):
    """Where the body comes from and the reply goes."""

    def __call__(self) -> Any:
        """Await the whole body; raises one of LEFT if the client went away."""

    def __aiter__(self) -> Any:
        """Await the body in parts; an empty one ends it."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Any: ...


Handler = Callable[[Scope, Connection], Coroutine[Any, Any, None]]


class HttpServer:
    """Accepts connections on a listener and runs the handler for each request.

    The handler's coroutine may await its Connection and nothing else; TimeoutError is raised in it when
    the request has not come in whole within ``read_timeout`` seconds.
    """

    def __init__(self, listener: socket.socket, handler: Handler, threads: int, read_timeout: float) -> None:
        self.is_started = False
        self._handler = handler
        self._read_timeout = read_timeout
        self._awaited: dict[Any, float] = {}
        self._stop = native.WorkerSignal()
        self._stopped = threading.Event()
        self._stop.add_cb(self._stopped.set)
        self._loop = _NoLoop()
        self._scheduler = native.CallbackScheduler(self._loop, None, None, None, None)
        self._scheduler._schedule_fn = self._begin
        self._worker = native.RSGIWorker(
            1,
            # Granian closes the descriptor when it stops to accept.
            (None, _holder(os.dup(listener.fileno()))),
            None,
            RUST_THREADS,
            RUST_THREADS,
            threads,
            IDLE_THREAD_SECONDS,
            _most_connections(),
            "1",
            HTTP1Settings(header_read_timeout=round(1000 * read_timeout)),
        )

    def start(self) -> None:
        """Accept connections from now on; harmless when repeated."""
        if self.is_started:
            return
        self.is_started = True
        self._worker.serve_async(self._scheduler, self._loop, self._stop)
        threading.Thread(target=self._give_up_overdue, name="modelcache-overdue", daemon=True).start()

    def stop(self, timeout: float) -> bool:
        """Accept no more, answer what has begun and close; False if that took longer than ``timeout``."""
        self._stop.set()
        return not self.is_started or self._stopped.wait(timeout)

    def _begin(self, watcher: Any) -> None:
        try:
            self._go_on(self._handler(watcher.scope, watcher.proto), monotonic() + self._read_timeout)
        except BaseException:  # nobody above would clear it
            logger.exception("a request failed unexpectedly")

    def _go_on(self, request: Coroutine[Any, Any, None], deadline: float, awaited: Any = None) -> None:
        """Run a request until it has to wait, or to its end."""
        self._awaited.pop(awaited, None)
        try:
            while True:
                is_overdue = awaited is not None and awaited.cancelled()
                awaited = request.throw(TimeoutError()) if is_overdue else request.send(None)
                if not awaited.done():
                    break
        except StopIteration:
            return
        self._awaited[awaited] = deadline
        awaited.add_done_callback(lambda done: self._go_on(request, deadline, done))

    def _give_up_overdue(self) -> None:
        while not self._stopped.wait(OVERDUE_POLL_SECONDS):
            now = monotonic()
            for awaited, deadline in self._awaited.copy().items():
                if deadline < now:
                    awaited.cancel()


class _NoLoop:
    """Stands where granian expects an event loop: a thread that brings news goes on with the request."""

    def call_soon(self, callback: Callable[..., object], *arguments: Any, context: Any = None) -> None:
        try:
            callback(*arguments)
        except BaseException:  # nobody above would tell
            logger.exception("a request failed unexpectedly")

    call_soon_threadsafe = call_soon


def has_left(sent: Any) -> bool:
    """Tell from what sending a part of a stream returned whether the client is gone."""
    try:
        next(iter(sent))
    except StopIteration:
        return False
    except LEFT:
        return True
    return False


def _holder(descriptor: int) -> Any:
    if sys.platform == "linux":
        return native.SocketHolder(descriptor, False, BACKLOG)
    return native.SocketHolder(descriptor, False)


def _most_connections() -> int:
    """Raise the limit of open files to what is allowed, and return how many may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (ValueError, OSError):
        logger.warning("at most %d files can be open, which limits the connections", soft)
    return max(OTHER_FILES, soft - OTHER_FILES)
