"""The key of a model, made from a name that users choose."""

from functools import lru_cache

from modelcache.hashing import digest

# Every request asks for them; anybody may name any number of models.
KEPT_NAMES = 4096


@lru_cache(maxsize=KEPT_NAMES)
def model_key(model: str) -> str:
    """Hash a model's full name: the key that rows are found by."""
    return digest("model", model)
