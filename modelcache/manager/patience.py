"""How long one request waits for each store: its calls together, not each of them.

An insert calls the scalar store several times, and a failed one once more to undo what it did. Were
each call given the whole limit, the client would wait for their sum. What a request could not undo
any more, the background does. A store is named by the error that it raises.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic

from modelcache.errors import StoreError

# A time limit of zero means none to some drivers.
LEAST_SECONDS = 0.001


@dataclass(slots=True)
class _Wait:
    limit: float
    ends_at: float


_left_by_store: ContextVar[dict[type[StoreError], float] | None] = ContextVar("left_by_store", default=None)
_wait: ContextVar[_Wait | None] = ContextVar("wait", default=None)


@contextmanager
def one_request() -> Iterator[None]:
    """Have what is called inside wait for each store no longer than its limit altogether."""
    token = _left_by_store.set({})
    try:
        yield
    finally:
        _left_by_store.reset(token)


@contextmanager
def waiting(store: type[StoreError], limit: float) -> Iterator[None]:
    """Count the time inside as waited for the store; ``time_left`` tells what remains of it.

    Outside of a request there is no limit for the sum: the background has time.
    """
    left = _left_by_store.get()
    if left is None:
        yield
        return
    wait = _Wait(limit, monotonic() + left.get(store, limit))
    token = _wait.set(wait)
    try:
        yield
    finally:
        _wait.reset(token)
        left[store] = wait.ends_at - monotonic()


def is_over(store: type[StoreError]) -> bool:
    """Tell whether this request has waited for the store as long as it may."""
    left = _left_by_store.get()
    return left is not None and left.get(store, LEAST_SECONDS) < LEAST_SECONDS


def time_left(limit: float) -> float:
    """Return how many seconds the next step may take: ``limit``, or less in a request that has waited."""
    wait = _wait.get()
    if wait is None:
        return limit
    return min(limit, max(LEAST_SECONDS, wait.ends_at - monotonic()))


def progressed() -> None:
    """Grant the whole limit again: the store answered one of many steps, as of a large truncate."""
    wait = _wait.get()
    if wait is not None:
        wait.ends_at = monotonic() + wait.limit
