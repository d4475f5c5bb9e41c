"""Start the service: its settings come from modelcache/config/default.ini and MODELCACHE_*."""

import sys

from modelcache.server import main

if __name__ == "__main__":
    sys.exit(main("default"))
