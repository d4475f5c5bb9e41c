"""What tests of the wire contract share: valid requests, and checks of replies."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from flask import Flask

from modelcache.app import get_service
from modelcache.errors import EmbeddingError, ModelCacheError, ScalarStoreError, VectorStoreError
from tests.support.client import CacheClient, Json, user

QUERY_KEYS = {
    "errorCode",
    "errorDesc",
    "cacheHit",
    "delta_time",
    "hit_query",
    "answer",
    "similarity",
    "confidence",
    "hit_id",
    "hit_type",
    "veto",
    "asked_at",
}
INSERT_KEYS = {"errorCode", "errorDesc", "writeStatus", "ids"}
REMOVE_KEYS = {"errorCode", "errorDesc", "response", "writeStatus"}
KEYS = {
    "query": QUERY_KEYS,
    "insert": INSERT_KEYS,
    "remove": REMOVE_KEYS,
    "register": REMOVE_KEYS,
    "feedback": REMOVE_KEYS,
}

TYPE_EXCEPTION = "type exception, should one of ['query', 'insert', 'remove', 'register']"
UNEXPECTED = {"query": 202, "insert": 303, "remove": 402, "register": 502, "feedback": 603}
NEVER_SWEPT = {"sweep_interval": 3600.0}
FAR_TTL = 3600

# What a driver might say, and what must not reach a client.
DRIVER_WORDS = "sqlite3.OperationalError: SELECT answer FROM t; /var/lib/modelcache.db at db7.internal:3306"
INTERNALS = (
    "sqlite",
    "select",
    "traceback",
    "internal:",
    "/",
    ".py",
    "error:",
    "127.0.0.1",
    "milvus",
    "mysql",
)

TOOL_CALLS = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
SURPRISE = ZeroDivisionError("x")

VALID: dict[str, Json] = {
    "query": {"type": "query", "scope": {"model": "m"}, "query": user("q")},
    "insert": {
        "type": "insert",
        "scope": {"model": "m"},
        "chat_info": [{"query": user("q"), "answer": "a"}],
    },
    "remove": {"type": "remove", "scope": {"model": "m"}, "remove_type": "delete_by_id", "id_list": [1]},
    "register": {"type": "register", "scope": {"model": "m"}},
    "feedback": {
        "type": "feedback",
        "scope": {"model": "m"},
        "query": user("q"),
        "hit_id": 1,
        "correct": True,
    },
}


def system(text: str) -> list[Json]:
    return [{"role": "system", "content": text}]


def assistant(text: str) -> list[Json]:
    return [{"role": "assistant", "content": text}]


def is_hit(reply: Json) -> bool:
    """Tell hit from miss; anything else fails."""
    assert reply["errorCode"] == 0, reply
    assert isinstance(reply["cacheHit"], bool)
    return reply["cacheHit"]


def assert_miss(reply: Json) -> None:
    assert not is_hit(reply)
    assert (reply["answer"], reply["hit_query"]) == ("", "")
    assert (reply["hit_id"], reply["hit_type"]) == (None, "")


def assert_error(reply: Json, code: int, request_type: str) -> None:
    """Check a failed request's whole body but the text of its description."""
    assert reply["errorCode"] == code, reply
    assert set(reply) == KEYS[request_type]
    assert isinstance(reply["errorDesc"], str)
    assert reply["errorDesc"]
    if request_type == "query":
        assert_blank_query(reply)
    else:
        assert reply["writeStatus"] == "exception"
        assert not reply.get("ids")


def assert_nothing_internal(text: str) -> None:
    for word in INTERNALS:
        assert word not in text.lower()


def assert_blank_query(reply: Json) -> None:
    assert reply["cacheHit"] is False
    assert reply["delta_time"] == 0
    assert not isinstance(reply["delta_time"], str)
    assert (reply["hit_query"], reply["answer"]) == ("", "")
    assert (reply["similarity"], reply["hit_id"]) == (None, None)
    assert (reply["hit_type"], reply["veto"]) == ("", "")


def select(app: Flask, statement: str, *values: Any) -> list[Any]:
    """Read the rows that the app has written, those of its background writer too."""
    service = get_service(app)
    assert service.cache.writer.flush()
    with closing(sqlite3.connect(service.settings.data_dir / "modelcache.db")) as connection:
        return connection.execute(statement, values).fetchall()


def live_rows(app: Flask) -> int:
    count: int = select(app, "SELECT COUNT(*) FROM modelcache_llm_answer WHERE is_deleted = 0")[0][0]
    return count


def client_of(app: Flask) -> CacheClient:
    return CacheClient(app.test_client())


def send(client: CacheClient, body: bytes | str, content_type: str | None = "application/json") -> Json:
    response = client.http.post("/modelcache", data=body, content_type=content_type)
    assert response.status_code == 200
    assert response.content_type == "application/json; charset=utf-8"
    reply: Json = response.get_json()
    return reply


def removed(reply: Json) -> tuple[str, int]:
    """Check a successful removal's shape; return what it says of the vectors, and the count."""
    assert set(reply) == REMOVE_KEYS
    assert (reply["errorCode"], reply["errorDesc"], reply["writeStatus"]) == (0, "", "success")
    response = reply["response"]
    assert set(response) == {"status", "VectorDB", "ScalarDB"}
    assert response["status"] == "success"
    return response["VectorDB"], int(response["ScalarDB"].removeprefix("delete_count: "))


def break_method(
    monkeypatch: pytest.MonkeyPatch, app: Flask, target: str, failure: Exception | None = None
) -> None:
    """Make a method such as ``scalars.add`` raise; by default, what that part raises when it fails."""
    cache = get_service(app).cache
    part, method = target.split(".")
    owner = {
        "scalars": cache.data_manager.scalars,
        "vectors": cache.data_manager.vectors,
        "embedder": cache.embedder,
    }[part]
    usual: dict[str, type[ModelCacheError]] = {
        "scalars": ScalarStoreError,
        "vectors": VectorStoreError,
        "embedder": EmbeddingError,
    }
    raised = failure or usual[part](DRIVER_WORDS)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise raised from RuntimeError(DRIVER_WORDS)

    assert callable(getattr(owner, method))
    monkeypatch.setattr(owner, method, broken)
