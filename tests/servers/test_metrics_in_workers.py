"""``GET /metrics`` of four workers: whichever is scraped, it tells of all."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from modelcache.testing.waiting import wait_until
from tests.scraping import Scraped
from tests.support.client import user
from tests.support.processes import children
from tests.support.running import RunningService, all_at_once
from tests.support.store_servers import StoreServers, as_environment

pytestmark = pytest.mark.server

WORKERS = 4
CALLERS = 8
ASKED = 25
REQUESTS = "modelcache_requests_total"
INSERTS = "modelcache_inserts_total"
LOOKUPS = "modelcache_lookup_duration_seconds_count"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("metrics")
    servers = StoreServers(folder)
    settings = servers.settings("mysql", "redis") | {"workers": WORKERS, "embedder": "hash"}
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = as_environment(settings) | {"TMPDIR": str(temporary)}
    service = RunningService(folder / "data", "-m", "tests.support.serve_workers", **environment).wait_ready()
    wait_until(lambda: len(children(service.process.pid)) == WORKERS, "all workers")
    yield service
    assert service.terminate() == 0
    servers.stop()
    # Nothing is left of what they kept.
    assert not list(temporary.iterdir())


def scrape(service: RunningService) -> Scraped:
    # A connection of its own: any of the workers may answer.
    return Scraped(requests.get(f"{service.url}/metrics", timeout=60).text)


def ask(service: RunningService, caller: int) -> int:
    """Send mixed requests, each over a connection of its own; returns how many were queries."""
    queries = 0
    for number in range(ASKED):
        text = f"q{(caller + number) % 7}"
        body = {"type": "query", "scope": {"model": "m"}, "query": user(text)}
        if number % 5 == 4:
            chat_info = [{"query": user(text), "answer": "a"}]
            body = {"type": "insert", "scope": {"model": "m"}, "chat_info": chat_info}
        else:
            queries += 1
        reply = requests.post(f"{service.url}/modelcache", json=body, timeout=60).json()
        assert reply["errorCode"] == 0
    return queries


def test_the_sum_over_all_workers_is_what_was_asked(service: RunningService) -> None:
    before = scrape(service)
    sent: list[object] = all_at_once(*(lambda n=n: ask(service, n) for n in range(CALLERS)))
    queries = sum(one for one in sent if isinstance(one, int))
    assert queries == CALLERS * 20

    asked = {REQUESTS: queries, INSERTS: CALLERS * 5, LOOKUPS: queries}

    def counted() -> dict[str, float]:
        now = scrape(service)
        return {name: now.value(name) - before.value(name) for name in asked}

    wait_until(lambda: counted() == asked, "all requests being counted")
    for _ in range(2 * WORKERS):
        assert counted() == asked


def test_what_a_worker_counted_stays_when_it_dies(service: RunningService) -> None:
    before = scrape(service).value(REQUESTS) + 1
    service.query("q")
    wait_until(lambda: scrape(service).value(REQUESTS) == before, "the query being counted")
    [victim, *others] = children(service.process.pid)
    os.kill(victim, signal.SIGKILL)

    def is_replaced() -> bool:
        now = children(service.process.pid)
        return victim not in now and len(now) == WORKERS

    wait_until(is_replaced, "another worker")
    assert scrape(service).value(REQUESTS) == before
    assert set(others) <= set(children(service.process.pid))
    [folder] = (Path(service_temporary(service))).iterdir()
    assert not list(folder.glob(f"gauge_live*_{victim}.db"))
    assert list(folder.glob(f"counter_{victim}.db"))


def service_temporary(service: RunningService) -> str:
    """Return the folder that the service makes temporary files in."""
    environ = Path(f"/proc/{service.process.pid}/environ").read_bytes().split(b"\0")
    [temporary] = [one for one in environ if one.startswith(b"TMPDIR=")]
    return temporary.removeprefix(b"TMPDIR=").decode()
