"""The service with the deterministic embedder, as a process of its own that can be made to die.

Usage: serve_hash.py [STORE.METHOD before|after CALL]: SIGKILL itself around that call of the method.
"""

import os
import signal
import sys
from typing import Any, NoReturn

from modelcache.app import create_app, get_service
from modelcache.serving.process import serve
from modelcache.settings import load_settings
from modelcache.testing.hash_embedder import HashEmbedder


def die_around(target: Any, method: str, moment: str, call: int) -> None:
    """Replace a method by one that kills the process before or after its ``call``-th call."""
    original = getattr(target, method)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(target, method, deadly)


def main(arguments: list[str]) -> NoReturn:
    settings = load_settings("demo")
    app = create_app(settings, embedder=HashEmbedder())
    if arguments:
        store, method = arguments[0].split(".")
        die_around(
            getattr(get_service(app).cache.data_manager, store), method, arguments[1], int(arguments[2])
        )
    serve(app, settings)


if __name__ == "__main__":
    main(sys.argv[1:])
