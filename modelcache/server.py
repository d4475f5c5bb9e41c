"""Serve the app with waitress: answer 503 while opening, and drain on SIGTERM."""

import json
import logging
import select
import signal
import socket
import sys
import threading
from time import monotonic
from types import FrameType

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask, WSGITask

from modelcache import logs
from modelcache.adapter import reply
from modelcache.app import create_app, get_service
from modelcache.core import Service
from modelcache.errors import ConfigError, ModelCacheError
from modelcache.settings import Settings, load_settings

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
DRAIN_POLL_SECONDS = 0.02
CONNECTION_LIMIT = 1000
# Up to this many times the limit a body is read to its end, so that its sender gets to read the 413
# instead of a connection reset; past it, waitress refuses by itself.
READ_BEYOND_LIMIT = 16


class _Task(WSGITask):
    def build_response_header(self) -> bytes:
        if not self.channel.server.accepting:
            # Draining: the client is told not to send its next request here.
            self.set_close_on_finish()
        header: bytes = super().build_response_header()
        return header


class _JsonErrorTask(ErrorTask):
    """Renders what waitress refuses by itself in the shape of every other error."""

    def execute(self) -> None:
        error = self.request.error
        body = reply.error("query", error.code, error.reason)
        data = json.dumps(body, ensure_ascii=False).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json; charset=utf-8"))
        self.set_close_on_finish()
        self.content_length = len(data)
        self.write(data)


class _Channel(HTTPChannel):
    task_class = _Task
    error_task_class = _JsonErrorTask

    def is_busy(self) -> bool:
        """Tell whether a request is being read or answered, or a reply is still to be sent."""
        return bool(self.requests or self.request is not None or self.total_outbufs_len)


def main(profile: str) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status, having said in a sentence what is wrong."""
    logs.configure()
    try:
        settings = load_settings(profile)
        app = create_app(settings, open_now=False)
        return serve(app, settings)
    except ModelCacheError as exc:
        print(f"modelcache cannot start: {exc}", file=sys.stderr)
        return 1


def serve(app: Flask, settings: Settings) -> int:
    """Listen at once, open the service beside it, and serve until a signal; ConfigError from either."""
    service = get_service(app)
    stopping = threading.Event()
    sockets: dict[int, wasyncore.dispatcher] = {}
    server = _listen(app, settings, sockets)

    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.set()
        server.pull_trigger()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    opening = _Opening(service, stopping, server)
    opening.start()
    print(f"modelcache listens on {_url(settings.host, int(server.effective_port))}", flush=True)
    while not stopping.is_set():
        wasyncore.loop(timeout=POLL_SECONDS, map=sockets, count=1)
    opening.join()
    _drain(server, service, sockets, settings.drain_timeout)
    service.close()
    if opening.failure is not None:
        raise opening.failure
    return 0


class _Opening(threading.Thread):
    """Opens the service while the server already answers 503; stops the server if that fails."""

    def __init__(self, service: Service, stopping: threading.Event, server: TcpWSGIServer) -> None:
        super().__init__(name="modelcache-opening", daemon=True)
        self.failure: ModelCacheError | None = None
        self._service = service
        self._stopping = stopping
        self._server = server

    def run(self) -> None:
        try:
            self._service.open()
            logger.info("ready, with the embedder %s", self._service.cache.embedder.name)
        except ModelCacheError as exc:
            self.failure = exc
        except Exception as exc:
            logger.exception("the service could not be opened")
            self.failure = ConfigError(f"unexpected error: {exc}")
        if self.failure is not None:
            self._stopping.set()
            self._server.pull_trigger()


def _listen(app: Flask, settings: Settings, sockets: dict[int, wasyncore.dispatcher]) -> TcpWSGIServer:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as exc:
        where = _url(settings.host, settings.port)
        raise ConfigError(f"cannot listen on {where}: {exc.strerror or exc}") from exc
    server: TcpWSGIServer = create_server(
        app,
        map=sockets,
        sockets=[listener],
        threads=settings.threads,
        connection_limit=CONNECTION_LIMIT,
        max_request_body_size=settings.max_body_bytes * READ_BEYOND_LIMIT,
        asyncore_use_poll=True,
        ident="",
    )
    server.channel_class = _Channel
    return server


def _drain(
    server: TcpWSGIServer, service: Service, sockets: dict[int, wasyncore.dispatcher], timeout: float
) -> None:
    """Take no more connections and answer the requests that have arrived."""
    service.drain()
    # Whoever is still in the listener's queue believes to be connected, and may have sent a request.
    while select.select([server.socket], [], [], 0)[0]:
        wasyncore.loop(timeout=0, map=sockets, count=1)
    server.accepting = False
    server.del_channel(sockets)
    server.socket.close()
    deadline = monotonic() + timeout
    busy = True
    while busy and monotonic() < deadline:
        # One round reads what has come meanwhile, so that quiet afterwards is quiet.
        wasyncore.loop(timeout=DRAIN_POLL_SECONDS, map=sockets, count=1)
        busy = any(channel.is_busy() for channel in server.active_channels.values())
    server.task_dispatcher.shutdown(timeout=max(1.0, deadline - monotonic()))
    wasyncore.close_all(sockets)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
