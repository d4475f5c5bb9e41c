"""The gateway in several workers: a stampede of equal questions asks the server behind once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.gateway_client import CHAT, chat_body, headers_of
from tests.support.running import RunningService, all_at_once
from tests.support.store_servers import StoreServers, as_environment
from tests.support.upstream import Upstream

pytestmark = pytest.mark.server

WORKERS = 4
CALLERS = 50


@pytest.fixture
def service(tmp_path: Path, upstream: Upstream) -> Iterator[RunningService]:
    servers = StoreServers(tmp_path)
    settings: dict[str, Any] = servers.settings("mysql", "milvus")
    settings |= {"workers": WORKERS, "embedder": "hash", "upstream_url": upstream.url}
    settings |= {"lookup_deadline_ms": 10_000}
    service = RunningService(
        tmp_path / "data", "-m", "tests.support.serve_workers", **as_environment(settings)
    ).wait_ready()
    yield service
    assert service.terminate() == 0
    servers.stop()


def ask(service: RunningService, text: str, stream: bool) -> requests.Response:
    body = chat_body(text, stream=stream)
    return requests.post(service.url + CHAT, json=body, headers=headers_of(), timeout=120)


def test_a_stampede_asks_once(service: RunningService, upstream: Upstream) -> None:
    # Making a model's collection takes seconds, for which nobody here is to wait.
    all_at_once(*(lambda n=n: ask(service, f"first {n}", False) for n in range(WORKERS)))
    upstream.calls.clear()
    upstream.script.seconds = 0.3
    replies: Any = all_at_once(*(lambda n=n: ask(service, "q", n % 2 == 0) for n in range(CALLERS)))
    assert [reply.status_code for reply in replies] == [200] * CALLERS
    assert all("You" in reply.text for reply in replies)
    assert len(upstream.calls) == 1
    told = [reply.headers["x-modelcache"] for reply in replies]
    assert told.count("hit") == CALLERS - 1
