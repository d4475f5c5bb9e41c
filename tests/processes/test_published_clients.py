"""The published clients, unmodified, against the demo as it ships."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.client import Json, user
from tests.support.running import RunningService
from tests.support.wire import (
    INSERT_KEYS,
    QUERY_KEYS,
    VALID,
    assert_error,
    assert_miss,
    system,
)

pytestmark = pytest.mark.process

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
        ("POST /modelcache HTTP/1.1\r\nHost: x\r\nNote: " + "x" * 300_000 + "\r\n", 431),
    ],
    ids=["endless body", "endless header"],
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
