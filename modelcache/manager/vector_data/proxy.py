"""A vector store before another one: what watches all of its methods builds on it."""

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from modelcache.manager.vector_data.base import VectorHit, VectorStore
from modelcache.records.vectors import Embeddings, Ids

P = ParamSpec("P")
T = TypeVar("T")


class VectorStoreProxy(VectorStore):
    """Hands every call on to the store behind it; what the methods promise is what that store does.

    Each method of the contract is written out, so that the type checker sees them all, and a test fails
    until a new one is here too. ``open`` and ``close`` do not pass ``through``: they are the operator's
    doing, and happen whatever the store's state. Neither does ``save``, which asks nothing of a server:
    that it succeeds does not mean that the server is back; nor do the checks, which ask nothing of anybody.
    """

    def __init__(self, proxied: VectorStore) -> None:
        self.proxied = proxied

    @property
    def dimension(self) -> int:  # type: ignore[override]
        return self.proxied.dimension

    @property
    def remote(self) -> bool:  # type: ignore[override]
        return self.proxied.remote

    @property
    def exclusive(self) -> bool:  # type: ignore[override]
        return self.proxied.exclusive

    def through(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what every call passes through; here nothing but the call."""
        return method(*args, **kwargs)

    def open(self) -> None:
        self.proxied.open()

    def close(self) -> None:
        self.proxied.close()

    def ping(self) -> None:
        self.through(self.proxied.ping)

    def create(self, collection: str) -> bool:
        return self.through(self.proxied.create, collection)

    def add(
        self,
        collection: str,
        ids: Sequence[int],
        partitions: Sequence[str],
        embeddings: Embeddings,
        fresh: bool = False,
    ) -> None:
        self.through(self.proxied.add, collection, ids, partitions, embeddings, fresh)

    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        return self.through(self.proxied.search, collection, partition, embedding, k)

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        self.through(self.proxied.delete, collection, ids)

    def truncate(self, collection: str) -> None:
        self.through(self.proxied.truncate, collection)

    def ids(self, collection: str) -> Ids:
        return self.through(self.proxied.ids, collection)

    def save(self) -> None:
        self.proxied.save()

    def compact(self, collection: str) -> None:
        self.through(self.proxied.compact, collection)

    def check_added(self, ids: Sequence[int], partitions: Sequence[str], embeddings: Embeddings) -> None:
        self.proxied.check_added(ids, partitions, embeddings)

    def check_searched(self, embedding: Embeddings) -> None:
        self.proxied.check_searched(embedding)
