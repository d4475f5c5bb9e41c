"""The service with an embedder that takes its time, as a process of its own.

Usage: serve_slow.py [opening]: with ``opening``, the embedder opens once a file ``go`` is there.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from modelcache.app import create_app
from modelcache.records.vectors import Embeddings
from modelcache.serving.process import serve
from modelcache.settings import load_settings
from modelcache.testing.hash_embedder import HashEmbedder
from modelcache.testing.waiting import wait_until


class SlowEmbedder(HashEmbedder):
    """Takes half a second for the text ``slow``, and leaves a file when it begins."""

    def __init__(self, folder: Path, waits_to_open: bool) -> None:
        self.folder = folder
        self.waits_to_open = waits_to_open

    def open(self) -> None:
        if self.waits_to_open:
            wait_until((self.folder / "go").exists, "being told to go")

    def embed(self, texts: Sequence[str]) -> Embeddings:
        if "slow" in texts:
            (self.folder / "embedding").touch()
            time.sleep(0.5)  # the slowness is what is tested
        return super().embed(texts)


def main(arguments: list[str]) -> NoReturn:
    settings = load_settings("demo")
    embedder = SlowEmbedder(settings.data_dir, waits_to_open="opening" in arguments)
    serve(create_app(settings, embedder=embedder, open_now=False), settings)


if __name__ == "__main__":
    main(sys.argv[1:])
