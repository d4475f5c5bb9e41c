"""faiss, loaded when an index is first built or read: small partitions do without its 15 MB of memory."""

from importlib import import_module
from typing import Any


def faiss() -> Any:
    """Return the module, set to one thread for the calling one: other cores are left to the requests."""
    module = import_module("faiss")
    module.omp_set_num_threads(1)
    return module
