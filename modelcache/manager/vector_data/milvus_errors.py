"""What Milvus and its driver answer when they do not do what they were asked."""

import re

import grpc
from pymilvus.exceptions import MilvusException

# Answers about a collection that somebody drops, creates or loads at this moment: absent, not
# loaded, not fully loaded, the same three of a partition, and without its index yet.
PASSING_CODES = frozenset({100, 101, 103, 200, 201, 202, 700})
# Some come without a code of their own, when the collection is dropped in the middle of the call.
UNKNOWN_CODE = 65535
PASSING_TEXTS = ("collection not found", "collection not loaded", "partition not found")
DRIVER_ERRORS = (MilvusException, grpc.RpcError, grpc.FutureTimeoutError, grpc.FutureCancelledError)


def is_passing(exc: MilvusException) -> bool:
    """Tell an answer that may be another in a moment."""
    return exc.code in PASSING_CODES or (exc.code == UNKNOWN_CODE and exc.message.startswith(PASSING_TEXTS))


def give_up(error: Exception) -> bool:
    """Have pymilvus raise a transport error at once; what a server answers is not tried again."""
    if isinstance(error, grpc.RpcError):
        raise error
    return False


def without_secret(text: str) -> str:
    """Leave out the user and the password of an address."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def reason(exc: Exception) -> str:
    """Say in one line what the driver said."""
    if isinstance(exc, MilvusException):
        text = f"{exc.message} (code {exc.code})"
    elif isinstance(exc, grpc.Call):
        text = f"{exc.code().name}: {exc.details()}"
    else:
        text = str(exc) or type(exc).__name__
    return " ".join(text.split())
