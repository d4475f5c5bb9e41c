"""Names of collections and keys of models, made from names that users choose."""

import re
from functools import lru_cache

from modelcache.hashing import digest

PREFIX = "modelcache"
SLUG_CHARS = 32
# Every request asks for them; anybody may name any number of models.
KEPT_NAMES = 4096


@lru_cache(maxsize=KEPT_NAMES)
def collection_name(model: str, embedder: str) -> str:
    """Name the collection of a model's vectors: a readable slug, made unique by a hash.

    Letters, digits and underscores, under 100 characters: valid in every vector store.
    """
    slug = re.sub(r"[^a-z0-9]+", "_", model.lower())[:SLUG_CHARS].strip("_") or "model"
    return f"{PREFIX}_{slug}_{digest('collection', model, embedder)}"
