"""What a client of /modelcache sends and gets, over HTTP."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask

from modelcache import errors
from modelcache.app import create_app, get_service
from modelcache.core import Cache
from modelcache.errors import EmbeddingError, ModelCacheError, ScalarStoreError, VectorStoreError
from tests.client import CacheClient, Json, user
from tests.conftest import AppFactory
from tests.hash_embedder import NEAR, HashEmbedder
from tests.running import RunningService, wait_until

QUERY_KEYS = {
    "errorCode",
    "errorDesc",
    "cacheHit",
    "delta_time",
    "hit_query",
    "answer",
    "similarity",
    "hit_id",
    "hit_type",
}
INSERT_KEYS = {"errorCode", "errorDesc", "writeStatus", "ids"}
REMOVE_KEYS = {"errorCode", "errorDesc", "response", "writeStatus"}
KEYS = {"query": QUERY_KEYS, "insert": INSERT_KEYS, "remove": REMOVE_KEYS, "register": REMOVE_KEYS}

TYPE_EXCEPTION = "type exception, should one of ['query', 'insert', 'remove', 'register']"
UNEXPECTED = {"query": 202, "insert": 303, "remove": 402, "register": 502}
NEVER_SWEPT = {"sweep_interval": 3600.0}
FAR_TTL = 3600

# What a driver might say, and what must not reach a client.
DRIVER_WORDS = "sqlite3.OperationalError: SELECT answer FROM t; /var/lib/modelcache.db at db7.internal:3306"
INTERNALS = ("sqlite", "select", "traceback", "internal:", "/", ".py", "error:")

VALID: dict[str, Json] = {
    "query": {"type": "query", "scope": {"model": "m"}, "query": user("q")},
    "insert": {
        "type": "insert",
        "scope": {"model": "m"},
        "chat_info": [{"query": user("q"), "answer": "a"}],
    },
    "remove": {"type": "remove", "scope": {"model": "m"}, "remove_type": "delete_by_id", "id_list": [1]},
    "register": {"type": "register", "scope": {"model": "m"}},
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


def assert_blank_query(reply: Json) -> None:
    assert reply["cacheHit"] is False
    assert reply["delta_time"] == 0
    assert not isinstance(reply["delta_time"], str)
    assert (reply["hit_query"], reply["answer"]) == ("", "")
    assert (reply["similarity"], reply["hit_id"], reply["hit_type"]) == (None, None, "")


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


# The published clients, against a real service.

INSERT_SNIPPET = """
import json
import requests
url = 'http://127.0.0.1:5000/modelcache'
type = 'insert'
scope = {"model": "CODEGPT-1008"}
chat_info = [{"query": [{"role": "system", "content": "You are an AI code assistant and you must provide neutral and harmless answers to help users solve code-related problems."}, {"role": "user", "content": "你是谁?"}],
                  "answer": "Hello, I am an intelligent assistant. How can I assist you?"}]
data = {'type': type, 'scope': scope, 'chat_info': chat_info}
headers = {"Content-Type": "application/json"}
res = requests.post(url, headers=headers, json=json.dumps(data))
"""  # noqa: E501

QUERY_SNIPPET = """
import json
import requests
url = 'http://127.0.0.1:5000/modelcache'
type = 'query'
scope = {"model": "CODEGPT-1008"}
query = [{"role": "system", "content": "You are an AI code assistant and you must provide neutral and harmless answers to help users solve code-related problems."}, {"role": "user", "content": "Who are you?"}]
data = {'type': type, 'scope': scope, 'query': query}

headers = {"Content-Type": "application/json"}
res = requests.post(url, headers=headers, json=json.dumps(data))
"""  # noqa: E501

REMOVE_SNIPPET = """
import json
import requests
url = 'http://127.0.0.1:5000/modelcache'
type = 'remove'
scope = {"model": "CODEGPT-1008"}
remove_type = 'truncate_by_model'
data = {'type': type, 'scope': scope, 'remove_type': remove_type}

headers = {"Content-Type": "application/json"}
res = requests.post(url, headers=headers, json=json.dumps(data))
"""

PUBLISHED_URL = "http://127.0.0.1:5000"
PUBLISHED_SYSTEM = (
    "You are an AI code assistant and you must provide neutral and harmless answers to help users "
    "solve code-related problems."
)
PUBLISHED_ANSWER = "Hello, I am an intelligent assistant. How can I assist you?"


def start_demo(data_dir: Path) -> RunningService:
    return RunningService(data_dir, "flask4modelcache_demo.py").wait_ready()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The demo service as its users start it: another process, the bundled embedder."""
    service = start_demo(tmp_path_factory.mktemp("demo"))
    yield service
    service.terminate()


def run_snippet(snippet: str, demo: RunningService) -> Json:
    """Run a published client against the demo's port and return the reply's body."""
    names: Json = {}
    assert PUBLISHED_URL in snippet
    exec(snippet.replace(PUBLISHED_URL, demo.url), names)
    assert names["res"].status_code == 200
    reply: Json = names["res"].json()
    return reply


def ask_published(demo: RunningService, text: str) -> Json:
    messages = system(PUBLISHED_SYSTEM) + user(text)
    return demo.post({"type": "query", "scope": {"model": "CODEGPT-1008"}, "query": messages})


def test_published_insert_stores_its_answer(demo: RunningService) -> None:
    reply = run_snippet(INSERT_SNIPPET, demo)
    assert set(reply) == INSERT_KEYS
    assert (reply["errorCode"], reply["errorDesc"], reply["writeStatus"]) == (0, "", "success")
    found = ask_published(demo, "你是谁?")
    assert (found["answer"], found["hit_id"]) == (PUBLISHED_ANSWER, reply["ids"][0])
    assert found["hit_query"] == f"system###{PUBLISHED_SYSTEM}|||user###你是谁?"


def test_published_query_is_answered(demo: RunningService) -> None:
    run_snippet(INSERT_SNIPPET, demo)
    reply = run_snippet(QUERY_SNIPPET, demo)
    assert set(reply) == QUERY_KEYS
    assert (reply["errorCode"], reply["errorDesc"]) == (0, "")
    assert 0 < reply["similarity"] <= 1
    assert reply["answer"] == (PUBLISHED_ANSWER if reply["cacheHit"] else "")


def test_published_query_hits_once_its_question_was_inserted(demo: RunningService) -> None:
    inserted = run_snippet(INSERT_SNIPPET.replace("你是谁?", "Who are you?"), demo)
    reply = run_snippet(QUERY_SNIPPET, demo)
    assert (reply["cacheHit"], reply["answer"]) == (True, PUBLISHED_ANSWER)
    assert (reply["hit_type"], reply["hit_id"]) == ("exact", inserted["ids"][0])


