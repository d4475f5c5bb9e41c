"""Watches each request from its head to the end of its reply, for the access log and for traces.

Stands before everything else as a WSGI app, and only where there is somebody to tell.
"""

import logging
import random
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter, time
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from modelcache.events import Events
from modelcache.gateway.messages import DETACH
from modelcache.records.event import Failed, Inserted, Queried, Told
from modelcache.spans import Headers, Spans

logger = logging.getLogger(__name__)

REQUEST_ID = "x-modelcache-request-id"
# What callers may name a request; anything else gets a name of ours.
NAMES = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
MOST_PATH_CHARS = 200


@dataclass(slots=True)
class Seen:
    """One request: what is known of it."""

    request_id: str
    method: str
    path: str
    at: float = field(default_factory=time)
    """When it came, in seconds since the epoch."""
    started: float = field(default_factory=perf_counter)
    seconds: float = 0.0
    """Until the reply's end, once it is over."""
    status: int = 0
    """Of the reply; 0 where there was none."""
    api: str = ""
    model: str = ""
    outcome: str = ""
    """Of a query: `hit`, `miss`, `bypass` or `error`; `stored`, `recorded` and such of others."""
    hit_type: str = ""
    reason: str = ""
    """Why the cache had no part, or which rule refused; of a failure its code."""
    question: str = ""


_seen: ContextVar[Seen | None] = ContextVar("seen", default=None)


class Watching:
    """A WSGI app before another; safe to call from many threads."""

    def __init__(
        self, inner: WSGIApplication, events: Events, spans: Spans, told: Callable[[Seen], object] | None
    ) -> None:
        """``told`` is called with each request that is over."""
        self._inner = inner
        self._spans = spans
        self._told = told
        events.listen(Queried, _queried)
        events.listen(Inserted, _inserted)
        events.listen(Told, _judged)
        events.listen(Failed, _failed)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        watch = _Watch(environ, self._spans, self._told)
        detach = environ.get(DETACH)
        if detach is not None:
            environ[DETACH] = watch.detaching(detach)
        return watch.run(self._inner, environ, start_response)


class _Watch:
    """One request on its way, in a context of its own on whatever threads."""

    def __init__(self, environ: WSGIEnvironment, spans: Spans, told: Callable[[Seen], object] | None) -> None:
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and NAMES.fullmatch(given) else f"{random.getrandbits(128):032x}"
        path = environ["PATH_INFO"][:MOST_PATH_CHARS]
        self._seen = Seen(request_id, environ["REQUEST_METHOD"], path)
        self._spans = spans
        self._told = told
        self._is_detached = False
        self._is_over = False
        self._context = copy_context()
        self._span = self._context.run(self._begin, environ)

    def _begin(self, environ: WSGIEnvironment) -> Any:
        _seen.set(self._seen)
        return self._spans.begin(self._seen.method, environ)

    def detaching(
        self, detach: Callable[[], Callable[[WSGIApplication], None]]
    ) -> Callable[[], Callable[[WSGIApplication], None]]:
        """Return what lets the request go as ``detach`` does, and watches on when it is answered."""

        def detached() -> Callable[[WSGIApplication], None]:
            self._is_detached = True
            finish = detach()
            # The other thread may begin while this one is still inside its own.
            later = partial(self._run, copy_context())
            return lambda app: finish(partial(later, app))

        return detached

    def run(
        self, app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Have the app answer, or let go."""
        try:
            parts = self._context.run(app, environ, self._starting(start_response))
        except BaseException:
            self.over()
            raise
        return parts if self._is_detached else self._given(parts, self._context)

    def _run(
        self,
        context: Context,
        app: WSGIApplication,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Have the app answer a request that was let go."""
        try:
            parts = context.run(app, environ, self._starting(start_response))
        except BaseException:
            self.over()
            raise
        return self._given(parts, context)

    def _given(self, parts: Iterable[bytes], context: Context) -> Iterable[bytes]:
        if isinstance(parts, list | tuple):
            self.over()
            return parts
        return _Parts(parts, context, self.over)

    def _starting(self, start_response: StartResponse) -> StartResponse:
        def start(status: str, headers: Headers, exc_info: Any = None, /) -> Callable[[bytes], object]:
            self._seen.status = int(status[:3])
            # The gateway's own name for it, which nobody else knows.
            kept = [one for one in headers if one[0] != REQUEST_ID]
            return start_response(status, [*kept, (REQUEST_ID, self._seen.request_id)])

        return start

    def over(self) -> None:
        """Tell of the request; harmless when repeated, and nothing is raised."""
        if self._is_over:
            return
        self._is_over = True
        seen = self._seen
        seen.seconds = perf_counter() - seen.started
        try:
            if self._span is not None:
                self._spans.end(self._span, seen.status, _attributes(seen))
            if self._told is not None:
                self._told(seen)
        except Exception:
            logger.exception("a request could not be told of")


class _Parts:
    """Parts of a reply, made in the request's context; its end is the request's."""

    def __init__(self, parts: Iterable[bytes], context: Context, over: Callable[[], None]) -> None:
        self._parts = parts
        self._given = iter(parts)
        self._context = context
        self._over = over

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(next, self._given)

    def close(self) -> None:
        close: Callable[[], object] | None = getattr(self._parts, "close", None)
        try:
            if close is not None:
                self._context.run(close)
        finally:
            self._over()


def _attributes(seen: Seen) -> dict[str, str]:
    return {
        "http.request.method": seen.method,
        "url.path": seen.path,
        "gen_ai.request.model": seen.model,
        "modelcache.request_id": seen.request_id,
        "modelcache.api": seen.api,
        "modelcache.outcome": seen.outcome,
        "modelcache.hit_type": seen.hit_type,
        "modelcache.reason": seen.reason,
    }


def _queried(event: Queried) -> None:
    seen = _seen.get()
    if seen is not None:
        seen.api, seen.model, seen.outcome = event.api, event.model, event.outcome
        seen.hit_type, seen.reason, seen.question = event.hit_type, event.reason or event.veto, event.question


def _inserted(event: Inserted) -> None:
    seen = _seen.get()
    if seen is not None and not seen.outcome:
        seen.api, seen.model, seen.outcome = event.api, event.model, "stored"


def _judged(event: Told) -> None:
    seen = _seen.get()
    if seen is not None:
        seen.model, seen.outcome = event.model, event.status


def _failed(event: Failed) -> None:
    seen = _seen.get()
    if seen is not None:
        seen.api, seen.reason = event.api, str(event.code)
        seen.outcome = seen.outcome or "error"
