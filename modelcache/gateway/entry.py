"""A completion as an entry keeps it: its text is the answer, everything else is the envelope beside it."""

from dataclasses import dataclass
from typing import Any

import orjson

from modelcache.gateway.completion import Completion
from modelcache.gateway.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Kept:
    """What an entry holds."""

    completion: Completion
    kept_at: float | None
    """Seconds since the epoch; None of entries that came by another way."""


def wrap(dialect: Dialect, completion: Completion, tenant: str, model: str, now: float) -> tuple[str, str]:
    """Return text and envelope. Raises NotKeptError."""
    text = dialect.text_of(completion)
    rest = dialect.without_text(completion)
    return text, orjson.dumps({"kept_at": now, "tenant": tenant, "model": model, "completion": rest}).decode()


def unwrap(dialect: Dialect, envelope: str, text: str, model: str) -> Kept:
    """Return what was kept, whole again. Raises what ``owner_of`` does."""
    if not envelope:
        return Kept(dialect.bare(text, model), None)
    read: Any = orjson.loads(envelope)
    return Kept(dialect.with_text(read["completion"], text), read["kept_at"])


def owner_of(envelope: str) -> tuple[str, str]:
    """Return the tenant, and the model as requests name it.

    Raises ValueError, KeyError or TypeError for an envelope that nobody here wrote.
    """
    read: Any = orjson.loads(envelope)
    return read["tenant"], read["model"]
