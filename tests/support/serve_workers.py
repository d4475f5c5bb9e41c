"""The production service, several workers, with the deterministic embedder as ``hash``."""

import sys

from modelcache.backends import EMBEDDERS
from modelcache.serving.workers import main

if __name__ == "__main__":
    EMBEDDERS.targets["hash"] = "modelcache.testing.hash_embedder:HashEmbedder"
    sys.exit(main("default"))
