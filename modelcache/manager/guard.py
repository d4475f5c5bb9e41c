"""Leave a store that keeps failing alone for a while, so that requests fail at once instead of waiting."""

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from circuitbreaker import CircuitBreaker

from modelcache.errors import RefusedDataError, StoreError
from modelcache.manager import patience
from modelcache.manager.eviction.base import EvictionBook
from modelcache.manager.eviction.proxy import EvictionBookProxy
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.scalar_data.proxy import ScalarStoreProxy
from modelcache.manager.vector_data.base import VectorStore
from modelcache.manager.vector_data.proxy import VectorStoreProxy

P = ParamSpec("P")
T = TypeVar("T")


class Guard:
    """A circuit breaker before one store, which also ends the waiting of a request.

    After ``failures`` in a row every call raises ``error`` at once; after ``seconds`` one call is let
    through to try, and if it succeeds, all are. A request that has waited ``limit`` seconds for the
    store, all its calls together, does not wait for it again.
    """

    def __init__(self, error: type[StoreError], failures: int, seconds: float, limit: float) -> None:
        self._error = error
        self._breaker = CircuitBreaker(
            failure_threshold=failures, recovery_timeout=seconds, expected_exception=_tells_of_the_store
        )
        self._limit = limit
        self._trial = threading.Lock()

    def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the store and return what it returns; ``error`` where it is not to be tried."""
        if patience.is_over(self._error):
            raise self._error(
                f"{_name(method)} was not tried: this request has waited long enough for the store"
            )
        with patience.waiting(self._error, self._limit):
            if self._breaker.closed:
                return self._watched(method, *args, **kwargs)
            # One trial is enough: were all let through, all would wait for a store that hangs.
            if self._breaker.opened or not self._trial.acquire(blocking=False):
                raise self._error(f"{_name(method)} was not tried: the store keeps failing and is left alone")
            try:
                return self._watched(method, *args, **kwargs)
            finally:
                self._trial.release()

    def _watched(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self._breaker.call(method, *args, **kwargs)
        return result


def _tells_of_the_store(kind: type[BaseException], _: BaseException) -> bool:
    """Tell a failure of the store from a refusal of what it was to keep, which others need not wait for."""
    return issubclass(kind, StoreError) and not issubclass(kind, RefusedDataError)


class GuardedScalars(ScalarStoreProxy):
    """A scalar store behind a guard."""

    def __init__(self, proxied: ScalarStore, guard: Guard) -> None:
        super().__init__(proxied)
        self._guard = guard

    def through(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._guard.call(method, *args, **kwargs)


class GuardedVectors(VectorStoreProxy):
    """A vector store behind a guard."""

    def __init__(self, proxied: VectorStore, guard: Guard) -> None:
        super().__init__(proxied)
        self._guard = guard

    def through(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._guard.call(method, *args, **kwargs)


class GuardedBook(EvictionBookProxy):
    """An eviction book behind a guard."""

    def __init__(self, proxied: EvictionBook, guard: Guard) -> None:
        super().__init__(proxied)
        self._guard = guard

    def through(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._guard.call(method, *args, **kwargs)


def _name(method: Callable[..., object]) -> str:
    return getattr(method, "__name__", repr(method))
