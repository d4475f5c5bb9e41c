"""A bare Flask route on the servers that the product uses: the least that an HTTP reply costs.

Usage: python -m benchmarks.bare waitress|gunicorn THREADS REPLY_FILE
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication
from waitress.server import create_server


def create_app(reply: bytes) -> Flask:
    """Parse the body, and reply with the same bytes whatever it holds."""
    app = Flask(__name__)

    @app.post("/modelcache")
    def modelcache() -> Response:
        json.loads(request.get_data(cache=False))
        return Response(reply, 200, content_type="application/json; charset=utf-8")

    return app


class Gunicorn(BaseApplication):
    """One worker, as the production service starts its own."""

    def __init__(self, app: Flask, threads: int) -> None:
        self._app = app
        self._threads = threads
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": "127.0.0.1:0",
            "workers": 1,
            "worker_class": "gthread",
            "threads": self._threads,
            "when_ready": lambda arbiter: announce(arbiter.LISTENERS[0].sock.getsockname()[1]),
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._app


def announce(port: int) -> None:
    print(f"modelcache listens on http://127.0.0.1:{port}", flush=True)


def main(server: str, threads: int, reply_file: Path) -> None:
    app = create_app(reply_file.read_bytes())
    if server == "gunicorn":
        Gunicorn(app, threads).run()
        return
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress = create_server(app, host="127.0.0.1", port=0, threads=threads, asyncore_use_poll=True, ident="")
    announce(int(waitress.effective_port))
    waitress.run()


if __name__ == "__main__":
    name, count, path = sys.argv[1:]
    main(name, int(count), Path(path))