def test_published_remove_empties_the_model(demo: RunningService) -> None:
    run_snippet(REMOVE_SNIPPET, demo)
    run_snippet(INSERT_SNIPPET, demo)
    assert run_snippet(REMOVE_SNIPPET, demo) == {
        "errorCode": 0,
        "errorDesc": "",
        "response": {"status": "success", "VectorDB": "rebuild", "ScalarDB": "delete_count: 1"},
        "writeStatus": "success",
    }
    assert_miss(ask_published(demo, "你是谁?"))


def test_a_question_without_its_question_mark_hits_by_meaning(demo: RunningService) -> None:
    run_snippet(REMOVE_SNIPPET, demo)
    run_snippet(INSERT_SNIPPET, demo)
    reply = ask_published(demo, "你是谁")
    assert (reply["cacheHit"], reply["hit_type"]) == (True, "semantic")
    assert reply["answer"] == PUBLISHED_ANSWER
    assert 0.9 < reply["similarity"] <= 1


def test_another_question_misses(demo: RunningService) -> None:
    run_snippet(REMOVE_SNIPPET, demo)
    run_snippet(INSERT_SNIPPET, demo)
    assert_miss(ask_published(demo, "who is the president of France"))


def test_real_service_refuses_a_large_body_in_json(demo: RunningService) -> None:
    response = requests.post(f"{demo.url}/modelcache", data=b" " * 2_000_000, timeout=60)
    assert response.status_code == 413
    assert response.headers["Content-Type"].startswith("application/json")
    assert_error(response.json(), 413, "query")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /modelcache HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n", 413),
        ("POST /modelcache HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n", 400),
        ("POST /modelcache HTTP/1.1\r\nHost: x\r\nNote: " + "x" * 300_000 + "\r\n", 431),
    ],
    ids=["endless body", "malformed", "endless header"],
)
def test_what_the_server_refuses_by_itself_is_json_too(demo: RunningService, head: str, status: int) -> None:
    address = urlsplit(demo.url)
    with closing(HTTPConnection(str(address.hostname), address.port, timeout=60)) as connection:
        connection.connect()
        connection.send(f"{head}\r\n".encode())
        with closing(HTTPResponse(connection.sock)) as response:
            response.begin()
            assert response.status == status
            assert_error(json.loads(response.read()), status, "query")


def test_real_service_reads_a_chunked_body(demo: RunningService) -> None:
    body = json.dumps(VALID["query"]).encode()
    response = requests.post(f"{demo.url}/modelcache", data=iter([body[:9], body[9:]]), timeout=60)
    assert response.json()["errorCode"] == 0


def test_sigterm_ends_the_service_with_status_0_and_its_answers_outlive_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data_dir = tmp_path_factory.mktemp("restarted")
    service = start_demo(data_dir)
    service.insert([("怎么重置密码?", "按按钮。")])
    assert service.terminate() == 0
    restarted = start_demo(data_dir)
    try:
        assert restarted.query("怎么重置密码?")["answer"] == "按按钮。"
        assert restarted.query("怎么重置密码")["hit_type"] == "semantic"
    finally:
        assert restarted.terminate() == 0


# Transport.


def send(client: CacheClient, body: bytes | str, content_type: str | None = "application/json") -> Json:
    response = client.http.post("/modelcache", data=body, content_type=content_type)
    assert response.status_code == 200
    assert response.content_type == "application/json; charset=utf-8"
    reply: Json = response.get_json()
    return reply


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
        ("POST", "/modelcache/", 404),
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


# Query.


def test_exact_hit(client: CacheClient) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    reply = client.query("q")
    assert re.fullmatch(r"\d+\.\d+s", reply.pop("delta_time"))
    assert reply == {
        "errorCode": 0,
        "errorDesc": "",
        "cacheHit": True,
        "hit_query": "user###q",
        "answer": "a",
        "similarity": 1.0,
        "hit_id": entry,
        "hit_type": "exact",
    }


def test_semantic_hit(client: CacheClient) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    reply = client.query("q" + NEAR)
    assert re.fullmatch(r"\d+\.\d+s", reply.pop("delta_time"))
    assert 0.95 < reply.pop("similarity") < 0.97
    assert reply == {
        "errorCode": 0,
        "errorDesc": "",
        "cacheHit": True,
        "hit_query": "user###q",
        "answer": "a",
        "hit_id": entry,
        "hit_type": "semantic",
    }


def test_miss_in_an_empty_cache_compared_nothing(client: CacheClient) -> None:
    reply = client.query("q")
    assert re.fullmatch(r"\d+\.\d+s", reply.pop("delta_time"))
    assert reply == {
        "errorCode": 0,
        "errorDesc": "",
        "cacheHit": False,
        "hit_query": "",
        "answer": "",
        "similarity": None,
        "hit_id": None,
        "hit_type": "",
    }


def test_miss_tells_how_near_the_nearest_was(client: CacheClient) -> None:
    client.insert(("q", "a"))
    reply = client.query("something else")
    assert set(reply) == QUERY_KEYS
    assert_miss(reply)
    assert 0 <= reply["similarity"] < 0.9


def test_nearest_entry_answers(client: CacheClient) -> None:
    client.insert(("q" + NEAR + NEAR, "far"), ("q" + NEAR, "near"), ("other", "none"))
    assert client.query("q")["answer"] == "near"


@pytest.mark.parametrize("spelling", [" q ", "q\n", "q\r\n", "\tq"])
def test_surrounding_space_does_not_change_a_question(client: CacheClient, spelling: str) -> None:
    client.insert(("q", "a"))
    assert client.query(spelling)["hit_type"] == "exact"


def test_hit_query_splices_all_messages(client: CacheClient) -> None:
    dialogue = [*system("be brief"), *user("hello"), *assistant("hi"), *user("who are you?")]
    client.insert((dialogue, "a bot"))
    spliced = "system###be brief|||user###hello|||assistant###hi|||user###who are you?"
    assert client.query(dialogue)["hit_query"] == spliced
    dialogue[-1] = user("who are you?" + NEAR)[0]
    assert client.query(dialogue)["hit_query"] == spliced


def test_other_roles_are_kept_as_they_are(client: CacheClient) -> None:
    dialogue = [*user("weather?"), {"role": "tool", "content": "{}"}, *user("and?")]
    client.insert((dialogue, "sunny"))
    assert client.query(dialogue)["hit_query"] == "user###weather?|||tool###{}|||user###and?"
    dialogue[1] = {"role": "function", "content": "{}"}
    assert_miss(client.query(dialogue))


