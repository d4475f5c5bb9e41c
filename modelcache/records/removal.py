"""What entries are removed by, as hashes within their model; and what a removal holds back."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from modelcache.hashing import digest
from modelcache.records.entry import NewAnswer


@dataclass(frozen=True, slots=True)
class Unremoved:
    """What must not have been removed since a look-up began, for its answer to be kept."""

    keys: tuple[str, ...]
    since: float
    """When the look-up began (epoch seconds)."""

    @classmethod
    def of(cls, answers: Iterable[NewAnswer], since: float) -> "Unremoved":
        """Return all that answers may be removed by."""
        return cls(tuple(sorted({key for new in answers for key in keys_of(new)})), since)


def keys_of(new: NewAnswer) -> list[str]:
    """Return all that an answer may be removed by, its model included."""
    return [
        of_model_key(new.model_key),
        *(tag_key(new.model_key, tag) for tag in new.tags),
        *(source_key(new.model_key, source) for source in new.sources),
        *(scope_key(new.model_key, name, value) for name, value in new.scope.items()),
        *new.scope_keys,
    ]


def of_model_key(model_key: str) -> str:
    """Hash what stands for any entry of a model."""
    return digest("model", model_key)


def tag_key(model_key: str, tag: str) -> str:
    """Hash a tag within its model, so that equality does not depend on a collation."""
    return digest("tag", model_key, tag)


def source_key(model_key: str, source: str) -> str:
    """Hash what an answer was made from, within its model."""
    return digest("source", model_key, source)


def scope_key(model_key: str, name: str, value: Any) -> str:
    """Hash a key of a scope with its value, in a way that no tag does."""
    return digest("scope", model_key, name, value)
