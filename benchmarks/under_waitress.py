"""The demo under waitress, as it was served before: for comparison only.

Usage: python -m benchmarks.under_waitress, with the settings in the environment
"""

import logging
import signal

from waitress.server import create_server

from modelcache.app import create_app, get_service
from modelcache.settings import load_settings


def main() -> None:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    settings = load_settings("demo")
    app = create_app(settings)
    # With a hook of somebody's own, each request goes through all of Flask, as it did then.
    app.before_request(lambda: None)
    server = create_server(
        app,
        host=settings.host,
        port=settings.port,
        threads=settings.threads,
        connection_limit=1000,
        asyncore_use_poll=True,
        ident="",
    )
    # It ends like this on Ctrl-C, and closes what is open.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"modelcache listens on http://{settings.host}:{server.effective_port}", flush=True)
    server.run()
    get_service(app).close()


if __name__ == "__main__":
    main()
