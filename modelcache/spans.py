"""What a request spends its time on: where that is marked, whoever looks at the marks."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")
Headers = list[tuple[str, str]]

LOOK_UP, EMBEDDING, SEARCH, DECISION, UPSTREAM = "look-up", "embedding", "search", "decision", "upstream"
_NOTHING: AbstractContextManager[Any] = nullcontext()


class Spans:
    """Marks nothing, and costs nothing: for services that nobody traces."""

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Mark what is done inside the block as a part of what is around it."""
        return _NOTHING

    def begin(self, name: str, environ: Mapping[str, Any]) -> Any:
        """Begin a request, in the current context, and return what ``end`` wants; None: it is not marked.

        The headers in its WSGI environ may say what it is a part of.
        """
        return None

    def end(self, request: Any, status: int, attributes: Mapping[str, str]) -> None:
        """End a request; ``status`` is of its reply, 0 if it got none."""

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return the work as a part of what is marked here, for another thread."""
        return work

    def sent_on(self, headers: Headers) -> Headers:
        """Return the headers for a request to another server, so that it can mark its part."""
        return headers

    def open(self) -> None:
        """Start to mark."""

    def close(self) -> None:
        """Hand over what was marked, and stop; harmless when repeated."""
