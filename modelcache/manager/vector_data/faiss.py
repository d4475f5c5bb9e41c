"""Vectors in process memory, one flat FAISS index per partition, with a snapshot file per collection.

A snapshot saves reading every vector from the rows at a restart, and is never trusted to be
complete: the data manager compares its ids with the live rows when it first uses a collection.
"""

import logging
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import faiss
import numpy as np

from modelcache.embedding.base import Embeddings
from modelcache.errors import VectorStoreError
from modelcache.manager.folder_lock import FolderLock
from modelcache.manager.vector_data.base import Ids, VectorHit, VectorStore

if TYPE_CHECKING:
    from modelcache.settings import Settings

logger = logging.getLogger(__name__)

FOLDER_NAME = "faiss"
SUFFIX = ".npz"
# A snapshot rewrites the whole collection, so it waits until enough has changed to be worth it.
SAVE_AFTER_CHANGES = 1000
SAVE_AFTER_SHARE = 0.1


class FaissStore(VectorStore):
    """The vector store of one process; its folder is locked while it is open."""

    exclusive = True

    def __init__(self, folder: Path, dimension: int) -> None:
        self.folder = folder
        self.dimension = dimension
        self._collections: dict[str, _Collection] = {}
        self._lock = threading.Lock()
        self._folder_lock = FolderLock(folder)

    @classmethod
    def from_settings(cls, settings: "Settings", dimension: int) -> "FaissStore":
        return cls(settings.data_dir / FOLDER_NAME, dimension)

    def open(self) -> None:
        self._folder_lock.take()

    def close(self) -> None:
        if not self._folder_lock.is_held:
            return
        for collection in list(self._collections.values()):
            try:
                collection.save()
            except VectorStoreError:
                # Nothing is lost: the next start reads from the rows what the snapshot lacks.
                logger.exception("a snapshot could not be saved")
        self._collections.clear()
        self._folder_lock.release()

    def ping(self) -> None:
        if not self._folder_lock.is_held:
            raise VectorStoreError("the FAISS store is not open")

    def create(self, collection: str) -> bool:
        with self._lock:
            if collection in self._collections or self._path(collection).exists():
                return False
            made = _Collection(self._path(collection), self.dimension)
            # Written at once, so that a registered model is still registered after a kill.
            made.save()
            self._collections[collection] = made
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
        found = self._find(collection)
        if found is None:
            self.create(collection)
            found = self._find(collection)
        assert found is not None
        found.add(ids, partitions, embeddings)

    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        self.check_searched(embedding)
        found = self._find(collection)
        return found.search(partition, embedding, k) if found else []

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        found = self._find(collection)
        if found:
            found.delete(ids)

    def truncate(self, collection: str) -> None:
        found = self._find(collection)
        if found:
            found.truncate()

    def ids(self, collection: str) -> Ids:
        found = self._find(collection)
        return found.ids() if found else np.empty(0, np.int64)

    def save(self) -> None:
        for collection in list(self._collections.values()):
            if collection.is_worth_saving():
                collection.save()

    def _find(self, collection: str) -> "_Collection | None":
        """Return the collection, loaded from its snapshot if it is not in memory yet."""
        self.ping()
        found = self._collections.get(collection)
        if found is None:
            with self._lock:
                found = self._collections.get(collection)
                if found is None and self._path(collection).exists():
                    found = _Collection(self._path(collection), self.dimension)
                    found.load()
                    self._collections[collection] = found
        return found

    def _path(self, collection: str) -> Path:
        return self.folder / f"{collection}{SUFFIX}"


