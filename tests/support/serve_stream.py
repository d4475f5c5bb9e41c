"""The demo with a route that streams without end, as a process of its own.

The file ``closed`` in the data folder says that the stream was closed.
"""

import time
from collections.abc import Iterator
from typing import NoReturn

from flask import Response

from modelcache.app import create_app
from modelcache.serving.process import serve
from modelcache.settings import load_settings
from modelcache.testing.hash_embedder import HashEmbedder


def main() -> NoReturn:
    settings = load_settings("demo")
    app = create_app(settings, embedder=HashEmbedder(), open_now=False)

    def parts() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                time.sleep(0.001)  # nothing else keeps what is not sent yet from filling the memory
        finally:
            (settings.data_dir / "closed").touch()

    @app.get("/stream")
    def stream() -> Response:
        return Response(parts())

    @app.get("/short-stream")
    def short_stream() -> Response:
        return Response(iter([b"one ", b"", b"two"]))

    serve(app, settings)


if __name__ == "__main__":
    main()
