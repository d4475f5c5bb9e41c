"""The gateway in a service of its own: streams as they flow, callers that go away, threads that wait."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from modelcache.testing.waiting import wait_until
from tests.support.gateway_client import CHAT, chat_body, headers_of
from tests.support.running import RunningService, all_at_once
from tests.support.upstream import Script, Upstream

pytestmark = pytest.mark.process


def started(data_dir: Path, upstream: Upstream, **environ: str) -> RunningService:
    environ = {"MODELCACHE_LOOKUP_DEADLINE_MS": "5000"} | environ
    return RunningService(data_dir, MODELCACHE_UPSTREAM_URL=upstream.url, **environ).wait_ready()


@pytest.fixture
def service(tmp_path: Path, upstream: Upstream) -> Iterator[RunningService]:
    service = started(tmp_path, upstream)
    yield service
    assert service.terminate() == 0


def ask(service: RunningService, text: str, **more: Any) -> requests.Response:
    stream = bool(more.get("stream"))
    return requests.post(
        service.url + CHAT, json=chat_body(text, **more), headers=headers_of(), stream=stream, timeout=30
    )


def test_a_stream_flows_as_the_server_behind_sends_it(service: RunningService, upstream: Upstream) -> None:
    upstream.script.seconds = 0.2
    reply = ask(service, "a question", stream=True)
    at = [monotonic() for _ in reply.iter_lines()]
    assert at[-1] - at[0] > 0.8


def test_the_body_of_a_stream_is_what_the_server_behind_sent(
    service: RunningService, upstream: Upstream
) -> None:
    body = chat_body("a question", stream=True)
    through, straight = (
        requests.post(url, json=body, headers=headers_of(), timeout=30).content.replace(
            b"chatcmpl-2", b"chatcmpl-1"
        )
        for url in (service.url + CHAT, upstream.url + "/chat/completions")
    )
    assert through == straight


def test_a_stream_that_is_cut_ends_with_an_error(service: RunningService, upstream: Upstream) -> None:
    upstream.script.fault = "cut"
    lines = ask(service, "q", stream=True).content.decode().split("\n\n")
    assert json.loads(lines[-2].removeprefix("data: "))["error"]["code"] == "upstream_broke_off"


def left_in_a_stream(service: RunningService) -> None:
    reply = ask(service, "a question of some length", stream=True)
    next(reply.iter_content(None))
    reply.close()


def test_a_stream_whose_caller_goes_away_is_finished_and_kept(
    service: RunningService, upstream: Upstream
) -> None:
    upstream.script.seconds = 0.05
    left_in_a_stream(service)
    sleep(1.5)
    assert ask(service, "a question of some length").headers["x-modelcache"] == "hit"
    assert not upstream.left.is_set()


def test_a_stream_whose_caller_goes_away_is_cut_where_that_is_set(tmp_path: Path, upstream: Upstream) -> None:
    service = started(tmp_path, upstream, MODELCACHE_GATEWAY_ABANDONED="cut")
    upstream.script.seconds = 0.05
    left_in_a_stream(service)
    assert upstream.left.wait(10)
    upstream.script = Script()
    assert ask(service, "a question of some length").headers["x-modelcache"] == "miss"
    assert service.terminate() == 0


def test_live_streams_take_no_thread_of_those_that_look_up(tmp_path: Path, upstream: Upstream) -> None:
    service = started(tmp_path, upstream, MODELCACHE_THREADS="2", MODELCACHE_GATEWAY_THREADS="8")
    service.insert([("known", "a")])
    ask(service, "kept")
    upstream.script.seconds = 0.2

    def look_up() -> list[Any]:
        sleep(0.5)
        started = monotonic()
        hits = [service.query("known")["cacheHit"] for _ in range(5)]
        gateway_hit = ask(service, "kept").headers["x-modelcache"]
        full = ask(service, "one too many")
        return [hits, gateway_hit, full.status_code, full.headers["retry-after"], monotonic() - started]

    streams = [lambda n=n: ask(service, f"live {n}", stream=True).content for n in range(8)]
    told: Any = all_at_once(*streams, look_up)
    *bodies, (hits, gateway_hit, status, retry_after, seconds) = told
    assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
    assert (hits, gateway_hit, status, retry_after) == ([True] * 5, "hit", 429, "1")
    assert seconds < 1
    assert service.terminate() == 0


def test_a_stream_in_flight_is_answered_before_the_service_ends(tmp_path: Path, upstream: Upstream) -> None:
    service = started(tmp_path, upstream)
    upstream.script.seconds = 0.2
    reply = ask(service, "q", stream=True)
    service.process.terminate()
    assert reply.content.endswith(b"data: [DONE]\n\n")
    assert service.wait() == 0


def test_large_bodies_pass_through_the_gateway_only(service: RunningService, upstream: Upstream) -> None:
    large = b"x" * 3_000_000
    reply = requests.post(service.url + "/v1/files", data=large, timeout=30)
    assert len(reply.json()["echo"]) == len(large)
    assert requests.post(service.url + "/modelcache", data=large, timeout=30).status_code == 413


def test_a_reply_that_breaks_off_is_not_taken_for_whole(service: RunningService, upstream: Upstream) -> None:
    upstream.script.fault = "cut"
    reply = ask(service, "q")
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_broke_off")


def test_connections_are_kept_and_heads_are_sound(service: RunningService, upstream: Upstream) -> None:
    where = urlsplit(service.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 0, timeout=10)
    for stream in (False, True, False, True):
        body = json.dumps(chat_body("q", stream=stream)).encode()
        connection.request("POST", CHAT, body, headers_of(Content_Type="application/json"))
        reply = connection.getresponse()
        names = [name.lower() for name, _ in reply.getheaders()]
        assert len(names) == len(set(names))
        assert reply.status == 200
        assert reply.read()
    connection.close()


def test_the_service_answers_through_the_gateway_while_it_starts(tmp_path: Path, upstream: Upstream) -> None:
    service = RunningService(tmp_path, MODELCACHE_UPSTREAM_URL=upstream.url)
    wait_until(lambda: ask(service, "q").status_code == 200, "an answer")
    assert service.wait_ready().terminate() == 0
