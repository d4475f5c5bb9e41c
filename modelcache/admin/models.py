"""How each model is served, and how many entries it has."""

from typing import Any

from modelcache.access.gate import ADMIN, Caller
from modelcache.admin.entries import Reply
from modelcache.core import Cache
from modelcache.errors import StoreError
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.records.names import model_key
from modelcache.records.observation import ModelPolicy


def models(cache: Cache, caller: Caller) -> Reply:
    """Return the models with entries or settings of their own, those alone that the caller may see."""
    scalars = cache.data_manager.scalars
    policies = {one.model_key: one for one in scalars.policies()}
    names = {model_key(name): name for name in scalars.models()}
    names |= {key: one.model for key, one in policies.items()}
    seen = sorted((name, key) for key, name in names.items() if caller.may(ADMIN, name))
    return 200, {"models": [_shown(cache, name, key, policies.get(key)) for name, key in seen]}


def _shown(cache: Cache, name: str, key: str, own: ModelPolicy | None) -> dict[str, Any]:
    settings = cache.settings
    own = own or ModelPolicy(key, name)
    return {
        "model": name,
        "mode": own.mode or settings.mode,
        "error_rate": own.error_rate or settings.error_rate,
        "ttl": settings.default_ttl if own.ttl is None else own.ttl or None,
        "max_size": (settings.max_size if own.max_size is None else own.max_size) or None,
        "entries": _counted(cache.data_manager.scalars, key),
    }


def _counted(scalars: ScalarStore, key: str) -> int | None:
    """Return how many entries a model has; None where there are too many to be counted in time."""
    try:
        return scalars.count(key)
    except StoreError:
        return None
