"""What a client sees when a part of the service fails."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask

from modelcache import errors
from modelcache.app import get_service
from modelcache.errors import ModelCacheError
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import Json
from tests.support.wire import (
    DRIVER_WORDS,
    SURPRISE,
    UNEXPECTED,
    VALID,
    assert_error,
    assert_miss,
    assert_nothing_internal,
    break_method,
    client_of,
    live_rows,
    removed,
)

# When something breaks.


FAULTS: list[tuple[str, str, int, str]] = [
    ("query", "scalars.find_exact", 201, "scalar store"),
    ("query", "scalars.get_live", 201, "scalar store"),
    ("query", "vectors.search", 201, "vector store"),
    ("query", "embedder.embed", 201, "embedder"),
    ("insert", "embedder.embed", 301, "embedder"),
    ("insert", "scalars.insert_live", 302, "scalar store"),
    ("insert", "vectors.add", 302, "vector store"),
    ("remove", "scalars.delete", 402, "scalar store"),
    ("register", "vectors.create", 502, "vector store"),
    ("feedback", "scalars.get_live", 602, "scalar store"),
    ("feedback", "scalars.observe", 602, "scalar store"),
    ("feedback", "embedder.embed", 601, "embedder"),
]


@pytest.mark.parametrize(("request_type", "target", "code", "named"), FAULTS)
def test_failure_of_a_part_is_told_without_internals(
    filled: Flask, monkeypatch: pytest.MonkeyPatch, request_type: str, target: str, code: int, named: str
) -> None:
    break_method(monkeypatch, filled, target)
    response = filled.test_client().post("/modelcache", json=VALID[request_type])
    assert response.status_code == 200
    assert_error(response.get_json(), code, request_type)
    assert named in response.get_json()["errorDesc"]
    assert_nothing_internal(response.text)


@pytest.mark.parametrize(("request_type", "target", "_code", "_named"), FAULTS)
def test_unexpected_exception_is_told_without_internals(
    filled: Flask, monkeypatch: pytest.MonkeyPatch, request_type: str, target: str, _code: int, _named: str
) -> None:
    break_method(monkeypatch, filled, target, failure=ZeroDivisionError(DRIVER_WORDS))
    response = filled.test_client().post("/modelcache", json=VALID[request_type])
    assert response.status_code == 200
    assert_error(response.get_json(), UNEXPECTED[request_type], request_type)
    assert_nothing_internal(response.text)


@pytest.mark.parametrize(("request_type", "target", "_code", "_named"), FAULTS)
def test_service_recovers_and_a_failed_request_changed_nothing(
    filled: Flask, request_type: str, target: str, _code: int, _named: str
) -> None:
    client = client_of(filled)
    with pytest.MonkeyPatch.context() as monkeypatch:
        break_method(monkeypatch, filled, target)
        assert client.post(VALID[request_type])["errorCode"] != 0
    assert live_rows(filled) == 2
    assert client.query("kept")["answer"] == "b"
    assert client.query("q")["answer"] == "near"
    assert client.post(VALID[request_type])["errorCode"] == 0


@pytest.mark.parametrize("target", ["vectors.add", "scalars.insert_live"])
def test_failed_insert_leaves_the_old_answer(filled: Flask, target: str) -> None:
    client = client_of(filled)
    with pytest.MonkeyPatch.context() as monkeypatch:
        break_method(monkeypatch, filled, target)
        assert_error(client.insert(("kept", "new"), ("more", "c")), 302, "insert")
    assert client.query("kept")["answer"] == "b"
    assert_miss(client.query("more"))


@pytest.mark.parametrize(
    ("remove_type", "method"), [("truncate_by_model", "truncate"), ("delete_by_tag", "delete_tagged")]
)
def test_failed_removal_of_any_kind_is_402(
    filled: Flask, monkeypatch: pytest.MonkeyPatch, remove_type: str, method: str
) -> None:
    break_method(monkeypatch, filled, f"scalars.{method}")
    client = client_of(filled)
    reply = client.remove(remove_type, tags=["x"])
    assert_error(reply, 402, "remove")
    assert_nothing_internal(json.dumps(reply))
    assert client.query("kept")["answer"] == "b"


def test_truncated_entries_stay_gone_though_the_vectors_could_not_be_removed(filled: Flask) -> None:
    client = client_of(filled)
    with pytest.MonkeyPatch.context() as monkeypatch:
        break_method(monkeypatch, filled, "vectors.truncate")
        assert removed(client.remove("truncate_by_model")) == ("rebuild", 2)
    assert_miss(client.query("q", threshold=0))
    assert client.insert(("q", "again"))["errorCode"] == 0
    assert client.query("q" + NEAR)["answer"] == "again"


def test_equal_question_is_answered_without_embedder_and_vectors(
    filled: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_method(monkeypatch, filled, "embedder.embed")
    break_method(monkeypatch, filled, "vectors.search")
    assert client_of(filled).query("kept")["answer"] == "b"


@pytest.mark.parametrize("method", ["record_hits", "write_log"])
def test_query_is_answered_though_its_record_cannot_be_written(
    filled: Flask, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    break_method(monkeypatch, filled, f"scalars.{method}")
    client = client_of(filled)
    for _ in range(2):
        assert client.query("kept")["answer"] == "b"
        assert get_service(filled).cache.writer.flush()


@pytest.mark.parametrize("target", ["scalars.ping", "vectors.ping", "embedder.embed"])
def test_service_whose_parts_fail_is_not_ready_and_says_no_internals(
    app: Flask, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    break_method(monkeypatch, app, target)
    response = app.test_client().get("/ready")
    assert response.status_code == 503
    assert_nothing_internal(response.text)
    assert app.test_client().get("/health").status_code == 200


# The shape of an error, for every code there is.


@dataclass(frozen=True)
class ErrorCase:
    """One way to an error code: a request, and what is broken or set before it is sent."""

    code: int
    request_type: str
    fields: Json = field(default_factory=dict)
    fault: str = ""
    failure: Exception | None = None
    raw: str = ""
    status: int = 200
    prepare: Callable[[Flask], None] | None = None

    def __str__(self) -> str:
        return f"{self.code}-{self.request_type}"


def close_service(app: Flask) -> None:
    get_service(app).close()


LARGE = "x" * 100_000

ERROR_CASES = [
    ErrorCase(101, "query", raw="no JSON"),
    ErrorCase(102, "query", {"type": "unknown"}),
    *(ErrorCase(103, request_type, {"scope": None}) for request_type in VALID),
    ErrorCase(105, "query", {"scope": {"model": "listed"}}),
    ErrorCase(201, "query", fault="scalars.find_exact"),
    ErrorCase(201, "query", fault="vectors.search"),
    ErrorCase(201, "query", fault="embedder.embed"),
    ErrorCase(202, "query", fault="embedder.embed", failure=SURPRISE),
    ErrorCase(301, "insert", fault="embedder.embed"),
    ErrorCase(302, "insert", fault="scalars.insert_live"),
    ErrorCase(302, "insert", fault="vectors.add"),
    ErrorCase(303, "insert", fault="scalars.insert_live", failure=SURPRISE),
    ErrorCase(304, "insert", {"asked_at": 1.0}),
    ErrorCase(305, "insert", {"scope": {"model": "listed"}}),
    ErrorCase(401, "remove", {"remove_type": "unknown"}),
    ErrorCase(402, "remove", fault="scalars.delete"),
    ErrorCase(402, "remove", fault="scalars.delete", failure=SURPRISE),
    ErrorCase(413, "query", raw=LARGE, status=413),
    ErrorCase(502, "register", fault="vectors.create"),
    ErrorCase(502, "register", fault="vectors.create", failure=SURPRISE),
    ErrorCase(601, "feedback", fault="embedder.embed"),
    ErrorCase(602, "feedback", fault="scalars.observe"),
    ErrorCase(603, "feedback", fault="scalars.observe", failure=SURPRISE),
    *(ErrorCase(503, request_type, status=503, prepare=close_service) for request_type in VALID),
]


@pytest.mark.parametrize("case", ERROR_CASES, ids=str)
def test_every_error_has_the_shape_of_its_request(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch, case: ErrorCase
) -> None:
    app = make_app(model_blacklist=("listed",), max_body_bytes=50_000)
    client_of(app).insert(("another", "a"))
    if case.fault:
        break_method(monkeypatch, app, case.fault, case.failure)
    if case.prepare:
        case.prepare(app)
    body = case.raw or json.dumps(VALID[case.request_type] | case.fields)
    response = app.test_client().post("/modelcache", data=body)
    assert response.status_code == case.status
    assert response.content_type == "application/json; charset=utf-8"
    assert_error(response.get_json(), case.code, case.request_type)
    assert_nothing_internal(response.text)


def all_error_classes(root: type[ModelCacheError]) -> Iterator[type[ModelCacheError]]:
    yield root
    for child in root.__subclasses__():
        yield from all_error_classes(child)


def test_the_cases_above_cover_every_code() -> None:
    codes = set(errors.UNEXPECTED_CODES.values())
    for error_class in all_error_classes(ModelCacheError):
        codes |= set(error_class.codes.values())
    # Those of keys are in test_keys.py.
    assert codes - {401, 403, 429} <= {case.code for case in ERROR_CASES}
    assert {401} <= {case.code for case in ERROR_CASES}