AWKWARD = {
    "emoji": "👩‍👩‍👧 😀 🏳️‍🌈",
    "NUL": "before\0after\0",
    "four-byte Chinese": "𠮷野家𪚥",
    "quotes": "it's \"quoted\" `so` '; DROP TABLE modelcache_llm_answer; -- \\' %s ? :x {0}",
    "separators": "a###b|||c###d|||",
    "line ends": "one\r\ntwo\rthree\n",
    "surrounding space": "  spaced\t ",
    "controls": "\x01\x1b[31m\x7f\u2028\ufeff end",
    "decomposed": "cafe\u0301 ﬁ Å",
    "markup": "<script>alert(1)</script>&amp;",
}


@pytest.mark.parametrize("text", AWKWARD.values(), ids=list(AWKWARD))
def test_awkward_text_comes_back_identical(client: CacheClient, text: str) -> None:
    dialogue = [*system(text), *user(text), *assistant(text), *user(text)]
    client.insert((dialogue, text))
    reply = client.query(dialogue)
    assert (reply["hit_type"], reply["answer"]) == ("exact", text)
    assert reply["hit_query"] == f"system###{text}|||user###{text}|||assistant###{text}|||user###{text}"


def test_text_behind_a_nul_counts(client: CacheClient) -> None:
    client.insert(("a\0b", "one"))
    assert_miss(client.query("a\0c"))
    assert_miss(client.query("a"))


@pytest.mark.parametrize(
    ("threshold", "hit"), [(0, True), (0.0, True), (0.5, True), (0.96, False), (1, False), (1.0, False)]
)
def test_threshold_of_the_request_decides(client: CacheClient, threshold: float, hit: bool) -> None:
    client.insert(("q", "a"))
    reply = client.query("q" + NEAR, threshold=threshold)
    assert is_hit(reply) is hit
    assert 0.95 < reply["similarity"] < 0.96


