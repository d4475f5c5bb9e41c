"""Vectors in Redis with its search module: one index per collection, over the hashes under its prefix.

A key is ``<collection>:<id>``. Names of collections hold no colon, so the prefix of one never fits
the keys of another. An index is made before its keys are written: what is written into an index is
found at once, while keys that were there before it are read in the background.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.vector_data.base import VectorHit, VectorStore
from modelcache.records.vectors import Embeddings, Ids
from modelcache.settings import Settings

# Enough to make round trips cheap, few enough that an HNSW index takes them within the time limit.
ADD_CHUNK = 200
DELETE_CHUNK = 500
READ_CHUNK = 1000
# The server's MAXSEARCHRESULTS: it refuses to be asked for more.
MOST_HITS = 1_000_000
PARTITION = re.compile("[0-9a-f]{40}")
# Every value is a parameter: nothing is ever formatted into the query.
QUERY = "(@partition:{$partition})=>[KNN $k @embedding $embedding AS distance]"
INDEX_EXISTS = "index already exists"
INDEX_ABSENT = ("no such index", "unknown index name")


class RedisStore(VectorStore):
    """A Redis server, which any number of processes share."""

    remote = True

    def __init__(
        self,
        url: str,
        dimension: int,
        *,
        password: str = "",
        timeout: float = 2.0,
        index: Sequence[str | int] = ("FLAT",),
    ) -> None:
        """``index`` is the kind of a new collection's index, then its attributes and their values."""
        self.dimension = dimension
        self._url = url
        self._password = password
        self._timeout = timeout
        self._index = list(index)
        self._client: Redis | None = None

    @classmethod
    def from_settings(cls, settings: Settings, dimension: int) -> "RedisStore":
        index: list[str | int] = [settings.redis_index]
        if settings.redis_index == "HNSW":
            index += ["M", settings.redis_hnsw_m]
            index += ["EF_CONSTRUCTION", settings.redis_hnsw_ef_construction]
            index += ["EF_RUNTIME", settings.redis_hnsw_ef_runtime]
        return cls(
            settings.redis_url,
            dimension,
            password=settings.redis_password.get_secret_value(),
            timeout=settings.store_timeout,
            index=index,
        )

    def open(self) -> None:
        address = _address(self._url)
        client = self._connect()
        try:
            client.execute_command("FT._LIST")
        except (AuthenticationError, AuthorizationError, NoPermissionError) as exc:
            raise ConfigError(
                f"Redis at {address} does not let the service in ({exc}): check redis_url and redis_password"
            ) from exc
        except ResponseError as exc:
            raise ConfigError(f"Redis at {address} has no search module ({exc}): load RediSearch") from exc
        except RedisError as exc:
            raise ConfigError(f"Redis at {address} cannot be used ({exc}): check redis_url") from exc
        else:
            self._client = client
        finally:
            if self._client is None:
                client.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def ping(self) -> None:
        with self._connected() as client:
            client.ping()

    def create(self, collection: str) -> bool:
        with self._connected() as client:
            try:
                client.execute_command(*self._create_command(collection))
            except ResponseError as exc:
                if not _says(exc, INDEX_EXISTS):
                    raise
                return False
        return True

    def add(
        self,
        collection: str,
        ids: Sequence[int],
        partitions: Sequence[str],
        embeddings: Embeddings,
        fresh: bool = False,
    ) -> None:
        self.check_added(ids, partitions, embeddings)
        _check_partitions(partitions)
        vectors = np.ascontiguousarray(embeddings, "<f4")
        with self._connected() as client:
            for start in range(0, len(ids), ADD_CHUNK):
                rows = range(start, min(start + ADD_CHUNK, len(ids)))
                self._add_chunk(
                    client,
                    collection,
                    {
                        f"{collection}:{ids[row]}": {
                            "partition": partitions[row],
                            "embedding": vectors[row].tobytes(),
                        }
                        for row in rows
                    },
                )

    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        self.check_searched(embedding)
        _check_partitions([partition])
        wanted = min(k, MOST_HITS)
        values = ["partition", partition, "k", wanted, "embedding", embedding.astype("<f4").tobytes()]
        command = ["FT.SEARCH", collection, QUERY, "PARAMS", len(values), *values]
        command += ["SORTBY", "distance", "RETURN", 1, "distance", "LIMIT", 0, wanted]
        # Its own limit is half a second, after which it would silently return what it has so far.
        command += ["TIMEOUT", max(1, int(self._timeout * 1000)), "DIALECT", 2]
        with self._connected() as client:
            try:
                _, *found = client.execute_command(*command)
            except ResponseError as exc:
                if not _says(exc, *INDEX_ABSENT):
                    raise
                return []
        # A key and its fields alternate; a key that expired or went meanwhile has no fields.
        hits = [
            VectorHit(_id(key), 1.0 - float(fields[1]))
            for key, fields in zip(found[::2], found[1::2], strict=True)
            if fields
        ]
        return sorted(hits, key=lambda hit: -hit.similarity)

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        with self._connected() as client:
            for start in range(0, len(ids), DELETE_CHUNK):
                client.unlink(*(f"{collection}:{id_}" for id_ in ids[start : start + DELETE_CHUNK]))

    def truncate(self, collection: str) -> None:
        with self._connected() as client:
            keys = list(self._keys(client, collection))
            # Without its index the keys go fast, however large it is, and nothing finds them meanwhile.
            was_there = self._drop(client, collection)
            for start in range(0, len(keys), DELETE_CHUNK):
                client.unlink(*keys[start : start + DELETE_CHUNK])
        if was_there:
            self.create(collection)

    def ids(self, collection: str) -> Ids:
        with self._connected() as client:
            found = {_id(key) for key in self._keys(client, collection)}
        return np.fromiter(found, np.int64, len(found))

    def save(self) -> None:
        """Nothing to do: the server keeps what it keeps."""

    def _connect(self) -> Redis:
        """Return a client; it connects when it is first used."""
        try:
            client = Redis.from_url(
                self._url,
                password=self._password or None,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                # A connection that the server closed is opened again once; what timed out stays so.
                retry=Retry(NoBackoff(), 1, (ConnectionError,)),
                protocol=2,
                decode_responses=False,
            )
        except ValueError as exc:
            raise ConfigError(
                "redis_url is not an address: it must look like redis://127.0.0.1:6379/0"
            ) from exc
        if client.get_connection_kwargs().get("db"):
            raise ConfigError("redis_url names a database other than 0, the only one that can be searched")
        return client

    @contextmanager
    def _connected(self) -> Iterator[Redis]:
        """Lend the client; what the driver raises becomes a VectorStoreError."""
        if self._client is None:
            raise VectorStoreError("the Redis store is not open")
        try:
            yield self._client
        except RedisError as exc:
            raise VectorStoreError(f"Redis: {exc}") from exc

    def _create_command(self, collection: str) -> list[str | int]:
        kind, *attributes = self._index
        attributes += ["TYPE", "FLOAT32", "DIM", self.dimension, "DISTANCE_METRIC", "COSINE"]
        schema = ["partition", "TAG", "CASESENSITIVE", "embedding", "VECTOR", kind, len(attributes)]
        return [
            *("FT.CREATE", collection, "ON", "HASH", "PREFIX", 1, f"{collection}:"),
            *("SCHEMA", *schema, *attributes),
        ]

    def _add_chunk(self, client: Redis, collection: str, hashes: dict[str, dict[Any, Any]]) -> None:
        """Write the hashes that are not there yet, behind their index."""
        present = client.pipeline(transaction=False)
        for key in hashes:
            present.exists(key)
        missing = [key for key, there in zip(hashes, present.execute(), strict=True) if not there]
        writes = client.pipeline(transaction=False)
        # Sent every time: the index may be gone, by a truncate elsewhere or a server that lost its data.
        writes.execute_command(*self._create_command(collection))
        for key in missing:
            writes.hset(key, mapping=hashes[key])
        for reply in writes.execute(raise_on_error=False):
            if isinstance(reply, RedisError) and not _says(reply, INDEX_EXISTS):
                raise reply

    def _keys(self, client: Redis, collection: str) -> Iterator[bytes]:
        """Yield the collection's keys, as its index knows them; of those written meanwhile, some.

        A scan would read every key of the server, of all collections and of others' data.
        """
        command: list[str | int] = ["FT.AGGREGATE", collection, "*", "LOAD", 1, "@__key"]
        command += ["WITHCURSOR", "COUNT", READ_CHUNK, "TIMEOUT", max(1, int(self._timeout * 1000))]
        try:
            rows, cursor = client.execute_command(*command)
            while True:
                # The first element is a count, which says nothing of use; then names and values alternate.
                yield from (row[1] for row in rows[1:] if row)
                if not cursor:
                    return
                rows, cursor = client.execute_command("FT.CURSOR", "READ", collection, cursor)
        except ResponseError as exc:
            # The index may go while it is read: then there is nothing any more.
            if not _says(exc, *INDEX_ABSENT):
                raise

    def _drop(self, client: Redis, collection: str) -> bool:
        """Drop the index and leave its keys; False if there was none."""
        try:
            client.execute_command("FT.DROPINDEX", collection)
        except ResponseError as exc:
            if not _says(exc, *INDEX_ABSENT):
                raise
            return False
        return True


def _address(url: str) -> str:
    """Return where the server is, for messages, which must hold no secret: ConfigError if the URL does."""
    try:
        parts = urlsplit(url)
        has_password = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError as exc:
        raise ConfigError("redis_url is not an address") from exc
    if has_password:
        raise ConfigError("redis_url holds a password: set it as redis_password, which is never logged")
    return parts.netloc or parts.path


def _check_partitions(partitions: Sequence[str]) -> None:
    if not all(PARTITION.fullmatch(partition) for partition in partitions):
        raise VectorStoreError("a partition is not 40 hex digits")


def _id(key: bytes) -> int:
    return int(key.rpartition(b":")[2])


def _says(exc: RedisError, *texts: str) -> bool:
    """Whether the server means one of these errors, which have no code of their own."""
    said = str(exc).lower()
    return any(text in said for text in texts)
