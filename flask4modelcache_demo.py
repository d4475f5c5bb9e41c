"""Start the demo: SQLite, FAISS and the bundled embedder, with nothing to install."""

import sys

from modelcache.serving.process import main

if __name__ == "__main__":
    sys.exit(main("demo"))
