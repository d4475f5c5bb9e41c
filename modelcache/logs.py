"""How the service's processes log."""

import logging


def configure() -> None:
    """Log to stderr from INFO on, and keep what is no news out of it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # A queue that is a few requests deep.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
