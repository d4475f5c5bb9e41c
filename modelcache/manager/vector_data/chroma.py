"""Vectors in Chroma: in this process, in a folder, or on a server over HTTP.

A collection's index is one HNSW graph; the partition is metadata, by which every search is filtered.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx
import numpy as np
from chromadb.api import ServerAPI
from chromadb.api.collection_configuration import CreateHNSWConfiguration
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings as ChromaSettings
from chromadb.config import System
from chromadb.errors import ChromaError, NotFoundError, error_types

from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.folder_lock import FolderLock
from modelcache.manager.vector_data.base import VectorHit, VectorStore
from modelcache.records.vectors import Embeddings, Ids
from modelcache.settings import Settings

T = TypeVar("T")
FOLDER_NAME = "chroma"
# The filter takes far longer than the graph, so looking at many candidates costs little.
HNSW: CreateHNSWConfiguration = {
    "space": "cosine",
    "ef_construction": 200,
    "ef_search": 400,
    "max_neighbors": 16,
}
ID_PAGE = 10_000
# Far below what a server takes, so that one call stays within the time limit.
BATCH = 500
# While a collection is being replaced or first written, Chroma fails what meets it, for milliseconds.
ATTEMPTS = 10
PAUSE = 0.01
UNREADABLE = ("Nothing found on disk", "Missing metadata segment", "Error finding id")
ABSENT = "does not exist"
ALREADY_EXISTS = "already exists"


class ChromaStore(VectorStore):
    """Chroma on a server that any number of processes share or, without a URL, in a locked folder."""

    def __init__(self, folder: Path, dimension: int, *, url: str = "", timeout: float = 2.0) -> None:
        """``timeout`` limits calls to a server; in process a call takes what it takes."""
        self.dimension = dimension
        self.remote = bool(url)
        self.exclusive = not url
        self._folder = folder
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._folder_lock = FolderLock(folder)
        self._system: System | None = None
        self._handles: dict[str, Collection] = {}

    @classmethod
    def from_settings(cls, settings: Settings, dimension: int) -> "ChromaStore":
        folder = settings.data_dir / FOLDER_NAME
        return cls(folder, dimension, url=settings.chroma_url, timeout=settings.store_timeout)

    def open(self) -> None:
        if self._url:
            self._open_server()
        else:
            self._folder_lock.take()
            try:
                self._open_folder()
            finally:
                if self._system is None:
                    self._folder_lock.release()

    def close(self) -> None:
        if self._system is None:
            return
        system, self._system = self._system, None
        self._handles.clear()
        if self._url:
            # The system's own stop leaves its connections to the garbage collector.
            _session(system).close()
        system.stop()
        self._folder_lock.release()

    def ping(self) -> None:
        with self._connected() as client:
            client.heartbeat()

    def create(self, collection: str) -> bool:
        with self._connected() as client:
            try:
                client.create_collection(collection, configuration={"hnsw": HNSW})
            except ChromaError as exc:
                if not _says(exc, ALREADY_EXISTS):
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
        with self._connected() as client:
            size = min(BATCH, client.get_max_batch_size())
        for start in range(0, len(ids), size):
            rows = slice(start, start + size)
            self._add_batch(collection, ids[rows], partitions[rows], embeddings[rows])

    def search(self, collection: str, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        self.check_searched(embedding)

        nothing: list[VectorHit] = []

        def query(handle: Collection) -> list[VectorHit]:
            found = handle.query(
                query_embeddings=cast(Any, [embedding]),
                n_results=k,
                where={"partition": partition},
                include=["distances"],
            )
            assert found["distances"] is not None
            pairs = zip(found["ids"][0], found["distances"][0], strict=True)
            return [VectorHit(int(id_), 1.0 - distance) for id_, distance in pairs]

        return sorted(self._run(collection, query, nothing), key=lambda hit: -hit.similarity)

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        with self._connected() as client:
            size = min(BATCH, client.get_max_batch_size())

        def remove(handle: Collection) -> None:
            for start in range(0, len(ids), size):
                handle.delete(ids=_names(ids[start : start + size]))

        self._run(collection, remove, None)

    def truncate(self, collection: str) -> None:
        # Deleting the ids would leave their nodes in the graph, which makes it slow and lose neighbours.
        with self._connected() as client:
            try:
                client.delete_collection(collection)
            except ChromaError as exc:
                if not _says(exc, ABSENT):
                    raise
                return
        self.create(collection)

    def ids(self, collection: str) -> Ids:
        nothing: list[str] = []

        def read(handle: Collection) -> list[str]:
            found = page = handle.get(limit=ID_PAGE, include=[])["ids"]
            while len(page) == ID_PAGE:
                page = handle.get(limit=ID_PAGE, offset=len(found), include=[])["ids"]
                found = found + page
            return found

        found = set(self._run(collection, read, nothing))
        return np.fromiter(map(int, found), np.int64, len(found))

    def save(self) -> None:
        """Nothing to do: Chroma writes what it is told at once."""

    def _open_folder(self) -> None:
        system = System(_settings(is_persistent=True, persist_directory=str(self._folder)))
        try:
            system.start()
            _api(system).count_collections()
        except (ChromaError, ValueError) as exc:
            raise ConfigError(
                f"Chroma cannot use the folder {self._folder} ({_one_line(exc)}): "
                "remove it, and its vectors are read from the rows"
            ) from exc
        self._system = system

    def _open_server(self) -> None:
        """Build by hand what HttpClient builds with no time limit, and never closes."""
        _check_url(self._url)
        api = "chromadb.api.fastapi.FastAPI"
        # With a whole URL as the host, the port is not used.
        system = System(
            _settings(chroma_api_impl=api, chroma_server_host=self._url, chroma_server_http_port=0)
        )
        session = _session(system)
        session.timeout = httpx.Timeout(self._timeout)
        session.event_hooks = {"response": [_raise_unknown_error]}
        try:
            system.start()
            _api(system).count_collections()
        except (ChromaError, httpx.HTTPError, ValueError) as exc:
            session.close()
            raise ConfigError(
                f"Chroma at {self._url} cannot be used ({_one_line(exc)}): check chroma_url"
            ) from exc
        self._system = system

    @contextmanager
    def _connected(self) -> Iterator[ServerAPI]:
        """Lend the client; what it raises becomes a VectorStoreError."""
        system = self._system
        if system is None:
            raise VectorStoreError("the Chroma store is not open")
        try:
            yield _api(system)
        except (ChromaError, httpx.HTTPError, ValueError) as exc:
            raise VectorStoreError(f"Chroma: {exc}") from exc

    def _run(self, collection: str, operation: Callable[[Collection], T], absent: T) -> T:
        """Run an operation on the collection; ``absent`` if there is none."""
        with self._connected() as client:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    handle = self._handles.get(collection) or self._find(client, collection)
                    return operation(handle)
                except ChromaError as exc:
                    # A handle names one incarnation: after a truncate, the name has another.
                    was_known = self._handles.pop(collection, None)
                    if isinstance(exc, NotFoundError) and not was_known:
                        return absent
                    if not _says(exc, ABSENT, *UNREADABLE) or attempt == ATTEMPTS:
                        raise
                sleep(attempt * PAUSE)
        raise AssertionError("the last attempt returns or raises")

    def _find(self, client: ServerAPI, collection: str) -> Collection:
        # Without its embedding function: vectors are only ever made by the embedder.
        handle = Collection(client, client.get_collection(collection), embedding_function=None)
        self._handles[collection] = handle
        return handle

    def _add_batch(
        self, collection: str, ids: Sequence[int], partitions: Sequence[str], embeddings: Embeddings
    ) -> None:
        def add(handle: Collection) -> bool:
            handle.add(
                ids=_names(ids),
                embeddings=embeddings,
                metadatas=[{"partition": partition} for partition in partitions],
            )
            return True

        for _ in range(ATTEMPTS):
            if self._run(collection, add, False):
                return
            self.create(collection)
        raise VectorStoreError(f"collection {collection} is removed again and again")


def _settings(**values: Any) -> ChromaSettings:
    # No file of the working directory is read: what configures the service is its own settings.
    return ChromaSettings(anonymized_telemetry=False, _env_file=None, **values)


def _api(system: System) -> ServerAPI:
    api: ServerAPI = system.instance(cast(Any, ServerAPI))
    return api


def _session(system: System) -> httpx.Client:
    """Return the connections of a system that speaks to a server, of which its client says nothing."""
    session: httpx.Client = cast(Any, _api(system))._session
    return session


def _check_url(url: str) -> None:
    """ConfigError if the URL is none, or holds a secret, which messages would tell."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as exc:
        raise ConfigError("chroma_url is not an address") from exc
    if not is_address:
        raise ConfigError("chroma_url must start with http:// or https:// and name a host")
    if parts.password is not None:
        raise ConfigError("chroma_url holds a password, which would be logged")


def _raise_unknown_error(response: httpx.Response) -> None:
    """Raise HTTPStatusError for an error Chroma's client does not know, and would raise as Exception."""
    if response.is_error:
        response.read()
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or body.get("error") not in error_types:
            response.raise_for_status()


def _names(ids: Sequence[int]) -> list[str]:
    return [str(id_) for id_ in ids]


def _says(exc: ChromaError, *texts: str) -> bool:
    """Whether Chroma means one of these errors: their classes differ in process and over HTTP."""
    return any(text in str(exc) for text in texts)


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())
