"""Leave a store that keeps failing alone for a while, so that requests fail at once instead of waiting."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from circuitbreaker import CircuitBreaker

from modelcache.errors import StoreError
from modelcache.manager import patience

Store = TypeVar("Store")

# Opening and closing are the operator's doing, and happen whatever the store's state. Saving asks
# nothing of a server: that it succeeds does not mean that the server is back.
UNGUARDED = frozenset({"open", "close", "from_settings", "save"})


def guard(store: Store, error: type[StoreError], failures: int, seconds: float, limit: float) -> Store:
    """Return the store behind a circuit breaker, to be used in its place.

    After so many failures in a row every call raises ``error`` at once; after so many seconds one
    call is let through to try, and if it succeeds, all are. A request that has waited ``limit``
    seconds for the store, all its calls together, does not wait for it again.
    """
    breaker = CircuitBreaker(
        failure_threshold=failures, recovery_timeout=seconds, expected_exception=StoreError
    )
    return cast(Store, _Guarded(store, error, breaker, limit))


class _Guarded:
    """Passes attributes through, and calls of methods only while the breaker lets them."""

    def __init__(self, store: object, error: type[StoreError], breaker: CircuitBreaker, limit: float) -> None:
        self._store = store
        self._error = error
        self._breaker = breaker
        self._limit = limit
        self._trial = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name in UNGUARDED or not callable(attribute):
            return attribute
        return self._guarded(name, attribute)

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if patience.is_over(self._error):
                raise self._error(f"{name} was not tried: this request has waited long enough for the store")
            with patience.waiting(self._error, self._limit):
                return watched(*args, **kwargs)

        def watched(*args: Any, **kwargs: Any) -> Any:
            if self._breaker.closed:
                return self._breaker.call(method, *args, **kwargs)
            # One trial is enough: were all let through, all would wait for a store that hangs.
            if self._breaker.opened or not self._trial.acquire(blocking=False):
                raise self._error(f"{name} was not tried: the store keeps failing and is left alone")
            try:
                return self._breaker.call(method, *args, **kwargs)
            finally:
                self._trial.release()

        return call
