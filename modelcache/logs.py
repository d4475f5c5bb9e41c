"""How the service's processes log."""

import logging


def configure() -> None:
    """Log to stderr from INFO on, and keep what is no news out of it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("_granian", "faiss.loader", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
