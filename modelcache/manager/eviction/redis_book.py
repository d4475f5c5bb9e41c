"""The order of eviction kept in Redis: for many workers, without reading all rows at each eviction."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError
from redis.retry import Retry

from modelcache.errors import ConfigError, StoreError
from modelcache.manager.eviction.base import EntryKey, EvictionBook, recency
from modelcache.manager.scalar_data.base import HitUse, RowUse, ScalarStore
from modelcache.settings import Settings

PREFIX = "modelcache:book"
FILL_ROWS = 5000

# The score of a new entry, and of one read from its row: the lowest is evicted first.
Score = Callable[[RowUse], float]
SCORES: Mapping[str, Score] = {
    "LRU": recency,
    "LFU": lambda row: row.hit_count,
    "FIFO": lambda row: row.id,
    "RR": lambda row: random.random(),
}


class RedisBook(EvictionBook):
    """Keeps a sorted set per model; the first worker that needs one fills it from the rows."""

    def __init__(self, scalars: ScalarStore, policy: str, client: Redis) -> None:
        if policy not in SCORES:
            raise ConfigError(
                f"eviction policy {policy} needs eviction_book = memory; in Redis: {', '.join(SCORES)}"
            )
        self._scalars = scalars
        self._policy = policy
        self._score = SCORES[policy]
        self._client = client

    @classmethod
    def from_settings(cls, settings: Settings, scalars: ScalarStore) -> "RedisBook":
        """Build one on the server that ``redis_url`` names; it is reached at its first use."""
        client: Redis = Redis.from_url(
            settings.redis_url,
            password=settings.redis_password.get_secret_value() or None,
            socket_timeout=settings.store_timeout,
            socket_connect_timeout=settings.store_timeout,
            # A connection that the server closed is opened again once; what timed out stays so.
            retry=Retry(NoBackoff(), 1, (ConnectionError,)),
        )
        return cls(scalars, settings.eviction_policy, client)

    def add(self, model_key: str, entries: Sequence[EntryKey]) -> None:
        now = time()
        rows = [RowUse(entry.id, entry.fingerprint, 0, now) for entry in entries]
        with _redis_errors():
            self._fill_once(model_key)
            self._client.zadd(self._key(model_key), {str(row.id): self._score(row) for row in rows})

    def use(self, model_key: str, uses: Mapping[EntryKey, HitUse]) -> None:
        if self._policy not in ("LRU", "LFU"):
            return
        key = self._key(model_key)
        # Only entries that are in the book: a hit on an evicted one must not bring it back.
        with _redis_errors(), self._client.pipeline(transaction=False) as pipeline:
            for entry, use in uses.items():
                if self._policy == "LRU":
                    row = RowUse(entry.id, entry.fingerprint, use.count, use.last_used_at)
                    pipeline.zadd(key, {str(entry.id): recency(row)}, xx=True, gt=True)
                else:
                    pipeline.zadd(key, {str(entry.id): use.count}, xx=True, incr=True)
            pipeline.execute()

    def victims(self, model_key: str, count: int) -> list[int]:
        with _redis_errors():
            self._fill_once(model_key)
            taken: Any = self._client.zpopmin(self._key(model_key), count)
        return [int(member) for member, _ in taken]

    def forget(self, model_key: str) -> None:
        with _redis_errors():
            self._client.delete(self._key(model_key), self._filled_key(model_key))

    def _fill_once(self, model_key: str) -> None:
        if not self._client.set(self._filled_key(model_key), "1", nx=True):
            return
        rows = self._scalars.uses(model_key)
        for start in range(0, len(rows), FILL_ROWS):
            scores = {str(row.id): self._score(row) for row in rows[start : start + FILL_ROWS]}
            self._client.zadd(self._key(model_key), scores, nx=True)

    def _key(self, model_key: str) -> str:
        return f"{PREFIX}:{self._policy}:{model_key}"

    def _filled_key(self, model_key: str) -> str:
        return f"{self._key(model_key)}:filled"


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as exc:
        raise StoreError(f"Redis, for the eviction book: {type(exc).__name__}") from exc
