"""What the cache replies, typed, and what can go wrong.

CacheError
├── CacheUnreachableError   no reply, or one that is none; another try may help
└── RefusedError            the cache says what is wrong: ``code`` and ``description``
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class CacheError(Exception):
    """The root of the tree."""


class CacheUnreachableError(CacheError):
    """The cache gave no reply, or is starting or stopping."""


class RefusedError(CacheError):
    """The cache refused a request, or failed at it."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found."""

    hit: bool
    text: str = ""
    """The stored answer; "" for a miss."""
    entry_id: int | None = None
    hit_type: str = ""
    """`exact` or `semantic`; "" for a miss."""
    hit_query: str = ""
    similarity: float | None = None
    confidence: float | None = None
    veto: str = ""
    """The rule that refused the nearest entry."""
    asked_at: float | None = None
    """When the look-up began, of a miss: for the insert that follows."""
    error: str = ""
    """Why the cache could not be asked, of a client that fails open."""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the entry was stored with."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """The ids of new entries, in order; none where the cache could not be asked."""

    ids: tuple[int, ...] = ()
    error: str = ""


def checked(reply: Any) -> Mapping[str, Any]:
    """Return a reply's body; RefusedError for an error, CacheUnreachableError for no body of this service."""
    if not isinstance(reply, Mapping) or not isinstance(reply.get("errorCode"), int):
        raise CacheUnreachableError("this is no reply of the cache")
    if reply["errorCode"] == 503:
        raise CacheUnreachableError(str(reply.get("errorDesc", "")))
    if reply["errorCode"] != 0:
        raise RefusedError(reply["errorCode"], str(reply.get("errorDesc", "")))
    return reply


def answer_of(reply: Mapping[str, Any]) -> Answer:
    """Read the reply to a query."""
    return Answer(
        hit=reply["cacheHit"],
        text=reply["answer"],
        entry_id=reply["hit_id"],
        hit_type=reply["hit_type"],
        hit_query=reply["hit_query"],
        similarity=reply["similarity"],
        confidence=reply["confidence"],
        veto=reply["veto"],
        asked_at=reply.get("asked_at"),
        metadata=reply.get("metadata") or {},
    )


def inserted_of(reply: Mapping[str, Any]) -> Inserted:
    """Read the reply to an insert."""
    return Inserted(tuple(reply["ids"]))


def removed_of(reply: Mapping[str, Any]) -> int:
    """Return how many entries a removal was of."""
    return int(str(reply["response"]["ScalarDB"]).rpartition(" ")[2])


def created_of(reply: Mapping[str, Any]) -> bool:
    """Tell whether ``register`` made something new."""
    return bool(reply["response"] == "create_success")


def status_of(reply: Mapping[str, Any]) -> str:
    """Return what became of a feedback."""
    return str(reply["response"]["status"])