def test_threshold_0_takes_the_nearest_of_the_partition(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert client.query("something else", threshold=0)["answer"] == "a"
    assert_miss(client.query("something else", model="other", threshold=0))


def test_equal_question_hits_at_threshold_1(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert client.query("q", threshold=1)["answer"] == "a"


def test_threshold_of_a_request_does_not_stick(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert_miss(client.query("q" + NEAR, threshold=1))
    assert is_hit(client.query("q" + NEAR))


@pytest.mark.parametrize("top_k", [1, 2, 100])
def test_top_k_of_the_request_is_taken(client: CacheClient, top_k: int) -> None:
    client.insert(("q", "a"), ("other", "b"))
    assert client.query("q" + NEAR, top_k=top_k)["answer"] == "a"


@pytest.mark.parametrize(
    ("settings", "hit"),
    [
        ({}, True),
        ({"similarity_threshold": 0.99}, True),
        ({"similarity_threshold_long": 0.99}, False),
        ({"similarity_threshold_long": 0.99, "long_text_chars": 1000}, True),
        ({"similarity_threshold": 0.99, "long_text_chars": 1000}, False),
    ],
)
def test_long_texts_have_a_threshold_of_their_own(
    make_app: AppFactory, settings: dict[str, Any], hit: bool
) -> None:
    client = client_of(make_app(**settings))
    client.insert(("q" * 300, "a"))
    assert is_hit(client.query("q" * 300 + NEAR)) is hit


def test_text_too_long_to_compare_is_answered_by_exact_match_only(make_app: AppFactory) -> None:
    app = make_app(max_embed_chars=20)
    client = client_of(app)
    client.insert(("x" * 21, "long"), ("x" * 12, "short"))
    exact = client.query("x" * 21)
    assert (exact["answer"], exact["hit_type"]) == ("long", "exact")
    near = client.query("x" * 21 + NEAR, threshold=0)
    assert_miss(near)
    assert near["similarity"] is None
    assert client.query("x" * 12 + NEAR)["answer"] == "short"
    assert client.query("unlike", threshold=0)["answer"] == "short"


def test_replaced_long_text_answers_with_the_new_answer(make_app: AppFactory) -> None:
    client = client_of(make_app(max_embed_chars=20))
    client.insert(("x" * 21, "old"))
    client.insert(("x" * 21, "new"))
    assert client.query("x" * 21)["answer"] == "new"


# What must be equal: scope, system prompt, earlier turns.


@pytest.mark.parametrize(
    ("inserted", "asked"),
    [
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": 0}, {"temperature": -0.0}),
        ({"a": 1, "b": "x"}, {"b": "x", "a": 1}),
        ({"stream": True}, {"stream": True}),
        ({"version": ""}, {"version": ""}),
        ({"版本": "一"}, {"版本": "一"}),
    ],
)
def test_equal_scopes_share_entries(client: CacheClient, inserted: Json, asked: Json) -> None:
    client.post(VALID["insert"] | {"scope": {"model": "m"} | inserted})
    assert client.query("q", scope=asked)["hit_type"] == "exact"
    assert client.query("q" + NEAR, scope=asked)["hit_type"] == "semantic"


@pytest.mark.parametrize(
    ("inserted", "asked"),
    [
        ({"temperature": 1}, {"temperature": "1"}),
        ({"temperature": 1}, {"temperature": True}),
        ({"temperature": "1"}, {"temperature": True}),
        ({"temperature": "true"}, {"temperature": True}),
        ({"temperature": 0}, {"temperature": False}),
        ({"temperature": ""}, {"temperature": False}),
        ({"temperature": 0.7}, {"temperature": 0.70001}),
        ({"seed": 2**53}, {"seed": 2**53 + 1}),
        ({"temperature": 1}, {}),
        ({}, {"temperature": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": "b"}, {"b": "a"}),
        ({"version": "A"}, {"version": "a"}),
        ({"version": "a"}, {"version": "a "}),
        ({"a": "1,b:2"}, {"a": "1", "b": 2}),
    ],
)
def test_different_scopes_never_share_entries(client: CacheClient, inserted: Json, asked: Json) -> None:
    client.post(VALID["insert"] | {"scope": {"model": "m"} | inserted})
    for text in ("q", "q" + NEAR):
        reply = client.query(text, scope=asked, threshold=0)
        assert_miss(reply)
        assert reply["similarity"] is None


def test_only_an_equal_system_prompt_is_compared(client: CacheClient) -> None:
    client.insert((system("be brief") + user("q"), "a"))
    assert is_hit(client.query(system("be brief") + user("q" + NEAR)))
    for other in (system("be long"), system("be brief" + NEAR), []):
        reply = client.query(other + user("q"), threshold=0)
        assert_miss(reply)
        assert reply["similarity"] is None


def test_spliced_system_prompt_is_compared_as_text(make_app: AppFactory) -> None:
    client = client_of(make_app(system_prompt="splice"))
    client.insert((user("q") + system("be brief"), "a"))
    near = client.query(user("q") + system("be brief" + NEAR))
    assert (near["answer"], near["hit_type"]) == ("a", "semantic")
    unlike = client.query(user("q") + system("be long"))
    assert_miss(unlike)
    assert unlike["similarity"] is not None


def test_rephrased_last_turn_hits_in_the_same_conversation_only(client: CacheClient) -> None:
    context = [*user("tell me about Paris"), *assistant("a city")]
    client.insert((context + user("how big is it?"), "105 km2"))
    rephrased = user("how big is it?" + NEAR)
    assert client.query(context + rephrased)["answer"] == "105 km2"
    others: tuple[list[Json], ...] = (
        [],
        [*user("tell me about Rome"), *assistant("a city")],
        [*user("tell me about Paris" + NEAR), *assistant("a city")],
        [*user("tell me about Paris"), *assistant("a town")],
        [*context, *context],
        user("tell me about Paris"),
        [*assistant("tell me about Paris"), *user("a city")],
    )
    for other in others:
        assert_miss(client.query(other + rephrased, threshold=0))
        assert_miss(client.query(other + user("how big is it?"), threshold=0))


def test_question_without_context_does_not_answer_one_with_context(client: CacheClient) -> None:
    client.insert(("how big is it?", "which?"))
    dialogue = [*user("Paris"), *assistant("yes"), *user("how big is it?")]
    assert_miss(client.query(dialogue, threshold=0))
    assert client.query("how big is it?")["answer"] == "which?"


def test_messages_that_splice_alike_are_told_apart(client: CacheClient) -> None:
    client.insert(("a|||user###b", "one"))
    assert_miss(client.query([*user("a"), *user("b")], threshold=0))


def test_who_speaks_last_matters(client: CacheClient) -> None:
    client.insert((user("q"), "a"))
    assert_miss(client.query(assistant("q"), threshold=0))


def test_list_form_of_a_content_is_joined(client: CacheClient) -> None:
    parts = [{"type": "text", "text": "who "}, {"type": "text", "text": "are you?"}]
    client.insert(([{"role": "user", "content": parts}], "a bot"))
    reply = client.query("who are you?")
    assert (reply["hit_type"], reply["hit_query"]) == ("exact", "user###who are you?")


TOOL_CALLS = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]


def tool_dialogue(tool_calls: Any, text: str = "and?") -> list[Json]:
    call = {"role": "assistant", "content": None, "tool_calls": tool_calls}
    return [*user("weather?"), call, {"role": "tool", "content": "sun"}, *user(text)]


def test_earlier_turn_may_be_a_tool_call_without_text(client: CacheClient) -> None:
    assert client.insert((tool_dialogue(TOOL_CALLS), "sunny"))["errorCode"] == 0
    assert client.query(tool_dialogue(TOOL_CALLS))["hit_type"] == "exact"
    assert client.query(tool_dialogue(TOOL_CALLS, "and?" + NEAR))["answer"] == "sunny"


def test_another_tool_call_is_another_conversation(client: CacheClient) -> None:
    client.insert((tool_dialogue(TOOL_CALLS), "sunny"))
    other = [{**TOOL_CALLS[0], "function": {"name": "time", "arguments": "{}"}}]
    assert_miss(client.query(tool_dialogue(other), threshold=0))


# Insert.


def test_insert_reply(client: CacheClient) -> None:
    reply = client.insert(("q", "a"))
    [entry] = reply.pop("ids")
    assert isinstance(entry, int)
    assert reply == {"errorCode": 0, "errorDesc": "", "writeStatus": "success"}


def test_every_chat_info_element_is_stored_and_ids_come_in_order(client: CacheClient) -> None:
    pairs = [(f"question {number}", f"answer {number}") for number in range(20)]
    ids = client.insert(*pairs)["ids"]
    assert len(set(ids)) == len(pairs)
    for entry, (question, answer) in zip(ids, pairs, strict=True):
        reply = client.query(question)
        assert (reply["hit_id"], reply["answer"]) == (entry, answer)
        assert client.query(question + NEAR)["hit_id"] == entry


def test_bad_element_keeps_the_whole_request_out(app: Flask, client: CacheClient) -> None:
    reply = client.insert(("good", "a"), ("bad", ""), ("good too", "c"))
    assert_error(reply, 103, "insert")
    assert "chat_info[1].answer" in reply["errorDesc"]
    assert_miss(client.query("good"))
    assert select(app, "SELECT COUNT(*) FROM modelcache_llm_answer") == [(0,)]


@pytest.mark.parametrize("asked", ["q", "q" + NEAR], ids=["exact", "semantic"])
def test_inserting_a_question_again_replaces_its_answer(client: CacheClient, asked: str) -> None:
    [old] = client.insert(("q", "old"))["ids"]
    [new] = client.insert(("q", "new"))["ids"]
    assert new != old
    reply = client.query(asked)
    assert (reply["answer"], reply["hit_id"]) == ("new", new)


def test_replaced_entry_is_gone(client: CacheClient) -> None:
    [old] = client.insert(("q", "old"))["ids"]
    client.insert(("q", "new"))
    assert client.remove("delete_by_id", id_list=[old])["response"]["ScalarDB"] == "delete_count: 0"
    assert client.remove("truncate_by_model")["response"]["ScalarDB"] == "delete_count: 1"


def test_within_one_request_the_last_of_equal_questions_wins(client: CacheClient) -> None:
    ids = client.insert(("q", "first"), ("other", "b"), ("q", "last"))["ids"]
    for text in ("q", "q" + NEAR):
        reply = client.query(text)
        assert (reply["answer"], reply["hit_id"]) == ("last", ids[2])
    assert client.query("other")["hit_id"] == ids[1]
    assert client.remove("truncate_by_model")["response"]["ScalarDB"] == "delete_count: 2"


def test_equal_questions_in_different_partitions_do_not_replace_each_other(client: CacheClient) -> None:
    client.insert(("q", "plain"))
    client.insert((system("s") + user("q"), "prompted"))
    client.insert(("q", "warm"), scope={"temperature": 1})
    assert client.query("q")["answer"] == "plain"
    assert client.query(system("s") + user("q"))["answer"] == "prompted"
    assert client.query("q", model="m")["answer"] == "plain"


def test_answers_outlive_a_restart(make_app: AppFactory) -> None:
    first = make_app()
    [entry] = client_of(first).insert(("q", "a"))["ids"]
    get_service(first).close()
    client = client_of(make_app())
    assert client.query("q")["hit_id"] == entry
    assert client.query("q" + NEAR)["hit_id"] == entry
    assert client.insert(("another", "b"))["ids"][0] > entry


# Time to live.


def test_entry_answers_within_its_time(client: CacheClient) -> None:
    client.insert(("q", "a"), ttl=FAR_TTL)
    assert client.query("q")["hit_type"] == "exact"
    assert client.query("q" + NEAR)["hit_type"] == "semantic"


@pytest.mark.parametrize("asked", ["q", "q" + NEAR], ids=["exact", "semantic"])
def test_expired_entry_does_not_answer_though_it_was_not_swept(make_app: AppFactory, asked: str) -> None:
    app = make_app(**NEVER_SWEPT)
    client = client_of(app)
    client.insert(("q", "a"), ttl=0.1)
    wait_until(lambda: not is_hit(client.query(asked)), "expiry")
    assert_miss(client.query(asked, threshold=0))
    assert live_rows(app) == 1


def test_expired_entry_hides_no_living_neighbour(make_app: AppFactory) -> None:
    client = client_of(make_app(**NEVER_SWEPT))
    client.insert(("q" + NEAR, "neighbour"))
    client.insert(("q", "brief"), ttl=0.1)
    wait_until(lambda: client.query("q")["answer"] == "neighbour", "expiry")


def test_expired_question_can_be_inserted_again(make_app: AppFactory) -> None:
    client = client_of(make_app(**NEVER_SWEPT))
    [old] = client.insert(("q", "old"), ttl=0.1)["ids"]
    wait_until(lambda: not is_hit(client.query("q")), "expiry")
    [new] = client.insert(("q", "new"))["ids"]
    assert new != old
    assert client.query("q")["answer"] == "new"


def test_replacing_an_entry_replaces_its_time_to_live(make_app: AppFactory) -> None:
    client = client_of(make_app(**NEVER_SWEPT))
    client.insert(("shorter", "a"), ttl=FAR_TTL)
    client.insert(("shorter", "b"), ttl=0.1)
    client.insert(("longer", "c"), ttl=0.1)
    client.insert(("longer", "d"))
    client.insert(("probe", "e"), ttl=0.1)
    wait_until(lambda: not is_hit(client.query("probe")), "expiry")
    assert_miss(client.query("shorter"))
    assert client.query("longer")["answer"] == "d"


def test_time_to_live_is_an_elements_own(make_app: AppFactory) -> None:
    client = client_of(make_app(**NEVER_SWEPT))
    brief, kept = {"query": user("brief"), "answer": "a", "ttl": 0.1}, {"query": user("kept"), "answer": "b"}
    client.post(VALID["insert"] | {"chat_info": [brief, kept]})
    wait_until(lambda: not is_hit(client.query("brief")), "expiry")
    assert client.query("kept")["answer"] == "b"


# Remove.


def removed(reply: Json) -> tuple[str, int]:
    """Check a successful removal's shape; return what it says of the vectors, and the count."""
    assert set(reply) == REMOVE_KEYS
    assert (reply["errorCode"], reply["errorDesc"], reply["writeStatus"]) == (0, "", "success")
    response = reply["response"]
    assert set(response) == {"status", "VectorDB", "ScalarDB"}
    assert response["status"] == "success"
    return response["VectorDB"], int(response["ScalarDB"].removeprefix("delete_count: "))


def test_delete_by_id_reply(client: CacheClient) -> None:
    ids = client.insert(("q1", "a"), ("q2", "b"), ("q3", "c"))["ids"]
    assert client.remove("delete_by_id", id_list=ids[:2]) == {
        "errorCode": 0,
        "errorDesc": "",
        "response": {"status": "success", "VectorDB": "delete_count: 2", "ScalarDB": "delete_count: 2"},
        "writeStatus": "success",
    }


@pytest.mark.parametrize("asked", ["q", "q" + NEAR], ids=["exact", "semantic"])
def test_deleted_entry_stops_answering_at_once(client: CacheClient, asked: str) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    client.insert(("kept", "b"))
    client.remove("delete_by_id", id_list=[entry])
    assert_miss(client.query(asked))
    assert client.query("kept")["answer"] == "b"


def test_id_of_a_query_reply_deletes_it(client: CacheClient) -> None:
    client.insert(("q", "a"))
    entry = client.query("q" + NEAR)["hit_id"]
    assert removed(client.remove("delete_by_id", id_list=[entry])) == ("delete_count: 1", 1)
    assert_miss(client.query("q"))


def test_delete_by_id_touches_only_its_own_model(client: CacheClient) -> None:
    [own] = client.insert(("q", "own"), model="own")["ids"]
    [foreign] = client.insert(("q", "foreign"), model="foreign")["ids"]
    assert removed(client.remove("delete_by_id", model="own", id_list=[own, foreign]))[1] == 1
    assert client.query("q", model="foreign")["answer"] == "foreign"
    assert client.query("q" + NEAR, model="foreign")["answer"] == "foreign"


@pytest.mark.parametrize("unknown", [0, -1, 999_999, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**300])
def test_unknown_ids_are_no_error_and_not_counted(client: CacheClient, unknown: int) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    assert removed(client.remove("delete_by_id", id_list=[unknown])) == ("delete_count: 0", 0)
    assert removed(client.remove("delete_by_id", id_list=[unknown, entry, unknown]))[1] == 1


def test_ids_named_twice_are_counted_once(client: CacheClient) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    assert removed(client.remove("delete_by_id", id_list=[entry, entry]))[1] == 1
    assert removed(client.remove("delete_by_id", id_list=[entry]))[1] == 0


def test_empty_id_list_deletes_nothing(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert removed(client.remove("delete_by_id", id_list=[])) == ("delete_count: 0", 0)
    assert is_hit(client.query("q"))


def test_thousands_of_ids_are_deleted(client: CacheClient) -> None:
    ids = client.insert(*[(f"q{number}", "a") for number in range(1200)])["ids"]
    assert removed(client.remove("delete_by_id", id_list=ids + list(range(10**6, 10**6 + 3000))))[1] == 1200


def insert_tagged(client: CacheClient, question: str, *tags: str, model: str = "m") -> None:
    client.insert((question, f"answer of {question}"), model=model, tags=list(tags))


@pytest.mark.parametrize(
    ("tags", "gone"),
    [
        (["red"], {"apple", "rose"}),
        (["fruit", "flower"], {"apple", "plum", "rose"}),
        (["red", "red"], {"apple", "rose"}),
        (["unknown"], set()),
        (["unknown", "fruit"], {"apple", "plum"}),
        (["RED"], set()),
        (["red "], set()),
        ([], set()),
    ],
)
def test_delete_by_tag_removes_what_carries_any_of_them(
    client: CacheClient, tags: list[str], gone: set[str]
) -> None:
    insert_tagged(client, "apple", "red", "fruit")
    insert_tagged(client, "plum", "fruit")
    insert_tagged(client, "rose", "red", "flower")
    insert_tagged(client, "stone")
    count = len(gone)
    assert removed(client.remove("delete_by_tag", tags=tags)) == (f"delete_count: {count}", count)
    questions = ("apple", "plum", "rose", "stone")
    assert {question for question in questions if not is_hit(client.query(question))} == gone
    assert {question for question in questions if not is_hit(client.query(question + NEAR))} == gone


@pytest.mark.parametrize("tag", ["标签", "o'clock", "a,b", "x" * 256, "\0", "é"])
def test_tags_may_be_any_text(client: CacheClient, tag: str) -> None:
    insert_tagged(client, "q", tag, tag)
    assert removed(client.remove("delete_by_tag", tags=[tag]))[1] == 1


def test_delete_by_tag_touches_only_its_own_model(client: CacheClient) -> None:
    insert_tagged(client, "q", "red", model="own")
    insert_tagged(client, "q", "red", model="foreign")
    assert removed(client.remove("delete_by_tag", model="own", tags=["red"]))[1] == 1
    assert_miss(client.query("q", model="own"))
    assert is_hit(client.query("q", model="foreign"))


def test_replacing_an_entry_replaces_its_tags(client: CacheClient) -> None:
    insert_tagged(client, "q", "old")
    insert_tagged(client, "q", "new")
    assert removed(client.remove("delete_by_tag", tags=["old"]))[1] == 0
    assert is_hit(client.query("q"))
    assert removed(client.remove("delete_by_tag", tags=["new"]))[1] == 1


def test_truncate_removes_every_entry_of_the_model_in_every_scope(client: CacheClient) -> None:
    client.insert(("q1", "a"), ("q2", "b"))
    client.post(VALID["insert"] | {"scope": {"model": "m", "temperature": 1}})
    client.insert((system("s") + user("q1"), "c"))
    assert removed(client.remove("truncate_by_model")) == ("rebuild", 4)
    for text in ("q1", "q2", "q1" + NEAR):
        assert_miss(client.query(text, threshold=0))
    assert_miss(client.query("q", scope={"temperature": 1}, threshold=0))
    assert removed(client.remove("truncate_by_model")) == ("rebuild", 0)


def test_truncate_leaves_other_models_alone(client: CacheClient) -> None:
    client.insert(("q", "own"), model="own")
    client.insert(("q", "foreign"), model="foreign")
    client.remove("truncate_by_model", model="own")
    assert client.query("q", model="foreign")["hit_type"] == "exact"
    assert client.query("q" + NEAR, model="foreign")["hit_type"] == "semantic"


def test_truncated_model_can_be_filled_again(client: CacheClient) -> None:
    client.insert(("q", "old"))
    client.remove("truncate_by_model")
    client.insert(("q", "new"))
    assert client.query("q")["answer"] == "new"
    assert client.query("q" + NEAR)["answer"] == "new"


@pytest.mark.parametrize("model", ["never seen", "从未见过", "'; DROP TABLE modelcache_llm_answer; --"])
def test_truncating_a_model_that_holds_nothing_succeeds(client: CacheClient, model: str) -> None:
    assert removed(client.remove("truncate_by_model", model=model)) == ("rebuild", 0)


def test_truncate_removes_the_models_query_log_only(app: Flask, client: CacheClient) -> None:
    for model in ("own", "own", "foreign"):
        client.query("q", model=model)
    client.remove("truncate_by_model", model="own")
    assert select(app, "SELECT model FROM modelcache_query_log") == [("foreign",)]


def test_truncated_model_stays_empty_after_a_restart(make_app: AppFactory) -> None:
    first = make_app()
    client_of(first).insert(("q", "a"))
    client_of(first).remove("truncate_by_model")
    get_service(first).close()
    assert_miss(client_of(make_app()).query("q" + NEAR, threshold=0))


# Register.


def test_register_replies(client: CacheClient) -> None:
    created = {"errorCode": 0, "errorDesc": "", "response": "create_success", "writeStatus": "success"}
    assert client.register() == created
    assert client.register() == created | {"response": "already_exists"}


def test_registration_outlives_a_restart(make_app: AppFactory) -> None:
    first = make_app()
    client_of(first).register("registered")
    client_of(first).insert(("q", "a"), model="used")
    get_service(first).close()
    client = client_of(make_app())
    assert client.register("registered")["response"] == "already_exists"
    assert client.register("used")["response"] == "already_exists"
    assert client.register("new")["response"] == "create_success"


def test_models_with_similar_names_are_registered_apart(client: CacheClient) -> None:
    for model in ("gpt-4", "gpt.4", "gpt_4", "GPT-4", "gpt-4 ", "模型", "型模"):
        assert client.register(model)["response"] == "create_success"


def test_registering_a_model_in_use_keeps_its_entries(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert client.register()["response"] == "already_exists"
    assert client.query("q" + NEAR)["answer"] == "a"


# Blacklist.


def test_blacklisted_model_is_neither_answered_nor_stored(make_app: AppFactory) -> None:
    app = make_app(model_blacklist=("bad", "worse"))
    client = client_of(app)
    query, insert = client.query("q", model="bad"), client.insert(("q", "a"), model="worse")
    assert_error(query, 105, "query")
    assert query["errorDesc"] == "model: bad in blacklist"
    assert_error(insert, 305, "insert")
    assert insert["errorDesc"] == "model: worse in blacklist"
    assert live_rows(app) == 0


@pytest.mark.parametrize("model", ["Bad", "bad ", "ba", "b.d"])
def test_blacklist_means_the_exact_name(make_app: AppFactory, model: str) -> None:
    client = client_of(make_app(model_blacklist=("bad",)))
    assert client.insert(("q", "a"), model=model)["errorCode"] == 0
    assert is_hit(client.query("q", model=model))


def test_entries_of_a_model_blacklisted_later_can_be_removed(make_app: AppFactory) -> None:
    first = make_app()
    client_of(first).insert(("q", "a"))
    get_service(first).close()
    client = client_of(make_app(model_blacklist=("m",)))
    assert client.query("q")["errorCode"] == 105
    assert removed(client.remove("truncate_by_model")) == ("rebuild", 1)


# Refused requests.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"hello",
        b"[1]",
        b"5",
        b"null",
        b"true",
        b'"text"',
        b'"[1]"',
        b'""',
        json.dumps(json.dumps(json.dumps(VALID["query"]))).encode(),
        json.dumps(VALID["query"]).encode()[:-1],
        json.dumps(VALID["query"]).encode() + b"}",
        b"{'type': 'query'}",
        b'{"type": "query", "n": NaN}',
        b'{"type": "query", "n": -Infinity}',
        b'{"type": "\xff"}',
        json.dumps(VALID["query"]).encode("utf-16"),
        b"type=query&scope=m",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_body_of_no_use_is_refused_with_101(client: CacheClient, body: bytes) -> None:
    assert_error(send(client, body), 101, "query")


class Missing:
    """Stands for a field that is left out."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()


def without_missing(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not MISSING}


@pytest.mark.parametrize(
    "request_type", [MISSING, None, "", "Query", "query ", "delete", 5, True, ["query"], {}], ids=repr
)
def test_missing_or_unknown_type_is_refused_with_102(client: CacheClient, request_type: Any) -> None:
    reply = client.post(without_missing(VALID["query"] | {"type": request_type}))
    assert_error(reply, 102, "query")
    assert reply["errorDesc"] == TYPE_EXCEPTION


SCOPES: list[tuple[Any, str]] = [
    (MISSING, "scope"),
    (None, "scope"),
    ("m", "scope"),
    ([], "scope"),
    (["model"], "scope"),
    (5, "scope"),
    ({}, "scope.model"),
    ({"Model": "m"}, "scope.model"),
    ({"model": None}, "scope.model"),
    ({"model": ""}, "scope.model"),
    ({"model": 5}, "scope.model"),
    ({"model": True}, "scope.model"),
    ({"model": ["m"]}, "scope.model"),
    ({"model": "m" * 257}, "scope.model"),
    ({"model": "\ud800"}, "scope.model"),
    ({"model": "m", "temperature": None}, "scope.temperature"),
    ({"model": "m", "temperature": []}, "scope.temperature"),
    ({"model": "m", "temperature": {"value": 1}}, "scope.temperature"),
    ({"model": "m", "stop": ["x"]}, "scope.stop"),
]

MESSAGES: list[tuple[Any, str]] = [
    (MISSING, ""),
    (None, ""),
    ("q", ""),
    ({"role": "user", "content": "q"}, ""),
    (5, ""),
    ([], ""),
    (system("s"), ""),
    (system("s") + system("t"), ""),
    (user(""), ""),
    (user("  \n\t\u3000"), ""),
    (user("\0\u200b"), ""),
    (user("q") + user(""), ""),
    (user("q") + system(""), ""),
    (["q"], "[0]"),
    ([None], "[0]"),
    ([user("q")], "[0]"),
    ([{"content": "q"}], "[0].role"),
    ([{"role": None, "content": "q"}], "[0].role"),
    ([{"role": 5, "content": "q"}], "[0].role"),
    ([{"role": "user"}], "[0].content"),
    ([{"role": "user", "content": None}], "[0].content"),
    ([{"role": "user", "content": 5}], "[0].content"),
    ([{"role": "user", "content": {"text": "q"}}], "[0].content"),
    ([{"role": "user", "content": "\ud83d"}], "[0].content"),
    ([{"role": "user", "content": []}], ""),
    ([{"role": "user", "content": ["q"]}], "[0].content"),
    ([{"role": "user", "content": [{"type": "text"}]}], "[0].content"),
    ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "[0].content"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "[0].content"),
    (
        [{"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "input_audio"}]}],
        "[0].content",
    ),
    ([*user("q"), {"role": "user", "content": None}], "[1].content"),
    ([{"role": "assistant", "content": None, "tool_calls": TOOL_CALLS}], ""),
    ([{"role": "assistant", "content": None, "tool_calls": []}, *user("q")], "[0].content"),
]

CHAT_INFOS: list[tuple[Any, str]] = [
    (MISSING, "chat_info"),
    (None, "chat_info"),
    ([], "chat_info"),
    ({"query": user("q"), "answer": "a"}, "chat_info"),
    ("q", "chat_info"),
    ([None], "chat_info[0]"),
    (["q"], "chat_info[0]"),
    ([{"answer": "a"}], "chat_info[0].query"),
]

ELEMENT_FIELDS: dict[str, list[Any]] = {
    "answer": [MISSING, None, "", 5, 1.5, True, ["a"], {"text": "a"}, "\udc00"],
    "ttl": [0, 0.0, -1, -0.5, "60", True, [60], {}, 10**400],
    "tags": ["red", 5, {"red": 1}, [5], [None], [""], ["x" * 257], [["red"]]],
}

QUERY_FIELDS: dict[str, list[Any]] = {
    "threshold": [-0.1, 1.1, -1, 2, "0.9", True, [0.9], {}, 10**400],
    "top_k": [0, -1, 1.5, "5", True, [5], {}, 10**400],
}

REMOVE_FIELDS: dict[str, list[Any]] = {
    "remove_type": [MISSING, None, 5, ["delete_by_id"], {}],
    "id_list": [MISSING, None, 1, "1", {"1": 1}, ["1"], [1.5], [True], [None], [[1]], [1, "2"]],
    "tags": [MISSING, None, "red", [1], [""], {}],
}


def refused_cases() -> Iterator[Any]:
    """Give (request type, fields laid over a valid request, what the description must name)."""
    for request_type in VALID:
        for value, name in SCOPES:
            yield pytest.param(request_type, {"scope": value}, name, id=f"{request_type}-{shown(value)}")
    for value, path in MESSAGES:
        yield pytest.param("query", {"query": value}, f"query{path}", id=f"query-{shown(value)}")
        element = without_missing({"query": value, "answer": "a"})
        name = f"chat_info[0].query{path}"
        yield pytest.param("insert", {"chat_info": [element]}, name, id=f"chat_info-{shown(value)}")
    for value, name in CHAT_INFOS:
        yield pytest.param("insert", {"chat_info": value}, name, id=f"chat_info-{shown(value)}")
    for name, value in pairs(ELEMENT_FIELDS):
        element = without_missing({"query": user("q"), "answer": "a", name: value})
        fields: Json = {"chat_info": [element]}
        yield pytest.param("insert", fields, f"chat_info[0].{name}", id=f"{name}-{shown(value)}")
    for name, value in pairs(QUERY_FIELDS):
        yield pytest.param("query", {name: value}, name, id=f"{name}-{shown(value)}")
    for name, value in pairs(REMOVE_FIELDS):
        kind = "delete_by_tag" if name == "tags" else "delete_by_id"
        fields = {"remove_type": kind, name: value}
        yield pytest.param("remove", fields, name, id=f"{name}-{shown(value)}")


def pairs(table: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, values in table.items() for value in values)


def shown(value: Any) -> str:
    return ascii(value)[:60]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app for the many requests that must leave no trace."""
    app = create_app({"data_dir": tmp_path_factory.mktemp("refusing")}, embedder=HashEmbedder())
    yield app
    get_service(app).close()


@pytest.mark.parametrize(("request_type", "fields", "name"), list(refused_cases()))
def test_misshapen_field_is_refused_with_103_and_named(
    refusing: Flask, request_type: str, fields: Json, name: str
) -> None:
    reply = client_of(refusing).post(without_missing(VALID[request_type] | fields))
    assert_error(reply, 103, request_type)
    assert name in reply["errorDesc"]
    assert live_rows(refusing) == 0


@pytest.mark.parametrize(("request_type", "fields", "name"), list(refused_cases()))
def test_103_says_what_was_expected_in_words_of_the_contract(
    refusing: Flask, request_type: str, fields: Json, name: str
) -> None:
    description = client_of(refusing).post(without_missing(VALID[request_type] | fields))["errorDesc"]
    assert len(description) > len(name) + len(": ")
    assert "instance of" not in description, "this names a Python class"
    assert "a value" not in description, "this says nothing"


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "NaN"])
@pytest.mark.parametrize("field", ["threshold", "ttl", "temperature"])
def test_numbers_without_end_are_refused(client: CacheClient, field: str, literal: str) -> None:
    body = {
        "threshold": VALID["query"] | {"threshold": "@"},
        "ttl": VALID["insert"] | {"chat_info": [{"query": user("q"), "answer": "a", "ttl": "@"}]},
        "temperature": VALID["insert"] | {"scope": {"model": "m", "temperature": "@"}},
    }[field]
    reply = send(client, json.dumps(body).replace('"@"', literal))
    assert reply["errorCode"] == (101 if literal == "NaN" else 103)
    assert_miss(client.query("q"))


@pytest.mark.parametrize("remove_type", ["", "delete", "DELETE_BY_ID", "truncate_by_model ", "drop_all"])
def test_unknown_remove_type_is_refused_with_401(client: CacheClient, remove_type: str) -> None:
    client.insert(("q", "a"))
    assert_error(client.remove(remove_type, id_list=[1]), 401, "remove")
    assert is_hit(client.query("q"))


@pytest.mark.parametrize("model", ["m" * 256, "模" * 256, "😀" * 256, " ", "\0", "../../etc/passwd", "."])
def test_any_name_up_to_256_characters_is_a_model(client: CacheClient, model: str) -> None:
    assert client.register(model)["response"] == "create_success"
    client.insert(("q", "a"), model=model)
    assert client.query("q", model=model)["hit_type"] == "exact"
    assert client.query("q" + NEAR, model=model)["hit_type"] == "semantic"
    assert removed(client.remove("truncate_by_model", model=model)) == ("rebuild", 1)


# When something breaks.


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


def assert_nothing_internal(text: str) -> None:
    for word in INTERNALS:
        assert word not in text.lower()


FAULTS: list[tuple[str, str, int, str]] = [
    ("query", "scalars.find_exact", 201, "scalar store"),
    ("query", "scalars.get_live", 201, "scalar store"),
    ("query", "vectors.search", 201, "vector store"),
    ("query", "embedder.embed", 201, "embedder"),
    ("insert", "embedder.embed", 301, "embedder"),
    ("insert", "scalars.add", 302, "scalar store"),
    ("insert", "vectors.add", 302, "vector store"),
    ("insert", "scalars.activate", 302, "scalar store"),
    ("remove", "scalars.delete", 402, "scalar store"),
    ("register", "vectors.create", 502, "vector store"),
]


@pytest.fixture
def filled(app: Flask) -> Flask:
    """An app that holds two entries, and whose query finds the vectors of one."""
    client_of(app).insert(("q" + NEAR, "near"), ("kept", "b"))
    return app


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


@pytest.mark.parametrize("target", ["vectors.add", "scalars.activate"])
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


SURPRISE = ZeroDivisionError("x")
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
    ErrorCase(302, "insert", fault="scalars.add"),
    ErrorCase(302, "insert", fault="vectors.add"),
    ErrorCase(303, "insert", fault="scalars.add", failure=SURPRISE),
    ErrorCase(305, "insert", {"scope": {"model": "listed"}}),
    ErrorCase(401, "remove", {"remove_type": "unknown"}),
    ErrorCase(402, "remove", fault="scalars.delete"),
    ErrorCase(402, "remove", fault="scalars.delete", failure=SURPRISE),
    ErrorCase(413, "query", raw=LARGE, status=413),
    ErrorCase(502, "register", fault="vectors.create"),
    ErrorCase(502, "register", fault="vectors.create", failure=SURPRISE),
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
    assert codes <= {case.code for case in ERROR_CASES}


# What is recorded beside the replies.


def test_hits_are_counted(app: Flask, client: CacheClient) -> None:
    client.insert(("q", "a"), ("other", "b"))
    for text in ("q", "q" + NEAR, "q", "unlike"):
        client.query(text)
    rows = select(app, "SELECT answer, hit_count FROM modelcache_llm_answer ORDER BY id")
    assert rows == [("a", 3), ("b", 0)]


LOG = "SELECT error_code, error_desc, cache_hit, model, query, hit_query, answer FROM modelcache_query_log"


def test_query_log_tells_what_was_asked_and_answered(make_app: AppFactory) -> None:
    app = make_app(model_blacklist=("bad",))
    client = client_of(app)
    client.insert((system("s") + user("问?"), "答"), model="模型")
    client.query(system("s") + user("问?" + NEAR), model="模型")
    client.query("问?", model="模型")
    client.query("问?", model="bad")
    assert select(app, f"{LOG} ORDER BY id") == [
        (0, "", 1, "模型", f"system###s|||user###问?{NEAR}", "system###s|||user###问?", "答"),
        (0, "", 0, "模型", "user###问?", "", ""),
        (105, "model: bad in blacklist", 0, "bad", "user###问?", "", ""),
    ]


def test_query_log_tells_of_failures(filled: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(filled)
    break_method(monkeypatch, filled, "embedder.embed")
    client.query("q")
    break_method(monkeypatch, filled, "embedder.embed", failure=SURPRISE)
    client.query("q")
    assert select(filled, "SELECT error_code, cache_hit FROM modelcache_query_log ORDER BY id") == [
        (201, 0),
        (202, 0),
    ]


def test_query_log_has_the_time_that_a_query_took(app: Flask, client: CacheClient) -> None:
    client.query("q")
    [(seconds, created)] = select(app, "SELECT delta_time, gmt_create FROM modelcache_query_log")
    assert seconds > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", created)


def test_query_log_can_be_off(make_app: AppFactory) -> None:
    app = make_app(query_log=False)
    client = client_of(app)
    client.insert(("q", "a"))
    client.query("q")
    assert select(app, "SELECT COUNT(*) FROM modelcache_query_log") == [(0,)]
    assert select(app, "SELECT hit_count FROM modelcache_llm_answer") == [(1,)]


def test_refused_requests_are_not_logged(app: Flask, client: CacheClient) -> None:
    client.post({"type": "query", "scope": {"model": "m"}, "query": []})
    client.post({"type": "unknown"})
    assert select(app, "SELECT COUNT(*) FROM modelcache_query_log") == [(0,)]


def test_rows_keep_question_answer_and_model(app: Flask, cache: Cache, client: CacheClient) -> None:
    client.insert((system("s") + user("问 '?'"), "答\0"), model="模型 1")
    row = "SELECT question, answer, model, embedder FROM modelcache_llm_answer"
    assert select(app, row) == [("system###s|||user###问 '?'", "答\0", "模型 1", cache.embedder.name)]
