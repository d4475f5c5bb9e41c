"""Start the service on MySQL and Milvus: ``python flask4modelcache.py``, or under a gunicorn of your own:
``gunicorn 'flask4modelcache:create_app()'``.
"""

import sys
from typing import TYPE_CHECKING

from modelcache.cli import COMMANDS, main

if TYPE_CHECKING:
    from flask import Flask

SERVE = "serve"


def create_app() -> "Flask":
    """Build the app of one worker process from modelcache/config/default.ini and MODELCACHE_*."""
    from modelcache.serving.workers import create_worker_app

    return create_worker_app(COMMANDS[SERVE].profile)


if __name__ == "__main__":
    sys.exit(main([SERVE, *sys.argv[1:]]))
