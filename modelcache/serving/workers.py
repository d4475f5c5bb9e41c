"""Serve with several processes: one starts them, replaces those that die, and ends them all."""

import atexit
import logging
import os
import signal
import socket
import sys
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from threading import Thread
from time import monotonic

from flask import Flask

from modelcache import logs
from modelcache.access.gate import check_door
from modelcache.admin import shared_metrics
from modelcache.app import create_app, get_service
from modelcache.errors import ConfigError, ModelCacheError
from modelcache.failing import say_why_not
from modelcache.manager.factory import get_scalar_store, get_vector_store
from modelcache.serving.listening import announce, listen
from modelcache.serving.process import STOP_SIGNALS, Stop, serve_on
from modelcache.settings import Settings, load_settings

logger = logging.getLogger(__name__)

CANNOT_OPEN = 3
# Between the tries to replace a worker that cannot open, such as while the database is down.
RETRY_SECONDS = 1.0
# Beyond the time that requests get to finish: writing what is queued, closing the stores.
CLOSING_SECONDS = 15.0


def create_worker_app(profile: str) -> Flask:
    """Build the app for a server of one's own; what it has queued is written when the process ends."""
    app = create_app(load_settings(profile))
    atexit.register(get_service(app).close)
    return app


def main(profile: str) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status, having said in a sentence what is wrong."""
    logs.configure()
    try:
        settings = load_settings(profile)
        # Before it listens, so that a driver that is not installed is said at once.
        get_scalar_store(settings)
        is_exclusive = get_vector_store(settings, dimension=1).exclusive
        if settings.workers > 1 and is_exclusive:
            raise ConfigError(
                f"vector store {settings.vector_store!r} belongs to one process: set MODELCACHE_WORKERS=1"
            )
        check_door(settings)
        listener = listen(settings.host, settings.port)
        if settings.metrics and (settings.workers > 1 or shared_metrics.is_named()):
            shared_metrics.prepare()
    except ModelCacheError as exc:
        say_why_not(exc)
        return 1
    announce(listener)
    return Workers(profile, settings, listener).run()


class Workers:
    """The processes that serve on one listener; this one does not touch stores or embedder."""

    def __init__(self, profile: str, settings: Settings, listener: socket.socket) -> None:
        self._profile = profile
        self._settings = settings
        self._listener = listener
        self._workers: list[ForkProcess] = []
        self._stop = Stop()
        # Its writing end is held by this process alone: it reads as closed once this process is gone.
        self._lives, self._life = os.pipe()

    def run(self) -> int:
        """Keep all workers running until a signal; returns the exit status."""
        # The first opens alone, so that what keeps it from opening is said once; meanwhile it answers 503.
        opened = self._start(is_first=True)
        if opened in wait([self._stop.fileno(), opened]) and not _is_told(opened):
            [first] = self._workers
            first.join()
            if first.exitcode == CANNOT_OPEN:
                return 1
        while not self._is_stopping():
            self._fill_up()
            wait([self._stop.fileno(), *(worker.sentinel for worker in self._workers)])
        self._end()
        return 0

    def _is_stopping(self, within: float = 0.0) -> bool:
        return bool(wait([self._stop.fileno()], within))

    def _fill_up(self) -> None:
        """Replace the workers that are gone."""
        for worker in [one for one in self._workers if not one.is_alive()]:
            self._workers.remove(worker)
            if worker.pid is not None:
                shared_metrics.forget(worker.pid)
            logger.error("a worker ended with status %s and is replaced", worker.exitcode)
            if worker.exitcode is not None and worker.exitcode > 0:
                self._is_stopping(within=RETRY_SECONDS)
        while len(self._workers) < self._settings.workers and not self._is_stopping():
            self._start()

    def _start(self, is_first: bool = False) -> Connection:
        """Start a worker; returns what says when it is open."""
        context = get_context("fork")
        opened, tell = context.Pipe(duplex=False)
        worker = context.Process(target=self._work, args=(tell, is_first), name="modelcache-worker")
        # A signal that comes before the worker is ready for it waits until it is.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        worker.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        tell.close()
        self._workers.append(worker)
        return opened

    def _work(self, opened: Connection, is_first: bool) -> None:
        os.close(self._life)
        stop = Stop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        Thread(target=self._end_with_parent, args=(stop,), daemon=True).start()
        try:
            app = create_app(load_settings(self._profile), open_now=False, processes=self._settings.workers)
            serve_on(self._listener, app, self._settings, stop, partial(opened.send, True), is_first)
        except ModelCacheError as exc:
            say_why_not(exc)
            sys.exit(CANNOT_OPEN)

    def _end_with_parent(self, stop: Stop) -> None:
        os.read(self._lives, 1)
        stop.ask()

    def _end(self) -> None:
        """Have the workers drain, and end those that do not come to an end."""
        self._listener.close()
        for worker in self._workers:
            worker.terminate()
        deadline = monotonic() + self._settings.drain_timeout + CLOSING_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()


def _is_told(opened: Connection) -> bool:
    """Tell whether the worker has opened; otherwise it has ended."""
    try:
        return bool(opened.recv())
    except EOFError:
        return False
