"""Start the demo: SQLite, FAISS and the bundled embedder, with nothing to install."""

import sys

from modelcache.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
