"""Start the service on MySQL and Milvus: ``python flask4modelcache.py``, or under a gunicorn of your own:
``gunicorn 'flask4modelcache:create_app()'``.
"""

import sys

from flask import Flask

from modelcache.serving.workers import create_worker_app, main

PROFILE = "default"


def create_app() -> Flask:
    """Build the app of one worker process from modelcache/config/default.ini and MODELCACHE_*."""
    return create_worker_app(PROFILE)


if __name__ == "__main__":
    sys.exit(main(PROFILE))
