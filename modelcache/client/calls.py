"""The clients: one that waits and one that is awaited, alike in everything else."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import sleep
from types import TracebackType
from typing import Any, TypeVar

import httpx2

from modelcache.client import bodies
from modelcache.client.bodies import Body, Dialogue, Scope
from modelcache.client.replies import (
    Answer,
    CacheError,
    CacheUnreachableError,
    Inserted,
    RefusedError,
    answer_of,
    checked,
    created_of,
    inserted_of,
    removed_of,
    status_of,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATH = "/modelcache"
FIRST_PAUSE_SECONDS = 0.05
# Of an insert, of which something was removed since its look-up.
HELD_BACK = 304


class _Common:
    """What both clients know."""

    def __init__(self, url: str, timeout: float, retries: int, fail_open: bool) -> None:
        self.url = url.rstrip("/") + PATH
        self.timeout = timeout
        self.retries = retries
        self.fail_open = fail_open

    def pauses(self) -> list[float]:
        """Return how long to wait before each further try, in seconds."""
        return [FIRST_PAUSE_SECONDS * 2**number for number in range(self.retries)]

    def failed(self, exc: CacheError) -> str:
        """Return what to say of a failure; raises it unless the client fails open, or it is none."""
        if isinstance(exc, RefusedError) and exc.code == HELD_BACK:
            return str(exc)
        if not self.fail_open:
            raise exc
        logger.warning("the cache could not be asked: %s", exc)
        return str(exc)


def _read(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        return checked(response.json())
    except ValueError as exc:
        raise CacheUnreachableError(f"HTTP {response.status_code} without a reply of the cache") from exc


class Client(_Common):
    """Asks a cache at ``url``, over kept connections; safe to use from many threads.

    With ``fail_open`` a query that fails is a miss and an insert that fails stores nothing, each with its
    ``error``; what else fails is raised. Only what got no reply is tried again, ``retries`` times: every
    request may be repeated.
    """

    def __init__(
        self, url: str, *, timeout: float = 2.0, retries: int = 1, fail_open: bool = True, **options: Any
    ) -> None:
        """``options`` go to httpx2.Client."""
        super().__init__(url, timeout, retries, fail_open)
        self._http = httpx2.Client(timeout=timeout, **options)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; harmless when repeated."""
        self._http.close()

    def query(
        self,
        dialogue: Dialogue,
        model: str,
        scope: Scope | None = None,
        *,
        threshold: float | None = None,
        top_k: int | None = None,
    ) -> Answer:
        """Return what answers a question, a text or messages."""
        asked = bodies.query(dialogue, model, scope, threshold=threshold, top_k=top_k)
        try:
            return self._call(asked, answer_of)
        except CacheError as exc:
            return Answer(False, error=self.failed(exc))

    def insert(
        self,
        pairs: Sequence[tuple[Dialogue, str]],
        model: str,
        scope: Scope | None = None,
        *,
        ttl: float | None = None,
        tags: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        asked_at: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Inserted:
        """Store questions with their answers, all or none; hits bring ``metadata`` back.

        ``asked_at`` is the ``Answer``'s: what is removed after it is not brought back.
        """
        asked = bodies.insert(
            pairs, model, scope, asked_at, ttl=ttl, tags=tags, sources=sources, metadata=metadata
        )
        try:
            return self._call(asked, inserted_of)
        except CacheError as exc:
            return Inserted(error=self.failed(exc))

    def remove(
        self,
        model: str,
        scope: Scope | None = None,
        *,
        ids: Sequence[int] | None = None,
        tags: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        older_than: float | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove entries by id, tag, source or age in seconds, or all of the model; returns how many.

        A dry run changes nothing. Raises CacheError.
        """
        asked = bodies.remove(
            model, scope, ids=ids, tags=tags, sources=sources, older_than=older_than, dry_run=dry_run
        )
        return self._call(asked, removed_of)

    def register(self, model: str, *, mode: str | None = None, error_rate: float | None = None) -> bool:
        """Prepare a model and set its mode; False if it was there. Raises CacheError."""
        return self._call(bodies.body("register", model, None, mode=mode, error_rate=error_rate), created_of)

    def feedback(
        self, entry_id: int, dialogue: Dialogue, model: str, scope: Scope | None = None, *, correct: bool
    ) -> str:
        """Say whether an entry answered a question rightly; returns what became of it. Raises CacheError."""
        return self._call(bodies.feedback(entry_id, dialogue, model, scope, correct), status_of)

    def _call(self, body: Body, read: Callable[[Mapping[str, Any]], T]) -> T:
        for pause in self.pauses():
            try:
                return read(self._once(body))
            except CacheUnreachableError:
                sleep(pause)
        return read(self._once(body))

    def _once(self, body: Body) -> Mapping[str, Any]:
        try:
            return _read(self._http.post(self.url, json=body))
        except httpx2.HTTPError as exc:
            raise CacheUnreachableError(f"no reply: {type(exc).__name__}") from exc


class AsyncClient(_Common):
    """The same as ``Client``, to be awaited."""

    def __init__(
        self, url: str, *, timeout: float = 2.0, retries: int = 1, fail_open: bool = True, **options: Any
    ) -> None:
        """``options`` go to httpx2.AsyncClient."""
        super().__init__(url, timeout, retries, fail_open)
        self._http = httpx2.AsyncClient(timeout=timeout, **options)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; harmless when repeated."""
        await self._http.aclose()

    async def query(
        self,
        dialogue: Dialogue,
        model: str,
        scope: Scope | None = None,
        *,
        threshold: float | None = None,
        top_k: int | None = None,
    ) -> Answer:
        """Return what answers a question, a text or messages."""
        asked = bodies.query(dialogue, model, scope, threshold=threshold, top_k=top_k)
        try:
            return await self._call(asked, answer_of)
        except CacheError as exc:
            return Answer(False, error=self.failed(exc))

    async def insert(
        self,
        pairs: Sequence[tuple[Dialogue, str]],
        model: str,
        scope: Scope | None = None,
        *,
        ttl: float | None = None,
        tags: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        asked_at: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Inserted:
        """Store questions with their answers, all or none; hits bring ``metadata`` back.

        ``asked_at`` is the ``Answer``'s: what is removed after it is not brought back.
        """
        asked = bodies.insert(
            pairs, model, scope, asked_at, ttl=ttl, tags=tags, sources=sources, metadata=metadata
        )
        try:
            return await self._call(asked, inserted_of)
        except CacheError as exc:
            return Inserted(error=self.failed(exc))

    async def remove(
        self,
        model: str,
        scope: Scope | None = None,
        *,
        ids: Sequence[int] | None = None,
        tags: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        older_than: float | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove entries by id, tag, source or age in seconds, or all of the model; returns how many.

        A dry run changes nothing. Raises CacheError.
        """
        asked = bodies.remove(
            model, scope, ids=ids, tags=tags, sources=sources, older_than=older_than, dry_run=dry_run
        )
        return await self._call(asked, removed_of)

    async def register(self, model: str, *, mode: str | None = None, error_rate: float | None = None) -> bool:
        """Prepare a model and set its mode; False if it was there. Raises CacheError."""
        asked = bodies.body("register", model, None, mode=mode, error_rate=error_rate)
        return await self._call(asked, created_of)

    async def feedback(
        self, entry_id: int, dialogue: Dialogue, model: str, scope: Scope | None = None, *, correct: bool
    ) -> str:
        """Say whether an entry answered a question rightly; returns what became of it. Raises CacheError."""
        return await self._call(bodies.feedback(entry_id, dialogue, model, scope, correct), status_of)

    async def _call(self, body: Body, read: Callable[[Mapping[str, Any]], T]) -> T:
        for pause in self.pauses():
            try:
                return read(await self._once(body))
            except CacheUnreachableError:
                await asyncio.sleep(pause)
        return read(await self._once(body))

    async def _once(self, body: Body) -> Mapping[str, Any]:
        try:
            return _read(await self._http.post(self.url, json=body))
        except httpx2.HTTPError as exc:
            raise CacheUnreachableError(f"no reply: {type(exc).__name__}") from exc
