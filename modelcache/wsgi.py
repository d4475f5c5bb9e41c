"""Serve the app with gunicorn: several processes, each with threads of its own."""

import atexit
import sys
from multiprocessing import get_context
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from modelcache import logs
from modelcache.app import create_app, get_service
from modelcache.errors import ConfigError, ModelCacheError
from modelcache.manager.factory import get_vector_store
from modelcache.settings import Settings, load_settings

# A worker that has not shown a sign of life for so long is killed; requests have limits of their own.
SILENT_SECONDS = 120


def create_worker_app(profile: str) -> Flask:
    """Build the app of one worker process; what it has queued is written when the process ends."""
    app = create_app(load_settings(profile))
    atexit.register(get_service(app).close)
    return app


def main(profile: str) -> int:
    """Serve until SIGTERM; returns the exit status, having said in a sentence what is wrong."""
    try:
        settings = load_settings(profile)
        if settings.workers > 1 and get_vector_store(settings, dimension=1).exclusive:
            raise ConfigError(
                f"vector store {settings.vector_store!r} belongs to one process: set MODELCACHE_WORKERS=1"
            )
    except ModelCacheError as exc:
        print(f"modelcache cannot start: {exc}", file=sys.stderr)
        return 1
    if not _can_open(profile):
        return 1
    Gunicorn(profile, settings).run()
    return 0


def _can_open(profile: str) -> bool:
    """Open and close everything once, so that what is wrong is said once and not by every worker.

    In a process of its own, since drivers and embedders do not survive the forks that follow.
    """
    child = get_context("fork").Process(target=_open_once, args=(profile,))
    child.start()
    child.join()
    return child.exitcode == 0


def _open_once(profile: str) -> None:
    logs.configure()
    try:
        app = create_app(load_settings(profile))
    except ModelCacheError as exc:
        print(f"modelcache cannot start: {exc}", file=sys.stderr, flush=True)
        sys.exit(1)
    get_service(app).close()


class Gunicorn(BaseApplication):
    """Gunicorn, configured by our settings."""

    def __init__(self, profile: str, settings: Settings) -> None:
        self._profile = profile
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Hand our settings over in gunicorn's names."""
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        options: dict[str, Any] = {
            "bind": f"{host}:{settings.port}",
            "workers": settings.workers,
            "worker_class": "gthread",
            "threads": settings.threads,
            "graceful_timeout": max(1, round(settings.drain_timeout)),
            "timeout": SILENT_SECONDS,
            "when_ready": _say_where,
            # It would be one file for all services of a user.
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Build the app in a worker: some embedders do not survive a fork."""
        logs.configure()
        try:
            return create_worker_app(self._profile)
        except ModelCacheError as exc:
            print(f"modelcache cannot start: {exc}", file=sys.stderr, flush=True)
            # Gunicorn stops when a worker ends like this, instead of starting the next one.
            sys.exit(Arbiter.APP_LOAD_ERROR)


def _say_where(arbiter: Arbiter) -> None:
    host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"modelcache listens on http://{shown}:{port}", flush=True)
