"""What every vector store promises: an index over the rows, which can be lost and rebuilt."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from modelcache.errors import VectorStoreError
from modelcache.records.vectors import Embeddings, Ids
from modelcache.settings import Settings


@dataclass(frozen=True, slots=True)
class VectorHit:
    id: int
    similarity: float
    """Cosine, -1..1."""


class VectorStore(ABC):
    """One collection per model and embedder; inside it, vectors are only compared within a partition.

    Collection names come from ``manager.names.collection_name`` and fit every store's rules.
    Every method raises VectorStoreError when the store fails, and may be repeated. Safe to call
    from many threads. A collection that is absent holds nothing: searching it finds nothing,
    deleting from it does nothing, adding to it creates it.
    """

    dimension: int
    exclusive: bool = False
    """Whether this process alone may use the store, which then keeps every other one out."""
    remote: bool = False
    """Whether calls go to another process, which may hang or be gone."""
    own_settings: ClassVar[type[Any] | None] = None
    """Of another package's store: a frozen dataclass of its settings (``modelcache.own_settings``)."""

    @classmethod
    def from_settings(cls, settings: Settings, dimension: int) -> "VectorStore":
        """Build one for vectors of this dimension, opening nothing; every store that has a name does."""
        raise NotImplementedError

    @abstractmethod
    def open(self) -> None:
        """Connect; ConfigError says in one sentence why the store cannot be used."""

    @abstractmethod
    def close(self) -> None:
        """Keep what must be kept and release the rest; harmless when repeated."""

    @abstractmethod
    def ping(self) -> None:
        """Return if the store answers."""

    @abstractmethod
    def create(self, collection: str) -> bool:
        """Create the collection; False if it was there already. It outlives a restart."""

    @abstractmethod
    def add(
        self,
        collection: str,
        ids: Sequence[int],
        partitions: Sequence[str],
        embeddings: Embeddings,
        fresh: bool = False,
    ) -> None:
        """Add L2-normalised vectors, float32 (n, dimension); an id that is there already is left alone.

        ``fresh`` promises that none of the ids is there, which spares some stores a look-up. Where the
        promise is broken by a race, an id may be there twice until it is deleted.
        """

    @abstractmethod
    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        """Return up to ``k`` nearest vectors of the partition to one vector (dimension,), nearest first.

        It may still find ids that were deleted a moment ago: rows decide what is live.
        """

    @abstractmethod
    def delete(self, collection: str, ids: Sequence[int]) -> None:
        """Remove these vectors; absent ids are ignored."""

    @abstractmethod
    def truncate(self, collection: str) -> None:
        """Remove every vector of the collection, which stays."""

    @abstractmethod
    def ids(self, collection: str) -> Ids:
        """Return the ids of all vectors of the collection, int64 (n,), in any order."""

    def save(self) -> None:  # noqa: B027 - a server does so itself
        """Write down what a restart would otherwise read from the rows."""

    def compact(self, collection: str) -> None:  # noqa: B027 - many stores need none
        """Give back the room that deleted vectors have left."""

    def check_added(self, ids: Sequence[int], partitions: Sequence[str], embeddings: Embeddings) -> None:
        """Raise VectorStoreError unless there is a partition and a vector of our dimension for each id."""
        if embeddings.shape != (len(ids), self.dimension) or len(partitions) != len(ids):
            raise VectorStoreError(f"{len(ids)} ids do not fit vectors of shape {embeddings.shape}")

    def check_searched(self, embedding: Embeddings) -> None:
        """Raise VectorStoreError unless it is one vector of our dimension."""
        if embedding.shape != (self.dimension,):
            raise VectorStoreError(f"a vector of shape {embedding.shape} cannot be searched")
