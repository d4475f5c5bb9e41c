"""``python -m modelcache``: the command ``modelcache``, of the Python that runs it."""

import sys

from modelcache.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
