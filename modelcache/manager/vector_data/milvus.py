"""Vectors in Milvus, a server or the file of Milvus Lite: one collection per model, partitioned by key.

What was seen on a 2.3 server, and why this is written as it is: an upsert hides its own rows from
searches, so ids that are there are looked up and only absent ones inserted; an id that is inserted
twice by two writers at once is found, listed and deleted as one. A collection is searchable some
seconds after it was created. Bound filter parameters came later, so a partition is checked to be
hexadecimal and then formatted.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.patience import progressed
from modelcache.manager.vector_data.base import VectorHit, VectorStore
from modelcache.manager.vector_data.milvus_collections import (
    EMBEDDING,
    ID,
    METRIC,
    PARTITION,
    MilvusCollections,
)
from modelcache.manager.vector_data.milvus_errors import (
    DRIVER_ERRORS,
    give_up,
    is_passing,
    reason,
    without_secret,
)
from modelcache.records.vectors import Embeddings, Ids
from modelcache.settings import Settings

PARTITION_PATTERN = re.compile(r"[0-9a-f]{40}")
MAX_HITS = 16_384
PAGE_ROWS = 10_000
DELETE_ROWS = 5_000
INSERT_BYTES = 4_000_000
ROW_OVERHEAD_BYTES = 64
SMALLEST_ID = -(2**63) + 1
SEARCH_PARAMS: Mapping[str, Mapping[str, Any]] = {
    "HNSW": {"ef": 128},
    # A server of one's own makes an HNSW graph of it, and by default looks at hardly more than is asked for.
    "AUTOINDEX": {"ef": 128},
    "IVF_FLAT": {"nprobe": 64},
    "IVF_SQ8": {"nprobe": 64},
}
# gRPC reconnects by itself; its own waits between tries grow to two minutes.
GRPC_OPTIONS = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}


class MilvusStore(VectorStore):
    """The vector store of any number of processes; under Lite, of one."""

    def __init__(
        self,
        uri: str,
        dimension: int,
        *,
        token: str = "",
        database: str = "",
        tls_ca: Path | None = None,
        index: str = "HNSW",
        index_params: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
        timeout: float = 2.0,
    ) -> None:
        self.uri = uri
        self.dimension = dimension
        self.remote = not self._is_lite
        self.exclusive = self._is_lite
        self.timeout = timeout
        self._connection: dict[str, Any] = {"token": token, "db_name": database}
        if tls_ca is not None:
            self._connection |= {"secure": True, "server_pem_path": str(tls_ca)}
        self._search_params = {**SEARCH_PARAMS.get(index, {}), **(search_params or {})}
        self._collections = MilvusCollections(dimension, timeout, index, index_params)
        # Lite does not bear a collection being written, loaded and dropped at the same time.
        self._turn: AbstractContextManager[object] = threading.RLock() if self._is_lite else nullcontext()

    @classmethod
    def from_settings(cls, settings: Settings, dimension: int) -> "MilvusStore":
        return cls(
            settings.milvus_uri,
            dimension,
            token=settings.milvus_token.get_secret_value(),
            database=settings.milvus_database,
            tls_ca=settings.milvus_tls_ca,
            index=settings.milvus_index,
            index_params=settings.milvus_index_params,
            search_params=settings.milvus_search_params,
            timeout=settings.store_timeout,
        )

    @property
    def _is_lite(self) -> bool:
        return "://" not in self.uri

    def open(self) -> None:
        # It logs the traceback of every error that it also raises, of those that are expected too.
        logging.getLogger("pymilvus.decorators").setLevel(logging.CRITICAL)
        client = None
        try:
            if self._is_lite:
                if not self.uri.endswith(".db"):
                    raise ConfigError(f"milvus_uri {self.uri!r} is neither a URL nor a file name with .db")
                Path(self.uri).parent.mkdir(parents=True, exist_ok=True)
            client = MilvusClient(
                self.uri, timeout=self.timeout, dedicated=True, grpc_options=GRPC_OPTIONS, **self._connection
            )
            # pymilvus answers a lost connection by waiting for a new one under a lock of the whole
            # process, so that the waits of all threads would add up.
            client._handler._on_rpc_error = give_up
            client.list_collections(timeout=self.timeout)
        except (*DRIVER_ERRORS, OSError, ValueError) as exc:
            if client is not None:
                client.close()
            raise ConfigError(without_secret(f"cannot use Milvus at {self.uri}: {reason(exc)}")) from exc
        self._collections.open(client)

    def close(self) -> None:
        client = self._collections.close()
        if client is None:
            return
        client.close()
        if self._is_lite:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.uri)

    def ping(self) -> None:
        with self._calling():
            self._collections.client().list_collections(timeout=self._collections.time_left)

    def create(self, collection: str) -> bool:
        with self._calling():
            return not self._collections.is_there(collection) and self._collections.make(collection)

    def add(
        self,
        collection: str,
        ids: Sequence[int],
        partitions: Sequence[str],
        embeddings: Embeddings,
        fresh: bool = False,
    ) -> None:
        self.check_added(ids, partitions, embeddings)
        rows = [
            {ID: int(id_), PARTITION: _checked_partition(partition), EMBEDDING: embedding}
            for id_, partition, embedding in zip(ids, partitions, embeddings, strict=True)
        ]
        size = max(1, min(PAGE_ROWS, INSERT_BYTES // (4 * self.dimension + ROW_OVERHEAD_BYTES)))
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            if start:
                progressed()
            with self._calling():
                self._collections.steadily(collection, self._inserting(collection, chunk, fresh), create=True)

    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        self.check_searched(embedding)
        chosen = f'{PARTITION} == "{_checked_partition(partition)}"'
        wanted = min(k, MAX_HITS)
        params = dict(self._search_params)
        if "ef" in params:
            params["ef"] = max(params["ef"], wanted)
        client = self._collections.client()
        with self._calling():
            try:
                if not self._collections.is_there(collection):
                    return []
                found = client.search(
                    collection,
                    data=[embedding.tolist()],
                    filter=chosen,
                    limit=wanted,
                    output_fields=[ID],
                    search_params={"metric_type": METRIC, "params": params},
                    anns_field=EMBEDDING,
                    consistency_level="Session",
                    timeout=self._collections.time_left,
                )
            except MilvusException as exc:
                if not is_passing(exc):
                    raise
                self._collections.start_loading(collection)
                return []
        return [VectorHit(int(hit[ID]), float(hit["distance"])) for hit in found[0]]

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        client = self._collections.client()
        for start in range(0, len(ids), DELETE_ROWS):
            chosen = _id_filter(ids[start : start + DELETE_ROWS])
            with self._calling():
                self._collections.steadily(
                    collection,
                    partial(client.delete, collection, filter=chosen, timeout=self._collections.time_left),
                )

    def truncate(self, collection: str) -> None:
        with self._calling():
            self._collections.steadily(collection, lambda: self._collections.remake(collection))

    def compact(self, collection: str) -> None:
        client = self._collections.client()
        with self._calling():
            # Lite keeps nothing that could be merged.
            if not self._is_lite and self._collections.is_there(collection):
                client.compact(collection, timeout=self._collections.time_left)

    def ids(self, collection: str) -> Ids:
        with self._calling():
            pages = self._collections.steadily(collection, lambda: list(self._pages(collection)))
        return np.concatenate([np.empty(0, np.int64), *(pages or [])])

    def save(self) -> None:
        pass

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Have what the driver raises leave as VectorStoreError."""
        with self._turn:
            try:
                yield
            except DRIVER_ERRORS as exc:
                raise VectorStoreError(f"Milvus failed: {reason(exc)}") from exc

    def _inserting(self, collection: str, rows: list[dict[str, Any]], fresh: bool) -> Callable[[], None]:
        """Return what inserts fresh rows at once; when tried again, it looks which are there by now."""
        is_first = True

        def insert() -> None:
            nonlocal is_first
            if fresh and is_first:
                is_first = False
                self._collections.client().insert(collection, rows, timeout=self._collections.time_left)
            else:
                self._insert(collection, rows)

        return insert

    def _insert(self, collection: str, rows: list[dict[str, Any]]) -> None:
        """Insert the rows whose ids are not there yet."""
        client = self._collections.client()
        present = client.query(
            collection,
            filter=_id_filter([row[ID] for row in rows]),
            output_fields=[ID],
            consistency_level="Session",
            timeout=self._collections.time_left,
        )
        taken = {row[ID] for row in present}
        absent = {row[ID]: row for row in reversed(rows) if row[ID] not in taken}
        if absent:
            client.insert(collection, list(absent.values()), timeout=self._collections.time_left)

    def _pages(self, collection: str) -> Iterator[Ids]:
        """Read all ids in ascending order, as they are at the moment of each page."""
        client = self._collections.client()
        last = SMALLEST_ID
        # The pages cannot ask for consistency themselves: this waits until all that was written is read.
        client.query(
            collection,
            filter=_id_filter([last]),
            output_fields=[ID],
            consistency_level="Strong",
            timeout=self._collections.time_left,
        )
        while True:
            # ``iterator`` has the server return the smallest ids. pymilvus' own iterator has no
            # time limit and goes by the clock of this machine.
            rows = client.query(
                collection,
                filter=f"{ID} > {last}",
                output_fields=[ID],
                limit=PAGE_ROWS,
                iterator="True",
                reduce_stop_for_best="False",
                timeout=self._collections.time_left,
            )
            if not rows:
                return
            page = np.array([row[ID] for row in rows], np.int64)
            last = int(page.max())
            yield page


def _checked_partition(partition: str) -> str:
    if not PARTITION_PATTERN.fullmatch(partition):
        raise VectorStoreError("a partition is not 40 hexadecimal digits")
    return partition


def _id_filter(ids: Sequence[int]) -> str:
    return f"{ID} in [{','.join(str(int(id_)) for id_ in ids)}]"
