"""One process that serves: answers 503 while opening, and drains on SIGTERM."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from time import monotonic, sleep
from types import FrameType
from typing import NoReturn

from flask import Flask

from modelcache.access.gate import check_door
from modelcache.app import create_app, get_service
from modelcache.core import Service
from modelcache.errors import ConfigError, ModelCacheError
from modelcache.failing import say_why_not
from modelcache.serving.exchange import Exchange
from modelcache.serving.http import HttpServer
from modelcache.serving.listening import announce, is_awaited, listen
from modelcache.settings import Settings, load_settings

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
DRAIN_POLL_SECONDS = 0.02
LEAST_DRAIN_SECONDS = 1.0


def main(profile: str) -> NoReturn:
    """Serve until SIGTERM or SIGINT and end the process.

    ConfigError says why it does not come so far; what goes wrong later is said here, since granian's
    threads are there by then.
    """
    settings = load_settings(profile)
    app = create_app(settings, open_now=False)
    try:
        serve(app, settings)
    except ModelCacheError as exc:
        say_why_not(exc)
        end_process(1)


def serve(app: Flask, settings: Settings) -> NoReturn:
    """Listen at once, open the service beside it, serve until a signal, and end the process.

    Raises ConfigError, instead of ending it, where it cannot listen or open.
    """
    check_door(settings)
    listener = listen(settings.host, settings.port)
    stop = Stop()
    announce(listener)
    serve_on(listener, app, settings, stop)
    end_process(0)


def end_process(status: int) -> NoReturn:
    """End the process without taking the interpreter down, which granian's threads do not survive.

    One that wakes meanwhile, or that is still busy with a request that was cut off, would abort it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class Stop:
    """What ends the process: a signal, or a thread that asks for it."""

    def __init__(self) -> None:
        self._asked, self._ask = socket.socketpair()
        self._ask.setblocking(False)
        # Any thread may be the one that a signal interrupts, and this wakes the main one in every case.
        signal.set_wakeup_fd(self._ask.fileno(), warn_on_full_buffer=False)
        for signum in STOP_SIGNALS:
            signal.signal(signum, _leave_to_wakeup)

    def fileno(self) -> int:
        """Return what can be read from once it was asked for."""
        return self._asked.fileno()

    def ask(self) -> None:
        self._ask.send(b"\0")

    def wait(self) -> None:
        """Return once it was asked for."""
        self._asked.recv(1)


def _leave_to_wakeup(signum: int, frame: FrameType | None) -> None:
    """Do nothing more than be a handler, which the wakeup needs."""


def serve_on(
    listener: socket.socket,
    app: Flask,
    settings: Settings,
    stop: Stop,
    when_open: Callable[[], object] = lambda: None,
    answers_while_opening: bool = True,
) -> None:
    """Serve on this listener until asked to stop, then drain; raises what kept the service from opening.

    With ``answers_while_opening`` requests get 503 until the service is open; otherwise they are left to
    other processes that share the listener.
    """
    service = get_service(app)
    address = listener.getsockname()[:2]
    larger = settings.gateway_max_body_bytes if settings.upstream_url else 0
    exchange = Exchange(app, address, settings.max_body_bytes, larger)
    server = HttpServer(listener, exchange.answer, settings.threads, settings.read_timeout)
    if answers_while_opening:
        server.start()

    def opened() -> None:
        server.start()
        when_open()

    opening = _Opening(service, stop, opened)
    opening.start()
    stop.wait()
    opening.join()
    service.drain()
    exchange.draining = True
    _drain(listener, server, settings.drain_timeout)
    service.close()
    if opening.failure is not None:
        raise opening.failure


class _Opening(threading.Thread):
    """Opens the service while the server already answers 503; asks for the end if that fails."""

    def __init__(self, service: Service, ending: Stop, when_open: Callable[[], object]) -> None:
        super().__init__(name="modelcache-opening", daemon=True)
        self.failure: ModelCacheError | None = None
        self._service = service
        self._ending = ending
        self._when_open = when_open

    def run(self) -> None:
        try:
            self._service.open()
            logger.info("ready, with the embedder %s", self._service.cache.embedder.name)
            self._when_open()
        except ModelCacheError as exc:
            self.failure = exc
        except Exception as exc:
            logger.exception("the service could not be opened")
            self.failure = ConfigError(f"unexpected error: {exc}")
        if self.failure is not None:
            self._ending.ask()


def _drain(listener: socket.socket, server: HttpServer, timeout: float) -> None:
    """Take no more connections and answer the requests that have arrived."""
    deadline = monotonic() + timeout
    # Whoever is still in the listener's queue believes to be connected, and may have sent a request.
    is_quiet = not server.is_started
    while not is_quiet and monotonic() < deadline:
        is_quiet = not is_awaited(listener)
        # What has come on the connections just accepted is read meanwhile.
        sleep(DRAIN_POLL_SECONDS)
    listener.close()
    if not server.stop(max(LEAST_DRAIN_SECONDS, deadline - monotonic())):
        logger.warning("some connections were cut off, since they took longer than %g s", timeout)
