"""Stores by name."""

from typing import TYPE_CHECKING

from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.vector_data.base import VectorStore
from modelcache.registry import Registry

if TYPE_CHECKING:
    from modelcache.settings import Settings

SCALAR_STORES = Registry("scalar store", {"sqlite": "modelcache.manager.scalar_data.sqlite:SqliteStorage"})
VECTOR_STORES = Registry(
    "vector store",
    {
        "faiss": "modelcache.manager.vector_data.faiss:FaissStore",
        "milvus": "modelcache.manager.vector_data.milvus:MilvusStore",
    },
)


def get_scalar_store(settings: "Settings") -> ScalarStore:
    """Build the scalar store that the settings name; nothing is opened."""
    store: ScalarStore = SCALAR_STORES.load(settings.scalar_store).from_settings(settings)
    return store


def get_vector_store(settings: "Settings", dimension: int) -> VectorStore:
    """Build the vector store that the settings name, for vectors of this dimension; nothing is opened."""
    store: VectorStore = VECTOR_STORES.load(settings.vector_store).from_settings(settings, dimension)
    return store


def get_data_manager(settings: "Settings", embedder: str, dimension: int) -> SSDataManager:
    """Build both stores and what coordinates them; nothing is opened."""
    return SSDataManager(get_scalar_store(settings), get_vector_store(settings, dimension), embedder)
