"""A bare Flask route behind the server that the product uses: the least that an HTTP reply costs.

Usage: python -m benchmarks.bare THREADS REPLY_FILE
"""

import json
import sys
from pathlib import Path
from typing import NoReturn

from flask import Flask, Response, request

from modelcache.serving.exchange import Exchange
from modelcache.serving.http import HttpServer
from modelcache.serving.listening import announce, listen
from modelcache.serving.process import Stop, end_process
from modelcache.settings import Settings


def create_app(reply: bytes) -> Flask:
    """Parse the body, and reply with the same bytes whatever it holds."""
    app = Flask(__name__)

    @app.post("/modelcache")
    @app.post("/v1/chat/completions")
    def modelcache() -> Response:
        json.loads(request.get_data(cache=False))
        return Response(reply, 200, content_type="application/json; charset=utf-8")

    return app


def main(threads: int, reply_file: Path) -> NoReturn:
    settings = Settings()
    listener = listen(settings.host, 0)
    app = create_app(reply_file.read_bytes())
    exchange = Exchange(app, listener.getsockname()[:2], settings.max_body_bytes)
    server = HttpServer(listener, exchange.answer, threads, settings.read_timeout)
    stop = Stop()
    server.start()
    announce(listener)
    stop.wait()
    server.stop(settings.drain_timeout)
    end_process(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
