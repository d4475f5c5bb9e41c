"""A line of JSON for each request."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from modelcache.access_log import AccessLog
from modelcache.access_log import logger as access_logger
from modelcache.app import get_service
from modelcache.testing.waiting import wait_until
from modelcache.watching import Seen
from tests.conftest import AppFactory
from tests.service.test_langcache import LangCacheClient
from tests.support.client import CacheClient
from tests.support.gateway_client import GatewayClient, chat_body, headers_of
from tests.support.running import RunningService
from tests.support.upstream import Upstream

QUESTION = "how do I reset the vault password"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def app(make_app: AppFactory, upstream: Upstream) -> Flask:
    return make_app(
        access_log="json",
        upstream_url=upstream.url,
        lookup_deadline_ms=5000,
        langcache=True,
        gptcache_model="g",
    )


@pytest.fixture
def lines(app: Flask, capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return what has been written, once the service is closed."""

    def read() -> list[dict[str, Any]]:
        get_service(app).close()
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read


def told(line: dict[str, Any], *names: str) -> list[Any]:
    return [line[name] for name in names]


def test_every_request_is_a_line(app: Flask, lines: Lines) -> None:
    client, http = CacheClient(app.test_client()), app.test_client()
    client.insert((QUESTION, "a"))
    client.query(QUESTION)
    client.query("other")
    client.post({"type": "query"})
    # A request is over once its reply is read to the end and closed.
    LangCacheClient(app).call("POST", "/entries/search", {"prompt": "q"}).close()
    http.post("/get", json={"prompt": "q"}, buffered=True)
    http.get("/ready", buffered=True)
    http.get("/nothing", buffered=True)
    written = lines()
    assert [
        told(one, "method", "path", "status", "api", "model", "outcome", "hit_type") for one in written
    ] == [
        ["POST", "/modelcache", 200, "modelcache", "m", "stored", ""],
        ["POST", "/modelcache", 200, "modelcache", "m", "hit", "exact"],
        ["POST", "/modelcache", 200, "modelcache", "m", "miss", ""],
        ["POST", "/modelcache", 200, "modelcache", "", "error", ""],
        ["POST", "/v1/caches/c/entries/search", 200, "langcache", "c", "miss", ""],
        ["POST", "/get", 200, "gptcache", "g", "miss", ""],
        ["GET", "/ready", 200, "", "", "", ""],
        ["GET", "/nothing", 404, "", "", "", ""],
    ]
    assert written[3]["reason"] == "103"
    assert all(one["milliseconds"] > 0 for one in written)
    assert len({one["request_id"] for one in written}) == len(written)
    assert "vault" not in json.dumps(written)


def test_the_gateway_is_logged_to_the_end_of_its_streams(app: Flask, lines: Lines) -> None:
    gateway = GatewayClient(app.test_client())
    replies = [gateway.ask(QUESTION, stream=True), gateway.ask(QUESTION), gateway.ask("q", n=2)]
    written = lines()
    assert [told(one, "status", "api", "model", "outcome", "hit_type", "reason") for one in written] == [
        [200, "gateway", "m", "miss", "", ""],
        [200, "gateway", "m", "hit", "exact", ""],
        [200, "gateway", "m", "bypass", "", "n"],
    ]
    assert [one["request_id"] for one in written] == [
        reply.headers["x-modelcache-request-id"] for reply in replies
    ]


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [("trace-1.a:b", True), ("x" * 128, True), ("x" * 129, False), ('"}{', False), ("", False)],
    ids=["plain", "longest", "too long", "signs", "empty"],
)
def test_a_request_may_bring_its_id(app: Flask, lines: Lines, given: str, is_taken: bool) -> None:
    reply = app.test_client().get("/health", headers={"X-Request-Id": given}, buffered=True)
    [line] = lines()
    assert reply.headers["x-modelcache-request-id"] == line["request_id"]
    assert (line["request_id"] == given) == is_taken
    assert line["request_id"]


def test_questions_are_written_where_that_is_asked_for(
    make_app: AppFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(access_log="json", access_log_questions=True)
    CacheClient(app.test_client()).query(QUESTION)
    get_service(app).close()
    [line] = map(json.loads, capsys.readouterr().out.splitlines())
    assert QUESTION in line["question"]


def test_without_the_setting_nothing_is_written(app: Flask, make_app: AppFactory, tmp_path: Path) -> None:
    quiet = make_app(data_dir=tmp_path / "quiet")
    reply = quiet.test_client().get("/health")
    assert "x-modelcache-request-id" not in reply.headers


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_log_that_nobody_reads_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog(Broken())
    log.open()
    log.tell(Seen("id", "GET", "/"))
    with caplog.at_level("WARNING", access_logger.name):
        log.close()
    assert log.dropped
    assert "dropped" in caplog.text


def test_half_a_character_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    log.open()
    log.tell(Seen("id", "GET", "/", model="\ud800"))
    log.close()
    assert json.loads(stream.getvalue())["model"] == "\ud800"


@pytest.mark.process
def test_the_real_server_logs_what_is_answered_on_other_threads(tmp_path: Path, upstream: Upstream) -> None:
    service = RunningService(
        tmp_path,
        MODELCACHE_ACCESS_LOG="json",
        MODELCACHE_UPSTREAM_URL=upstream.url,
        MODELCACHE_LOOKUP_DEADLINE_MS="10000",
    ).wait_ready()
    ids = []
    for stream in (True, False):
        for _ in range(2):
            reply = requests.post(
                f"{service.url}/v1/chat/completions",
                json=chat_body(f"q {stream}", stream=stream),
                headers=headers_of(),
                timeout=60,
            )
            assert reply.ok
            ids.append(reply.headers["x-modelcache-request-id"])
    service.process.terminate()
    out, _ = service.process.communicate(timeout=60)
    service.http.close()
    written = {line["request_id"]: line for line in map(json.loads, out.splitlines())}
    assert [told(written[one], "status", "outcome") for one in ids] == [
        [200, "miss"],
        [200, "hit"],
        [200, "miss"],
        [200, "hit"],
    ]
    wait_until(lambda: service.process.returncode == 0, "its end")
