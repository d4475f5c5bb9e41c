"""Several workers on MySQL and Milvus, as a platform team runs them, with the bundled embedder."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from modelcache.testing.waiting import wait_until
from tests.processes.test_published_clients import (
    INSERT_SNIPPET,
    PUBLISHED_ANSWER,
    QUERY_SNIPPET,
    REMOVE_SNIPPET,
    run_snippet,
)
from tests.support.client import Json, user
from tests.support.processes import children, is_running
from tests.support.running import RunningService
from tests.support.store_servers import StoreServers, as_environment

pytestmark = pytest.mark.server

WORKERS = 4
# Each request on a connection of its own is taken by any of the workers: so many meet all of them.
ASKED = 24


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    servers = StoreServers(tmp_path_factory.mktemp("servers"))
    settings: dict[str, Any] = servers.settings("mysql", "milvus")
    settings |= {"workers": WORKERS, "embedder": "e5", "sweep_interval": 0.5, "sweep_share": 0.0}
    settings |= {"max_size": 50, "clean_size": 10}
    yield as_environment(settings)
    servers.stop()


@pytest.fixture(scope="module")
def service(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    service = RunningService(tmp_path_factory.mktemp("data"), "flask4modelcache.py", **environ).wait_ready()
    wait_until(lambda: all(asked_of_all(service, is_ready)), "all workers being ready")
    yield service
    assert service.terminate() == 0


def is_ready(service: RunningService) -> bool:
    return requests.get(f"{service.url}/ready", timeout=60).status_code == 200


def asked_of_all(service: RunningService, ask: Any, *arguments: Any) -> list[Any]:
    """Ask on many connections at once, so that every worker has to answer."""
    with ThreadPoolExecutor(ASKED) as pool:
        done = [pool.submit(ask, service, *arguments) for _ in range(ASKED)]
        return [each.result() for each in done]


def query(service: RunningService, text: str, model: str) -> Json:
    body = {"type": "query", "scope": {"model": model}, "query": user(text)}
    reply: Json = requests.post(f"{service.url}/modelcache", json=body, timeout=60).json()
    return reply


def test_the_published_clients_are_answered(service: RunningService) -> None:
    assert run_snippet(INSERT_SNIPPET, service)["writeStatus"] == "success"
    assert run_snippet(QUERY_SNIPPET, service)["errorCode"] == 0
    run_snippet(INSERT_SNIPPET.replace("你是谁?", "Who are you?"), service)
    assert run_snippet(QUERY_SNIPPET, service)["answer"] == PUBLISHED_ANSWER
    assert run_snippet(REMOVE_SNIPPET, service)["response"]["ScalarDB"] == "delete_count: 2"
    assert not run_snippet(QUERY_SNIPPET, service)["cacheHit"]


def test_what_one_inserted_all_answer_and_what_one_removed_none_does(service: RunningService) -> None:
    pairs = [("怎么重置密码?", "按按钮。"), ("营业时间?", "九点。")]
    for number in range(3):
        model = f"shared {number}"
        kept, removed = service.insert(pairs, model)["ids"]
        assert found_by_all(service, "怎么重置密码?", model) == {kept}
        # Under Session consistency a worker sees the vectors of another one a little later.
        wait_until(partial(all_find, service, "怎么重置密码", model, kept), "a hit by meaning on all")
        service.remove("delete_by_id", model, id_list=[removed])
        assert found_by_all(service, "营业时间?", model) == {None}
        service.remove("truncate_by_model", model)
        for text in ("怎么重置密码?", "怎么重置密码"):
            assert found_by_all(service, text, model) == {None}


def all_find(service: RunningService, text: str, model: str, hit_id: int) -> bool:
    found = found_by_all(service, text, model)
    assert found <= {hit_id, None}
    return found == {hit_id}


def found_by_all(service: RunningService, text: str, model: str) -> set[int | None]:
    """Return the ids that the workers answer with."""
    return {reply["hit_id"] for reply in asked_of_all(service, query, text, model)}


def test_equal_questions_inserted_by_all_at_once_leave_one_answer(service: RunningService) -> None:
    def insert(service: RunningService) -> int:
        chat_info = [{"query": user("the same question"), "answer": "an answer"}]
        body = {"type": "insert", "scope": {"model": "same"}, "chat_info": chat_info}
        reply = requests.post(f"{service.url}/modelcache", json=body, timeout=60).json()
        assert reply["errorCode"] == 0, reply
        [id_] = reply["ids"]
        assert isinstance(id_, int)
        return id_

    ids = asked_of_all(service, insert)
    assert len(set(ids)) == ASKED
    assert len(found_by_all(service, "the same question", "same")) == 1
    assert service.remove("truncate_by_model", "same")["response"]["ScalarDB"] == "delete_count: 1"


def test_the_size_holds_for_all_workers_together(service: RunningService, environ: dict[str, str]) -> None:
    def insert(service: RunningService, worker: int) -> None:
        with requests.Session() as http:
            for number in range(10):
                chat_info = [{"query": user(f"worker {worker} question {number}"), "answer": "a"}]
                body = {"type": "insert", "scope": {"model": "sized"}, "chat_info": chat_info}
                assert http.post(f"{service.url}/modelcache", json=body, timeout=60).json()["errorCode"] == 0

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda worker: insert(service, worker), range(16)))
    removed = service.remove("truncate_by_model", "sized")["response"]["ScalarDB"]
    assert 0 < int(removed.removeprefix("delete_count: ")) <= 50 + WORKERS * 10


def test_a_worker_that_was_killed_is_replaced(service: RunningService) -> None:
    killed = children(service.process.pid)[0]
    os.kill(killed, signal.SIGKILL)

    def are_all_there() -> bool:
        there = children(service.process.pid)
        return len(there) == WORKERS and killed not in there

    wait_until(are_all_there, "another worker taking its place")
    assert all(asked_of_all(service, is_ready))


def test_no_worker_outlives_the_process_that_started_them(environ: dict[str, str], tmp_path: Path) -> None:
    service = RunningService(tmp_path, "flask4modelcache.py", **environ).wait_ready()
    wait_until(lambda: len(children(service.process.pid)) == WORKERS, "all workers being started")
    workers = children(service.process.pid)
    service.process.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, workers)), "the end of the workers")
    service.wait()


def test_a_store_of_one_process_is_refused_for_several(tmp_path: Path) -> None:
    process = RunningService.started(
        tmp_path, "flask4modelcache.py", MODELCACHE_VECTOR_STORE="faiss", MODELCACHE_SCALAR_STORE="sqlite"
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "set MODELCACHE_WORKERS=1" in errors
    assert "Traceback" not in errors


def test_databases_that_are_not_there_are_told_in_a_sentence(tmp_path: Path) -> None:
    process = RunningService.started(
        tmp_path,
        "flask4modelcache.py",
        MODELCACHE_MYSQL_PORT="1",
        MODELCACHE_MILVUS_URI="http://127.0.0.1:1",
        MODELCACHE_EMBEDDER="e5",
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "modelcache cannot start: " in errors
    assert "Traceback" not in errors
