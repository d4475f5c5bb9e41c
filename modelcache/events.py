"""Hands on what happens in a service to those who listen: metrics, statistics, logs."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

E = TypeVar("E")
Listener = Callable[[Any], object]


class Events:
    """Calls the listeners of an event, on the thread where it happens; safe to use from many threads.

    ``service.events.listen(Queried, f)`` has ``f`` called with each. A listener must not wait for anything:
    a request does. What it raises is logged, and never fails the request.
    """

    def __init__(self) -> None:
        self._listeners: dict[type[Any], tuple[Listener, ...]] = {}

    def listen(self, kind: type[E], listener: Callable[[E], object]) -> None:
        """Have the listener called with every event of this kind from now on."""
        self._listeners[kind] = (*self._listeners.get(kind, ()), listener)

    def tell(self, event: object) -> None:
        """Call those who listen; nothing is raised."""
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed")
