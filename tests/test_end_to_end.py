"""The whole service on each pair of stores: what a client is promised holds on all of them."""

from collections.abc import Callable
from typing import Any

Scalars = Callable[[], dict[str, Any]]
