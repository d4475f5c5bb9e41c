"""The collections of Milvus: made, indexed and loaded, while others may drop or create them."""

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, TypeVar
from uuid import uuid4

from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from modelcache.errors import VectorStoreError
from modelcache.manager.patience import progressed, time_left
from modelcache.manager.vector_data.milvus_errors import is_passing

Result = TypeVar("Result")

ID, PARTITION, EMBEDDING = "id", "partition", "embedding"
PARTITION_CHARS = 40
METRIC = "COSINE"
# The server makes one physical partition per slot, and loading takes longer the more there are.
PARTITION_SLOTS = 16
# Creating, indexing and loading takes seconds where a search takes milliseconds.
CREATE_SECONDS = 30.0
RETRY_SECONDS = 0.05
INDEX_PARAMS: Mapping[str, Mapping[str, Any]] = {
    "HNSW": {"M": 16, "efConstruction": 200},
    "IVF_FLAT": {"nlist": 128},
    "IVF_SQ8": {"nlist": 128},
}


class MilvusCollections:
    """Keeps the collections of one client in a state to be searched and written to."""

    def __init__(
        self, dimension: int, timeout: float, index: str, index_params: Mapping[str, Any] | None
    ) -> None:
        self.index_params = {**INDEX_PARAMS.get(index, {}), **(index_params or {})}
        self._dimension = dimension
        self._timeout = timeout
        self._index = index
        self._client: MilvusClient | None = None
        self._closed = threading.Event()
        # Collections that are known to be there with the right dimension: a look-up less per call.
        self._checked: set[str] = set()

    @property
    def time_left(self) -> float:
        """How many seconds the next call may take."""
        return time_left(self._timeout)

    def open(self, client: MilvusClient) -> None:
        """Use this client from now on."""
        self._client = client
        self._closed.clear()

    def close(self) -> MilvusClient | None:
        """Have nobody wait any longer, and return the client that was used, None where there is none."""
        client, self._client = self._client, None
        self._closed.set()
        self._checked.clear()
        return client

    def client(self) -> MilvusClient:
        """Return the client; VectorStoreError where there is none."""
        client = self._client
        if client is None:
            raise VectorStoreError("the Milvus store is not open")
        return client

    def steadily(
        self, collection: str, action: Callable[[], Result], *, create: bool = False
    ) -> Result | None:
        """Run an action on a collection that others may drop, create or load meanwhile.

        An absent collection is created or, without ``create``, None is returned.
        """
        deadline = monotonic() + max(CREATE_SECONDS, self._timeout)
        prepared = True
        while True:
            try:
                if not self.is_there(collection):
                    if not create:
                        return None
                    self.make(collection)
                elif not prepared:
                    self._prepare(collection)
                return action()
            except MilvusException as exc:
                if not is_passing(exc) or monotonic() > deadline:
                    raise
                self._checked.discard(collection)
                prepared = False
                progressed()
                if self._closed.wait(RETRY_SECONDS):
                    raise

    def is_there(self, collection: str) -> bool:
        """Tell whether the collection exists; VectorStoreError if it is not one for these vectors."""
        client = self.client()
        if collection in self._checked:
            return True
        if not client.has_collection(collection, timeout=self.time_left):
            return False
        description = client.describe_collection(collection, timeout=self.time_left)
        fields = {field["name"]: field for field in description["fields"]}
        found = fields.get(EMBEDDING, {}).get("params", {}).get("dim")
        if found is None or int(found) != self._dimension:
            raise VectorStoreError(
                f"the Milvus collection {collection} holds vectors of dimension {found}, "
                f"not {self._dimension}"
            )
        self._checked.add(collection)
        return True

    def make(self, collection: str, *, wait: bool = True) -> bool:
        """Create the collection unless somebody else just does, and prepare it; True if it is ours."""
        client = self.client()
        # A server lets an equal collection be created again: unequal ones have it refuse the second.
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=uuid4().hex)
        schema.add_field(ID, DataType.INT64, is_primary=True)
        schema.add_field(PARTITION, DataType.VARCHAR, max_length=PARTITION_CHARS, is_partition_key=True)
        schema.add_field(EMBEDDING, DataType.FLOAT_VECTOR, dim=self._dimension)
        try:
            client.create_collection(
                collection,
                schema=schema,
                num_partitions=PARTITION_SLOTS,
                consistency_level="Session",
                timeout=max(CREATE_SECONDS, self._timeout),
            )
            created = True
        except MilvusException:
            progressed()
            if not client.has_collection(collection, timeout=self.time_left):
                raise
            created = False
        progressed()
        self._prepare(collection, wait=wait)
        return created

    def _prepare(self, collection: str, *, wait: bool = True) -> None:
        """Give the collection its index, if nobody has, and load it; without ``wait`` only begin to."""
        client = self.client()
        limit = max(CREATE_SECONDS, self._timeout) if wait else self.time_left
        if not client.list_indexes(collection, timeout=self.time_left):
            index = client.prepare_index_params()
            index.add_index(
                EMBEDDING, index_type=self._index, metric_type=METRIC, params=dict(self.index_params)
            )
            try:
                client.create_index(collection, index, timeout=limit, sync=False)
            except MilvusException:
                progressed()
                if not client.list_indexes(collection, timeout=self.time_left):
                    raise
        client.load_collection(collection, timeout=limit, _async=not wait)
        progressed()

    def start_loading(self, collection: str) -> None:
        """Have a collection loaded that a search found unloaded, if it is still there."""
        self._checked.discard(collection)
        try:
            if self.is_there(collection):
                self._prepare(collection, wait=False)
        except MilvusException as exc:
            if not is_passing(exc):
                raise

    def remake(self, collection: str) -> None:
        """Drop the collection and create it anew."""
        self.client().drop_collection(collection, timeout=max(CREATE_SECONDS, self._timeout))
        self._checked.discard(collection)
        self.make(collection, wait=False)
