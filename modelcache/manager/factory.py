"""Stores by name."""

from typing import Any

from modelcache.backends import EVICTION_BOOKS, SCALAR_STORES, VECTOR_STORES
from modelcache.errors import ScalarStoreError, StoreError, VectorStoreError
from modelcache.events import Events
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.eviction.base import EvictionBook
from modelcache.manager.eviction.eviction_manager import EvictionManager
from modelcache.manager.eviction.limits import SizeLimits
from modelcache.manager.eviction.memory_cache import MemoryBook
from modelcache.manager.eviction.rows_book import RowsBook
from modelcache.manager.eviction.sweep import SweepLimits
from modelcache.manager.guard import Guard, GuardedBook, GuardedScalars, GuardedVectors
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.scalar_data.remembered import RememberingScalars
from modelcache.manager.vector_data.base import VectorStore
from modelcache.settings import MEGABYTE, Settings, make_settings


def get_scalar_store(settings: Settings, alone: bool = False) -> ScalarStore:
    """Build the scalar store that the settings name; nothing is opened.

    ``alone``: the vectors are of one process only, so the rows of a local store may be too.
    """
    store = SCALAR_STORES.load(settings.scalar_store).from_settings(settings)
    if store.remote:
        return GuardedScalars(store, _guard(ScalarStoreError, settings))
    store.exclusive = alone
    if alone and settings.exact_memory_mb:
        return RememberingScalars(store, settings.exact_memory_mb * MEGABYTE)
    return store


def get_vector_store(settings: Settings, dimension: int) -> VectorStore:
    """Build the vector store that the settings name, for vectors of this dimension; nothing is opened."""
    store = VECTOR_STORES.load(settings.vector_store).from_settings(settings, dimension)
    return GuardedVectors(store, _guard(VectorStoreError, settings)) if store.remote else store


def get_eviction_manager(
    settings: Settings, scalars: ScalarStore, events: Events | None = None
) -> EvictionManager:
    """Build what keeps models under their size: a limit may be set for any of them at any time."""
    limits = SizeLimits(settings.max_size)
    book: EvictionBook
    fallback = None
    if settings.eviction_book == "rows":
        book = RowsBook(scalars, settings.eviction_policy)
    elif settings.eviction_book == "redis":
        book = EVICTION_BOOKS.load("redis").from_settings(settings, scalars)
        book = GuardedBook(book, _guard(StoreError, settings))
        fallback = RowsBook(scalars, settings.eviction_policy)
    else:
        book = MemoryBook(scalars, settings.eviction_policy, limits)
    return EvictionManager(
        scalars,
        book,
        limits,
        settings.clean_size,
        fallback=fallback,
        limit=settings.store_timeout,
        events=events,
    )


def CacheBase(name: str, **settings: Any) -> ScalarStore:  # noqa: N802 - the name that ModelCache gave it
    """Build a scalar store by name, such as ``CacheBase("mysql", mysql_host="db")``; nothing is opened."""
    return get_scalar_store(make_settings(settings | {"scalar_store": name}))


def VectorBase(name: str, dimension: int, **settings: Any) -> VectorStore:  # noqa: N802 - likewise
    """Build a vector store by name, such as ``VectorBase("milvus", dimension=768, milvus_uri=…)``."""
    return get_vector_store(make_settings(settings | {"vector_store": name}), dimension)


def get_data_manager(
    cache_base: ScalarStore, vector_base: VectorStore, embedder: str, **settings: Any
) -> SSDataManager:
    """Coordinate two stores for the vectors of one embedder, given by its name; nothing is opened."""
    return _coordinate(cache_base, vector_base, embedder, make_settings(settings))


def data_manager_of(
    settings: Settings, embedder: str, dimension: int, events: Events | None = None
) -> SSDataManager:
    """Build both stores that the settings name, and what coordinates them; nothing is opened."""
    vectors = get_vector_store(settings, dimension)
    scalars = get_scalar_store(settings, alone=vectors.exclusive)
    return _coordinate(scalars, vectors, embedder, settings, events)


def _guard(error: type[StoreError], settings: Settings) -> Guard:
    return Guard(error, settings.breaker_failures, settings.breaker_seconds, settings.store_timeout)


def _coordinate(
    scalars: ScalarStore,
    vectors: VectorStore,
    embedder: str,
    settings: Settings,
    events: Events | None = None,
) -> SSDataManager:
    return SSDataManager(
        scalars,
        vectors,
        embedder,
        get_eviction_manager(settings, scalars, events),
        SweepLimits(settings.sweep_rows, settings.sweep_share, settings.compact_every),
        events,
    )
