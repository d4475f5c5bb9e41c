"""Serve with several processes: one starts them, replaces those that die, and ends them all."""

import atexit
import logging
import os
import signal
import socket
import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from threading import Thread
from time import monotonic
from types import FrameType

from flask import Flask

from modelcache import logs
from modelcache.app import create_app, get_service
from modelcache.errors import ConfigError, ModelCacheError
from modelcache.manager.factory import get_vector_store
from modelcache.serving.listening import announce, listen
from modelcache.serving.process import Stop, say_why_not, serve_on
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
        if settings.workers > 1 and get_vector_store(settings, dimension=1).exclusive:
            raise ConfigError(
                f"vector store {settings.vector_store!r} belongs to one process: set MODELCACHE_WORKERS=1"
            )
        listener = listen(settings.host, settings.port)
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
        self._stop_asked, self._stop = os.pipe()
        # Its writing end is held by this process alone: it reads as closed once this process is gone.
        self._lives, self._life = os.pipe()

    def run(self) -> int:
        """Keep all workers running until a signal; returns the exit status."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal)
        # The first opens alone, so that what keeps it from opening is said once.
        opened = self._start()
        wait([self._stop_asked, opened, self._workers[0].sentinel])
        first = self._workers[0]
        if not opened.poll() and not first.is_alive() and first.exitcode == CANNOT_OPEN:
            return 1
        while not self._is_stopping():
            self._fill_up()
            wait([self._stop_asked, *(worker.sentinel for worker in self._workers)])
        self._end()
        return 0

    def _is_stopping(self) -> bool:
        return bool(wait([self._stop_asked], timeout=0))

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        os.write(self._stop, b"s")

    def _fill_up(self) -> None:
        """Replace the workers that are gone."""
        for worker in [one for one in self._workers if not one.is_alive()]:
            self._workers.remove(worker)
            logger.error("a worker ended with status %s and is replaced", worker.exitcode)
            if worker.exitcode == CANNOT_OPEN:
                wait([self._stop_asked], timeout=RETRY_SECONDS)
        while len(self._workers) < self._settings.workers and not self._is_stopping():
            self._start()

    def _start(self) -> Connection:
        """Start a worker; returns what can be read from once it is open."""
        context = get_context("fork")
        opened, tell = context.Pipe(duplex=False)
        worker = context.Process(target=self._work, args=(tell,), name="modelcache-worker")
        worker.start()
        tell.close()
        self._workers.append(worker)
        return opened

    def _work(self, opened: Connection) -> None:
        os.close(self._life)
        stop = Stop()
        Thread(target=self._end_with_parent, args=(stop,), daemon=True).start()
        try:
            app = create_app(load_settings(self._profile), open_now=False)
            serve_on(self._listener, app, self._settings, stop, lambda: opened.send(True))
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
