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
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from modelcache.embedding.base import Embeddings
from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.patience import progressed, time_left
from modelcache.manager.vector_data.base import Ids, VectorHit, VectorStore

if TYPE_CHECKING:
    from modelcache.settings import Settings

Result = TypeVar("Result")

ID, PARTITION, EMBEDDING = "id", "partition", "embedding"
PARTITION_PATTERN = re.compile(r"[0-9a-f]{40}")
PARTITION_CHARS = 40
METRIC = "COSINE"
# The server makes one physical partition per slot, and loading takes longer the more there are.
PARTITION_SLOTS = 16
MAX_HITS = 16_384
PAGE_ROWS = 10_000
DELETE_ROWS = 5_000
INSERT_BYTES = 4_000_000
ROW_OVERHEAD_BYTES = 64
SMALLEST_ID = -(2**63) + 1
# Creating, indexing and loading takes seconds where a search takes milliseconds.
CREATE_SECONDS = 30.0
RETRY_SECONDS = 0.05
# Answers about a collection that somebody drops, creates or loads at this moment: absent, not
# loaded, not fully loaded, the same three of a partition, and without its index yet.
PASSING_CODES = frozenset({100, 101, 103, 200, 201, 202, 700})
# Some come without a code of their own, when the collection is dropped in the middle of the call.
UNKNOWN_CODE = 65535
PASSING_TEXTS = ("collection not found", "collection not loaded", "partition not found")
INDEX_PARAMS: Mapping[str, Mapping[str, Any]] = {
    "HNSW": {"M": 16, "efConstruction": 200},
    "IVF_FLAT": {"nlist": 128},
    "IVF_SQ8": {"nlist": 128},
}
SEARCH_PARAMS: Mapping[str, Mapping[str, Any]] = {
    "HNSW": {"ef": 128},
    # A server of one's own makes an HNSW graph of it, and by default looks at hardly more than is asked for.
    "AUTOINDEX": {"ef": 128},
    "IVF_FLAT": {"nprobe": 64},
    "IVF_SQ8": {"nprobe": 64},
}
# gRPC reconnects by itself; its own waits between tries grow to two minutes.
GRPC_OPTIONS = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}
DRIVER_ERRORS = (MilvusException, grpc.RpcError, grpc.FutureTimeoutError, grpc.FutureCancelledError)


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
        self._index = index
        self._index_params = {**INDEX_PARAMS.get(index, {}), **(index_params or {})}
        self._search_params = {**SEARCH_PARAMS.get(index, {}), **(search_params or {})}
        self._client: MilvusClient | None = None
        self._closed = threading.Event()
        # Collections that are known to be there with the right dimension: a look-up less per call.
        self._checked: set[str] = set()
        # Lite does not bear a collection being written, loaded and dropped at the same time.
        self._turn: AbstractContextManager[object] = threading.RLock() if self._is_lite else nullcontext()

    @classmethod
    def from_settings(cls, settings: "Settings", dimension: int) -> "MilvusStore":
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
    def _time_left(self) -> float:
        return time_left(self.timeout)

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
            client._handler._on_rpc_error = _give_up
            client.list_collections(timeout=self.timeout)
        except (*DRIVER_ERRORS, OSError, ValueError) as exc:
            if client is not None:
                client.close()
            raise ConfigError(_without_secret(f"cannot use Milvus at {self.uri}: {_reason(exc)}")) from exc
        self._client = client
        self._closed.clear()

    def close(self) -> None:
        client, self._client = self._client, None
        self._closed.set()
        self._checked.clear()
        if client is None:
            return
        client.close()
        if self._is_lite:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.uri)

    def ping(self) -> None:
        with self._calling():
            self._opened().list_collections(timeout=self._time_left)

    def create(self, collection: str) -> bool:
        with self._calling():
            return not self._is_there(collection) and self._make(collection)

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
                self._steadily(collection, self._inserting(collection, chunk, fresh), create=True)

    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        self.check_searched(embedding)
        chosen = f'{PARTITION} == "{_checked_partition(partition)}"'
        wanted = min(k, MAX_HITS)
        params = dict(self._search_params)
        if "ef" in params:
            params["ef"] = max(params["ef"], wanted)
        client = self._opened()
        with self._calling():
            try:
                if not self._is_there(collection):
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
                    timeout=self._time_left,
                )
            except MilvusException as exc:
                if not _is_passing(exc):
                    raise
                self._start_loading(collection)
                return []
        return [VectorHit(int(hit[ID]), float(hit["distance"])) for hit in found[0]]

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        client = self._opened()
        for start in range(0, len(ids), DELETE_ROWS):
            chosen = _id_filter(ids[start : start + DELETE_ROWS])
            with self._calling():
                self._steadily(
                    collection,
                    partial(client.delete, collection, filter=chosen, timeout=self._time_left),
                )

    def truncate(self, collection: str) -> None:
        with self._calling():
            self._steadily(collection, lambda: self._remake(collection))

    def compact(self, collection: str) -> None:
        client = self._opened()
        with self._calling():
            # Lite keeps nothing that could be merged.
            if not self._is_lite and self._is_there(collection):
                client.compact(collection, timeout=self._time_left)

    def ids(self, collection: str) -> Ids:
        with self._calling():
            pages = self._steadily(collection, lambda: list(self._pages(collection)))
        return np.concatenate([np.empty(0, np.int64), *(pages or [])])

    def save(self) -> None:
        pass

    def _opened(self) -> MilvusClient:
        client = self._client
        if client is None:
            raise VectorStoreError("the Milvus store is not open")
        return client

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Have what the driver raises leave as VectorStoreError."""
        with self._turn:
            try:
                yield
            except DRIVER_ERRORS as exc:
                raise VectorStoreError(f"Milvus failed: {_reason(exc)}") from exc

    def _steadily(
        self, collection: str, action: Callable[[], Result], *, create: bool = False
    ) -> Result | None:
        """Run an action on a collection that others may drop, create or load meanwhile.

        An absent collection is created or, without ``create``, None is returned.
        """
        deadline = monotonic() + max(CREATE_SECONDS, self.timeout)
        prepared = True
        while True:
            try:
                if not self._is_there(collection):
                    if not create:
                        return None
                    self._make(collection)
                elif not prepared:
                    self._prepare(collection)
                return action()
            except MilvusException as exc:
                if not _is_passing(exc) or monotonic() > deadline:
                    raise
                self._checked.discard(collection)
                prepared = False
                progressed()
                if self._closed.wait(RETRY_SECONDS):
                    raise

    def _is_there(self, collection: str) -> bool:
        """Tell whether the collection exists; VectorStoreError if it is not one for these vectors."""
        client = self._opened()
        if collection in self._checked:
            return True
        if not client.has_collection(collection, timeout=self._time_left):
            return False
        description = client.describe_collection(collection, timeout=self._time_left)
        fields = {field["name"]: field for field in description["fields"]}
        found = fields.get(EMBEDDING, {}).get("params", {}).get("dim")
        if found is None or int(found) != self.dimension:
            raise VectorStoreError(
                f"the Milvus collection {collection} holds vectors of dimension {found}, not {self.dimension}"
            )
        self._checked.add(collection)
        return True

    def _make(self, collection: str, *, wait: bool = True) -> bool:
        """Create the collection unless somebody else just does, and prepare it; True if it is ours."""
        client = self._opened()
        # A server lets an equal collection be created again: unequal ones have it refuse the second.
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=uuid4().hex)
        schema.add_field(ID, DataType.INT64, is_primary=True)
        schema.add_field(PARTITION, DataType.VARCHAR, max_length=PARTITION_CHARS, is_partition_key=True)
        schema.add_field(EMBEDDING, DataType.FLOAT_VECTOR, dim=self.dimension)
        try:
            client.create_collection(
                collection,
                schema=schema,
                num_partitions=PARTITION_SLOTS,
                consistency_level="Session",
                timeout=max(CREATE_SECONDS, self.timeout),
            )
            created = True
        except MilvusException:
            progressed()
            if not client.has_collection(collection, timeout=self._time_left):
                raise
            created = False
        progressed()
        self._prepare(collection, wait=wait)
        return created

    def _prepare(self, collection: str, *, wait: bool = True) -> None:
        """Give the collection its index, if nobody has, and load it; without ``wait`` only begin to."""
        client = self._opened()
        limit = max(CREATE_SECONDS, self.timeout) if wait else self._time_left
        if not client.list_indexes(collection, timeout=self._time_left):
            index = client.prepare_index_params()
            index.add_index(
                EMBEDDING, index_type=self._index, metric_type=METRIC, params=dict(self._index_params)
            )
            try:
                client.create_index(collection, index, timeout=limit, sync=False)
            except MilvusException:
                progressed()
                if not client.list_indexes(collection, timeout=self._time_left):
                    raise
        client.load_collection(collection, timeout=limit, _async=not wait)
        progressed()

    def _start_loading(self, collection: str) -> None:
        """Have a collection loaded that a search found unloaded, if it is still there."""
        self._checked.discard(collection)
        try:
            if self._is_there(collection):
                self._prepare(collection, wait=False)
        except MilvusException as exc:
            if not _is_passing(exc):
                raise

    def _remake(self, collection: str) -> None:
        self._opened().drop_collection(collection, timeout=max(CREATE_SECONDS, self.timeout))
        self._checked.discard(collection)
        self._make(collection, wait=False)

    def _inserting(self, collection: str, rows: list[dict[str, Any]], fresh: bool) -> Callable[[], None]:
        """Return what inserts fresh rows at once; when tried again, it looks which are there by now."""
        is_first = True

        def insert() -> None:
            nonlocal is_first
            if fresh and is_first:
                is_first = False
                self._opened().insert(collection, rows, timeout=self._time_left)
            else:
                self._insert(collection, rows)

        return insert

    def _insert(self, collection: str, rows: list[dict[str, Any]]) -> None:
        """Insert the rows whose ids are not there yet."""
        client = self._opened()
        present = client.query(
            collection,
            filter=_id_filter([row[ID] for row in rows]),
            output_fields=[ID],
            consistency_level="Session",
            timeout=self._time_left,
        )
        taken = {row[ID] for row in present}
        absent = {row[ID]: row for row in reversed(rows) if row[ID] not in taken}
        if absent:
            client.insert(collection, list(absent.values()), timeout=self._time_left)

    def _pages(self, collection: str) -> Iterator[Ids]:
        """Read all ids in ascending order, as they are at the moment of each page."""
        client = self._opened()
        last = SMALLEST_ID
        # The pages cannot ask for consistency themselves: this waits until all that was written is read.
        client.query(
            collection,
            filter=_id_filter([last]),
            output_fields=[ID],
            consistency_level="Strong",
            timeout=self._time_left,
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
                timeout=self._time_left,
            )
            if not rows:
                return
            page = np.array([row[ID] for row in rows], np.int64)
            last = int(page.max())
            yield page


def _is_passing(exc: MilvusException) -> bool:
    return exc.code in PASSING_CODES or (exc.code == UNKNOWN_CODE and exc.message.startswith(PASSING_TEXTS))


def _checked_partition(partition: str) -> str:
    if not PARTITION_PATTERN.fullmatch(partition):
        raise VectorStoreError("a partition is not 40 hexadecimal digits")
    return partition


def _id_filter(ids: Sequence[int]) -> str:
    return f"{ID} in [{','.join(str(int(id_)) for id_ in ids)}]"


def _give_up(error: Exception) -> bool:
    """Have pymilvus raise a transport error at once; what a server answers is not tried again."""
    if isinstance(error, grpc.RpcError):
        raise error
    return False


def _without_secret(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


def _reason(exc: Exception) -> str:
    """Say in one line what the driver said."""
    if isinstance(exc, MilvusException):
        text = f"{exc.message} (code {exc.code})"
    elif isinstance(exc, grpc.Call):
        text = f"{exc.code().name}: {exc.details()}"
    else:
        text = str(exc) or type(exc).__name__
    return " ".join(text.split())