class _Collection:
    """The indexes of one collection, by partition, under one lock."""

    def __init__(self, path: Path, dimension: int) -> None:
        self.path = path
        self.dimension = dimension
        self._lock = threading.Lock()
        self._save_lock = threading.Lock()
        self._indexes: dict[str, faiss.IndexIDMap] = {}
        self._partition_of: dict[int, str] = {}
        self._changes = 0

    def add(self, ids: Sequence[int], partitions: Sequence[str], embeddings: Embeddings) -> None:
        with self._lock:
            rows: dict[str, list[int]] = {}
            for row, (id_, partition) in enumerate(zip(ids, partitions, strict=True)):
                if id_ not in self._partition_of:
                    self._partition_of[id_] = partition
                    rows.setdefault(partition, []).append(row)
                    self._changes += 1
            for partition, chosen in rows.items():
                index = self._indexes.get(partition)
                if index is None:
                    index = faiss.IndexIDMap(faiss.IndexFlatIP(self.dimension))
                    self._indexes[partition] = index
                index.add_with_ids(
                    np.ascontiguousarray(embeddings[chosen]), np.array([ids[row] for row in chosen], np.int64)
                )

    def search(self, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        with self._lock:
            index = self._indexes.get(partition)
            if index is None:
                return []
            similarities, ids = index.search(embedding.reshape(1, -1), min(k, index.ntotal))
        return [
            VectorHit(int(id_), float(similarity))
            for id_, similarity in zip(ids[0], similarities[0], strict=True)
            if id_ >= 0
        ]

    def delete(self, ids: Sequence[int]) -> None:
        with self._lock:
            doomed: dict[str, list[int]] = {}
            for id_ in ids:
                partition = self._partition_of.pop(id_, None)
                if partition is not None:
                    doomed.setdefault(partition, []).append(id_)
                    self._changes += 1
            for partition, chosen in doomed.items():
                index = self._indexes[partition]
                index.remove_ids(faiss.IDSelectorBatch(np.array(chosen, np.int64)))
                if index.ntotal == 0:
                    del self._indexes[partition]

    def truncate(self) -> None:
        with self._lock:
            self._indexes.clear()
            self._partition_of.clear()
            self._changes += 1
        self.save()

    def ids(self) -> Ids:
        with self._lock:
            return np.fromiter(self._partition_of, np.int64, len(self._partition_of))

    def is_worth_saving(self) -> bool:
        return self._changes > max(SAVE_AFTER_CHANGES, SAVE_AFTER_SHARE * len(self._partition_of))

    def save(self) -> None:
        """Replace the snapshot file by one of this moment, if anything changed."""
        with self._save_lock:
            with self._lock:
                if not self._changes and self.path.exists():
                    return
                names = list(self._indexes)
                ids = [faiss.vector_to_array(self._indexes[name].id_map) for name in names]
                vectors = [_vectors(self._indexes[name], self.dimension) for name in names]
                written = self._changes
            lengths = [len(part) for part in ids]
            with _replacing(self.path) as file:
                np.savez(
                    file,
                    partitions=np.array(names, dtype=np.str_),
                    lengths=np.array(lengths, dtype=np.int64),
                    ids=np.concatenate([np.empty(0, np.int64), *ids]),
                    vectors=np.concatenate([np.empty((0, self.dimension), np.float32), *vectors]),
                )
            with self._lock:
                self._changes -= written

    def load(self) -> None:
        """Fill from the snapshot; a damaged one counts as empty, and the rows fill the gap."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as snapshot:
                names, lengths = snapshot["partitions"], snapshot["lengths"]
                ids, vectors = snapshot["ids"], snapshot["vectors"]
                if vectors.shape != (len(ids), self.dimension) or lengths.sum() != len(ids):
                    raise ValueError("the arrays do not fit each other")
                partitions = np.repeat(names, lengths).tolist()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
            logger.warning(
                "the snapshot %s is damaged (%s): its vectors are read from the rows", self.path, exc
            )
            return
        self.add(ids.tolist(), partitions, vectors)
        self._changes = 0


def _vectors(index: faiss.IndexIDMap, dimension: int) -> Embeddings:
    """Copy the vectors of a flat index, float32 (n, dimension)."""
    flat: Any = faiss.downcast_index(index.index)
    vectors: Embeddings = faiss.vector_to_array(flat.codes).view(np.float32).reshape(-1, dimension)
    return vectors


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears under its name only when it is whole and on disk."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as exc:
        raise VectorStoreError(f"cannot write {path}: {exc}") from exc
