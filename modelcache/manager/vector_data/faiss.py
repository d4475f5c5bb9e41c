"""Vectors in process memory, with files beside the rows from which a restart takes them at once.

The files save reading every vector from the rows, and are never trusted to be complete: the data
manager compares their ids with the live rows when it first uses a collection. Collections that have not
been used for long are dropped from memory, and read again when they are.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.folder_lock import FolderLock
from modelcache.manager.vector_data.base import VectorHit, VectorStore
from modelcache.manager.vector_data.local.collection import Collection
from modelcache.manager.vector_data.local.upkeep import Upkeep
from modelcache.records.vectors import Embeddings, Ids
from modelcache.settings import Settings

logger = logging.getLogger(__name__)

FOLDER_NAME = "faiss"
INDEX_FROM = 4_000
MEMORY_MB = 2048
MB = 1 << 20


class FaissStore(VectorStore):
    """The vector store of one process; its folder is locked while it is open."""

    exclusive = True

    def __init__(
        self, folder: Path, dimension: int, index_from: int = INDEX_FROM, memory_mb: float = MEMORY_MB
    ) -> None:
        self.folder = folder
        self.dimension = dimension
        self._index_from = index_from
        self._memory_bytes = memory_mb * MB
        self._collections: OrderedDict[str, Collection] = OrderedDict()
        """Those in memory, the least recently used first."""
        self._bytes = 0
        self._lock = threading.Lock()
        self._folder_lock = FolderLock(folder)
        self._upkeep: Upkeep | None = None

    @classmethod
    def from_settings(cls, settings: Settings, dimension: int) -> "FaissStore":
        folder = settings.data_dir / FOLDER_NAME
        return cls(folder, dimension, settings.faiss_index_from, settings.faiss_memory_mb)

    def open(self) -> None:
        if find_spec("faiss") is None:
            raise ConfigError("vector store 'faiss' needs the Python package 'faiss', which is not installed")
        self._folder_lock.take()
        self._upkeep = Upkeep(self._keep_up)

    def close(self) -> None:
        if not self._folder_lock.is_held:
            return
        if self._upkeep is not None:
            self._upkeep.close()
        with self._lock:
            for collection in self._collections.values():
                try:
                    collection.save()
                except VectorStoreError:
                    # Nothing is lost: the next start reads from the rows what the file lacks.
                    logger.exception("a collection's vectors could not be saved")
                collection.close()
            self._collections.clear()
            self._bytes = 0
        self._folder_lock.release()

    def ping(self) -> None:
        if not self._folder_lock.is_held:
            raise VectorStoreError("the FAISS store is not open")

    def create(self, collection: str) -> bool:
        with self._using(collection) as found:
            if found is not None:
                return False
        with self._using(collection, create=True) as found:
            return found is not None and found.is_new()

    def add(
        self,
        collection: str,
        ids: Sequence[int],
        partitions: Sequence[str],
        embeddings: Embeddings,
        fresh: bool = False,
    ) -> None:
        self.check_added(ids, partitions, embeddings)
        with self._using(collection, create=True) as found:
            assert found is not None
            if found.add(ids, partitions, embeddings):
                self._ask_upkeep(collection)
            self._account(found)

    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        self.check_searched(embedding)
        with self._using(collection) as found:
            return found.search(partition, embedding, k) if found else []

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        with self._using(collection) as found:
            if found and found.delete(ids):
                self._ask_upkeep(collection)

    def truncate(self, collection: str) -> None:
        with self._using(collection) as found:
            if found:
                found.truncate()
                self._account(found)

    def ids(self, collection: str) -> Ids:
        with self._using(collection) as found:
            return found.ids() if found else np.empty(0, np.int64)

    def save(self) -> None:
        with self._lock:
            worth = [name for name, found in self._collections.items() if found.is_worth_saving()]
        for name in worth:
            with self._using(name) as found:
                if found:
                    found.save()

    @property
    def is_kept_up(self) -> bool:
        """Whether no index is being built or made smaller, or about to be."""
        return self._upkeep is None or self._upkeep.is_done

    def _keep_up(self, collection: str) -> None:
        with self._using(collection) as found:
            if found:
                found.keep_up()
                self._account(found)

    def _ask_upkeep(self, collection: str) -> None:
        if self._upkeep is not None:
            self._upkeep.ask(collection)

    @contextmanager
    def _using(self, name: str, create: bool = False) -> Iterator[Collection | None]:
        """Hold the collection in memory meanwhile; None where it does not exist and is not to be made."""
        self.ping()
        with self._lock:
            found = self._collections.get(name)
            if found is None:
                found = Collection(self.folder, name, self.dimension, self._index_from)
                if not create and not found.exists:
                    found = None
                else:
                    self._collections[name] = found
            if found is not None:
                self._collections.move_to_end(name)
                found.users += 1
        if found is None:
            yield None
            return
        try:
            if found.load():
                self._account(found)
                if found.is_upkeep_due():
                    self._ask_upkeep(name)
            yield found
        finally:
            with self._lock:
                found.users -= 1

    def _account(self, found: Collection) -> None:
        """Count what the collection takes, and make room if all together take too much."""
        with self._lock:
            taken = found.nbytes
            self._bytes += taken - found.accounted
            found.accounted = taken
            if self._bytes > self._memory_bytes:
                self._make_room()

    def _make_room(self) -> None:
        """Drop the least recently used collections from memory, but none that is in use."""
        for name, collection in list(self._collections.items()):
            if self._bytes <= self._memory_bytes:
                return
            if collection.users:
                continue
            try:
                collection.save()
            except VectorStoreError:
                logger.exception("a collection's vectors could not be saved, and stay in memory")
                continue
            collection.close()
            del self._collections[name]
            self._bytes -= collection.accounted
