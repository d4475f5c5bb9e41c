"""Every body that the service replies with."""

from typing import Any, NamedTuple

from modelcache.manager.scalar_data.base import CachedAnswer

Reply = dict[str, Any]

EXACT = "exact"
SEMANTIC = "semantic"


class Likeness(NamedTuple):
    """How like the question an entry is: cosine, and the confidence that its answer may be reused.

    Both 0..1; None where nothing was compared.
    """

    similarity: float | None
    confidence: float | None


EQUAL = Likeness(1.0, 1.0)
NOTHING_COMPARED = Likeness(None, None)


def hit(
    entry: CachedAnswer, hit_type: str, seconds: float, likeness: Likeness = EQUAL, veto: str = ""
) -> Reply:
    """A query that the cache answers; ``veto`` is the rule that refused the nearest entry, if one did."""
    return _query(
        seconds,
        cacheHit=True,
        hit_query=entry.question,
        answer=entry.answer,
        hit_id=entry.id,
        hit_type=hit_type,
        veto=veto,
        **likeness._asdict(),
    )


def miss(likeness: Likeness, seconds: float, veto: str = "") -> Reply:
    """A query that it does not; ``likeness`` is the nearest entry's."""
    return _query(seconds, veto=veto, **likeness._asdict())


def inserted(ids: list[int]) -> Reply:
    return {"errorCode": 0, "errorDesc": "", "writeStatus": "success", "ids": ids}


def removed(vectors: str, count: int) -> Reply:
    response = {"status": "success", "VectorDB": vectors, "ScalarDB": f"delete_count: {count}"}
    return {"errorCode": 0, "errorDesc": "", "response": response, "writeStatus": "success"}


def registered(created: bool) -> Reply:
    response = "create_success" if created else "already_exists"
    return {"errorCode": 0, "errorDesc": "", "response": response, "writeStatus": "success"}


def learned(status: str) -> Reply:
    """A feedback that was taken: ``recorded``, ``retired``, or ``unknown`` where it is of no such entry."""
    return {"errorCode": 0, "errorDesc": "", "response": {"status": status}, "writeStatus": "success"}


def error(request_type: str, code: int, description: str) -> Reply:
    """The reply of a failed request, in the shape of its type."""
    if request_type == "query":
        return _query(None, errorCode=code, errorDesc=description)
    reply = {"errorCode": code, "errorDesc": description, "writeStatus": "exception"}
    if request_type == "insert":
        return reply | {"ids": []}
    return reply | {"response": ""}


def _query(seconds: float | None, **values: Any) -> Reply:
    blank = {
        "errorCode": 0,
        "errorDesc": "",
        "cacheHit": False,
        "delta_time": 0 if seconds is None else f"{seconds:.4f}s",
        "hit_query": "",
        "answer": "",
        "similarity": None,
        "confidence": None,
        "hit_id": None,
        "hit_type": "",
        "veto": "",
    }
    return blank | values
