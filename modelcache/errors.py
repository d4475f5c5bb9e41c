"""Everything that can go wrong, as one tree.

ModelCacheError
├── ConfigError            the service refuses to start; the message is for its operator
├── RequestError           the client's mistake; the message names the field
│   ├── UnauthorizedError  401, ForbiddenError 403, TooManyError 429, as the HTTP status
│   ├── BodyError          101
│   ├── RequestTypeError   102
│   ├── FieldError         103
│   ├── BlacklistError     105 query, 305 insert
│   ├── OutdatedError      304 insert
│   └── RemoveTypeError    401
├── EmbeddingError         201 query, 301 insert, 601 feedback
│   └── RefusedTextsError  a text is at fault, not the embedder
├── StoreError             201 query, 302 insert, 402 remove, 502 register, 602 feedback
│   ├── ScalarStoreError
│   │   └── RefusedDataError   the data are at fault, not the store
│   └── VectorStoreError
└── UnavailableError       503, while starting or draining

Each class carries its ``errorCode`` for each type of request. The text of a StoreError or an
EmbeddingError is for the log; a client gets ``public``, which says no host, path or statement.
"""

from collections.abc import Mapping
from typing import ClassVar

UNEXPECTED_CODES: Mapping[str, int] = {
    "query": 202,
    "insert": 303,
    "remove": 402,
    "register": 502,
    "feedback": 603,
}
UNEXPECTED_DESC = "unexpected error; the service's log has the details"


class ModelCacheError(Exception):
    """The root of the tree."""

    codes: ClassVar[Mapping[str, int]] = UNEXPECTED_CODES
    http_status: ClassVar[int] = 200

    def code(self, request_type: str) -> int:
        """Return the ``errorCode`` that a request of this type replies with."""
        return self.codes.get(request_type, UNEXPECTED_CODES[request_type])

    @property
    def public(self) -> str:
        """What a client may read."""
        return str(self)

    @property
    def headers(self) -> Mapping[str, str]:
        """What the HTTP reply says beside it."""
        return {}


class ConfigError(ModelCacheError):
    """A setting, a weights file or a data folder that the service cannot start with."""

    public = UNEXPECTED_DESC


class RequestError(ModelCacheError):
    """A request that is refused before anything was read or written."""


class UnauthorizedError(RequestError):
    """No key, or none that is valid."""

    codes = dict.fromkeys(UNEXPECTED_CODES, 401)
    http_status = 401
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class ForbiddenError(RequestError):
    """A key that may not do this."""

    codes = dict.fromkeys(UNEXPECTED_CODES, 403)
    http_status = 403


class TooManyError(RequestError):
    """A key that has asked too much in this minute."""

    codes = dict.fromkeys(UNEXPECTED_CODES, 429)
    http_status = 429

    def __init__(self, message: str, retry_after: str) -> None:
        super().__init__(message)
        self._retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": self._retry_after}


class BodyError(RequestError):
    codes = dict.fromkeys(UNEXPECTED_CODES, 101)


class RequestTypeError(RequestError):
    codes = dict.fromkeys(UNEXPECTED_CODES, 102)


class FieldError(RequestError):
    codes = dict.fromkeys(UNEXPECTED_CODES, 103)


class BlacklistError(RequestError):
    codes: ClassVar[Mapping[str, int]] = {"query": 105, "insert": 305}


class OutdatedError(RequestError):
    """An answer whose look-up began before something of it was removed."""

    codes: ClassVar[Mapping[str, int]] = {"insert": 304}


class RemoveTypeError(RequestError):
    codes: ClassVar[Mapping[str, int]] = {"remove": 401}


class EmbeddingError(ModelCacheError):
    """The embedder failed or did not answer in time."""

    codes: ClassVar[Mapping[str, int]] = {"query": 201, "insert": 301, "feedback": 601}
    public = "the embedder failed"


class RefusedTextsError(EmbeddingError):
    """The embedder works, and does not take one of these texts, or not so many at once."""

    public = "the embedder does not take this text"


class StoreError(ModelCacheError):
    """A store failed; what the driver said is its ``__cause__``."""

    codes: ClassVar[Mapping[str, int]] = {
        "query": 201,
        "insert": 302,
        "remove": 402,
        "register": 502,
        "feedback": 602,
    }


class ScalarStoreError(StoreError):
    public = "the scalar store failed"


class RefusedDataError(ScalarStoreError):
    """The store works, and does not take this: it is too large, or no value of its kind."""

    public = "the scalar store does not take this: it is too large, or holds a value that cannot be stored"


class VectorStoreError(StoreError):
    public = "the vector store failed"


class UnavailableError(ModelCacheError):
    codes = dict.fromkeys(UNEXPECTED_CODES, 503)
    http_status = 503
