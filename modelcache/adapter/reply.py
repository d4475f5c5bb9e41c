"""Every body that the service replies with."""

import json
from typing import Any

from modelcache.records.found import Found

Reply = dict[str, Any]

EXACT = "exact"
SEMANTIC = "semantic"


def queried(found: Found, served: bool, seconds: float, asked_at: float) -> Reply:
    """A query: a hit if what was found is served, otherwise a miss, with the likeness of what was found.

    With a miss comes when the look-up began, for the insert that follows it.
    """
    told = {"veto": found.veto, **found.likeness._asdict()}
    entry = found.entry
    if entry is None or not served:
        return _query(seconds, **told, asked_at=asked_at)
    return _query(
        seconds,
        cacheHit=True,
        hit_query=entry.question,
        answer=entry.answer,
        hit_id=entry.id,
        hit_type=EXACT if found.exact else SEMANTIC,
        **({} if entry.metadata is None else {"metadata": json.loads(entry.metadata)}),
        **told,
    )


def inserted(ids: list[int]) -> Reply:
    return {"errorCode": 0, "errorDesc": "", "writeStatus": "success", "ids": ids}


def removed(vectors: str, count: int, *, dry_run: bool = False) -> Reply:
    response: Reply = {"status": "success", "VectorDB": vectors, "ScalarDB": f"delete_count: {count}"}
    if dry_run:
        response["dry_run"] = True
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
        "asked_at": None,
    }
    return blank | values
