"""A package of somebody else's: a vector store with settings, rows, an embedder and an evaluation."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import SecretStr

from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.manager.vector_data.base import VectorHit, VectorStore
from modelcache.records.vectors import Embeddings, Ids
from modelcache.settings import Settings
from modelcache.similarity_evaluation.cosine import CosineEvaluation
from modelcache.testing.hash_embedder import HashEmbedder


@dataclass(frozen=True)
class ShelfSettings:
    """What ``vector_store = paper`` reads."""

    shelves: int = field(default=4, metadata={"help": "shelves of the library"})
    key: SecretStr = field(default=SecretStr(""), metadata={"help": "opens it"})
    diary: Path | None = field(default=None, metadata={"help": "file that tells what was done"})


class PaperVectors(VectorStore):
    """Compares with every vector of a partition."""

    own_settings = ShelfSettings

    def __init__(self, dimension: int, own: ShelfSettings) -> None:
        self.dimension = dimension
        self._own = own
        self._lock = threading.Lock()
        self._collections: dict[str, dict[int, tuple[str, Embeddings]]] = {}
        self._is_open = False

    @classmethod
    def from_settings(cls, settings: Settings, dimension: int) -> "PaperVectors":
        return cls(dimension, settings.own(ShelfSettings))

    def open(self) -> None:
        if self._own.shelves < 1:
            raise ConfigError("setting 'paper_shelves' must be at least 1")
        self._is_open = True
        if self._own.diary:
            opened_with = f"{self._own.shelves} shelves, key {self._own.key.get_secret_value()}"
            self._own.diary.write_text(opened_with, encoding="utf-8")

    def close(self) -> None:
        self._is_open = False

    def ping(self) -> None:
        if not self._is_open:
            raise VectorStoreError("the paper store is not open")

    def create(self, collection: str) -> bool:
        with self._lock:
            is_new = collection not in self._collections
            self._collections.setdefault(collection, {})
            return is_new

    def add(
        self,
        collection: str,
        ids: Sequence[int],
        partitions: Sequence[str],
        embeddings: Embeddings,
        fresh: bool = False,
    ) -> None:
        self.check_added(ids, partitions, embeddings)
        with self._lock:
            held = self._collections.setdefault(collection, {})
            for id_, partition, embedding in zip(ids, partitions, embeddings, strict=True):
                held.setdefault(id_, (partition, embedding))

    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        self.check_searched(embedding)
        with self._lock:
            held = list(self._collections.get(collection, {}).items())
        hits = [VectorHit(id_, float(row @ embedding)) for id_, (place, row) in held if place == partition]
        return sorted(hits, key=lambda hit: -hit.similarity)[:k]

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        with self._lock:
            for id_ in ids:
                self._collections.get(collection, {}).pop(id_, None)

    def truncate(self, collection: str) -> None:
        with self._lock:
            self._collections.get(collection, {}).clear()

    def ids(self, collection: str) -> Ids:
        with self._lock:
            return np.array(list(self._collections.get(collection, {})), np.int64)


class PaperRows(SqliteStorage):
    """SQLite's rows in a file of another name."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "PaperRows":
        return cls(settings.data_dir / "paper.db")


class PaperEmbedder(HashEmbedder):
    """The deterministic embedder under a name of its own."""

    name = "paper-v1"

    @classmethod
    def from_settings(cls, settings: Settings) -> "PaperEmbedder":
        return cls()


class PaperEvaluation(CosineEvaluation):
    """The cosine, as it is."""
