"""Bodies, encodings, paths and states of the service, over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, request

from modelcache.app import create_app, get_service
from modelcache.testing.hash_embedder import HashEmbedder
from tests.conftest import AppFactory
from tests.support.client import CacheClient, user
from tests.support.wire import (
    KEYS,
    VALID,
    assert_error,
    assert_miss,
    client_of,
    send,
)


@pytest.mark.parametrize("request_type", VALID)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "utf8"])
def test_both_encodings_of_a_body_are_read(client: CacheClient, request_type: str, ascii_only: bool) -> None:
    body = {**VALID[request_type], "note": "你是谁?"}
    once = json.dumps(body, ensure_ascii=ascii_only)
    twice = json.dumps(once, ensure_ascii=ascii_only)
    for encoded in (once, twice):
        reply = send(client, encoded)
        assert (reply["errorCode"], set(reply)) == (0, KEYS[request_type])


def test_both_encodings_mean_the_same_question(client: CacheClient) -> None:
    chat_info = [{"query": user('引号 " 和 \\ 反斜杠 \n 换行'), "answer": "好"}]
    body = {"type": "insert", "scope": {"model": "模型"}, "chat_info": chat_info}
    send(client, json.dumps(json.dumps(body)))
    reply = client.query('引号 " 和 \\ 反斜杠 \n 换行', model="模型")
    assert (reply["answer"], reply["hit_type"]) == ("好", "exact")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/json; charset=gbk",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/octet-stream",
        "no content type",
    ],
)
def test_content_type_does_not_matter(client: CacheClient, content_type: str | None) -> None:
    client.insert(("你好", "您好"))
    body = json.dumps(VALID["query"] | {"query": user("你好")}, ensure_ascii=False).encode()
    assert send(client, body, content_type)["answer"] == "您好"


def test_replies_hold_non_ascii_text_unescaped(client: CacheClient) -> None:
    client.insert(("你是谁?", "我是助手 😀"))
    response = client.http.post("/modelcache", json=VALID["query"] | {"query": user("你是谁?")})
    for text in ("user###你是谁?", "我是助手 😀"):
        assert text.encode("utf-8") in response.data


def test_error_descriptions_hold_non_ascii_text_unescaped(make_app: AppFactory) -> None:
    http = make_app(model_blacklist=("禁止",)).test_client()
    response = http.post("/modelcache", json=VALID["query"] | {"scope": {"model": "禁止"}})
    assert "model: 禁止 in blacklist".encode() in response.data


@pytest.mark.parametrize("request_type", VALID)
def test_unknown_fields_are_ignored(client: CacheClient, request_type: str) -> None:
    body = VALID[request_type] | {"": 1, "user": {"id": [None]}, "delta": "x", "Type": 5}
    reply = client.post(body)
    assert (reply["errorCode"], set(reply)) == (0, KEYS[request_type])


def test_unknown_fields_of_messages_and_chat_info_are_ignored(client: CacheClient) -> None:
    messages = [{"role": "user", "content": "q", "id": 5, "created": None}]
    reply = client.insert((messages, "a"), note=["x"])
    assert reply["errorCode"] == 0
    assert client.query("q")["hit_type"] == "exact"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/", 404),
        ("POST", "/ModelCache", 404),
        ("GET", "/modelcache", 405),
        ("PUT", "/modelcache", 405),
        ("DELETE", "/modelcache", 405),
        ("POST", "/welcome", 405),
    ],
)
def test_wrong_paths_and_methods_get_json(client: CacheClient, method: str, path: str, status: int) -> None:
    response = client.http.open(path, method=method, json=VALID["query"])
    assert response.status_code == status
    assert response.content_type == "application/json; charset=utf-8"
    assert_error(response.get_json(), status, "query")


def test_wrong_method_is_told_the_right_one(client: CacheClient) -> None:
    assert "POST" in client.http.get("/modelcache").headers["Allow"]


def test_large_body_is_refused_in_json_and_stores_nothing(make_app: AppFactory) -> None:
    app = make_app(max_body_bytes=2000)
    client = client_of(app)
    fits = VALID["insert"] | {"chat_info": [{"query": user("q"), "answer": "a" * 1500}]}
    assert client.post(fits)["errorCode"] == 0
    too_large = VALID["insert"] | {"chat_info": [{"query": user("q2"), "answer": "a" * 3000}]}
    assert_error(client.post(too_large, status=413), 413, "query")
    assert_miss(client.query("q2"))


def test_welcome_is_what_liveness_checks_expect(client: CacheClient) -> None:
    response = client.http.get("/welcome")
    assert (response.status_code, response.text) == (200, "hello, modelcache!")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_open_service_is_healthy_and_ready(client: CacheClient, path: str) -> None:
    response = client.http.get(path)
    assert (response.status_code, response.content_type) == (200, "application/json; charset=utf-8")


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[Flask]:
    """An app whose stores are not open yet."""
    app = create_app({"data_dir": tmp_path / "data"}, embedder=HashEmbedder(), open_now=False)
    yield app
    get_service(app).close()


@pytest.mark.parametrize("request_type", VALID)
def test_starting_service_replies_503_until_it_is_open(starting: Flask, request_type: str) -> None:
    client = client_of(starting)
    assert_error(client.post(VALID[request_type], status=503), 503, request_type)
    get_service(starting).open()
    assert client.post(VALID[request_type])["errorCode"] == 0


def test_starting_service_lives_but_is_not_ready(starting: Flask) -> None:
    http = starting.test_client()
    assert http.get("/welcome").status_code == 200
    assert http.get("/health").status_code == 200
    assert http.get("/ready").status_code == 503
    get_service(starting).open()
    assert http.get("/ready").status_code == 200


@pytest.mark.parametrize("request_type", VALID)
def test_closed_service_replies_503(app: Flask, request_type: str) -> None:
    client = client_of(app)
    get_service(app).close()
    assert_error(client.post(VALID[request_type], status=503), 503, request_type)
    assert client.http.get("/ready").status_code == 503


def test_draining_service_is_not_ready_but_answers_what_arrived(app: Flask, client: CacheClient) -> None:
    client.insert(("q", "a"))
    get_service(app).drain()
    assert client.http.get("/ready").status_code == 503
    assert client.query("q")["answer"] == "a"


def test_hooks_of_ones_own_see_every_request(make_app: AppFactory) -> None:
    app = make_app()

    @app.before_request
    def check_key() -> tuple[str, int] | None:
        return None if request.headers.get("X-Key") == "right" else ("no", 401)

    http = app.test_client()
    assert http.post("/modelcache", json=VALID["query"]).status_code == 401
    reply = http.post("/modelcache", json=VALID["query"], headers={"X-Key": "right"})
    assert reply.get_json()["errorCode"] == 0
