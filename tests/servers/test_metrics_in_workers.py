"""``GET /metrics`` and ``/admin/stats`` of four workers: whichever is asked, it tells of all."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from modelcache.testing.waiting import wait_until
from tests.support.client import user
from tests.support.processes import children
from tests.support.running import RunningService, all_at_once
from tests.support.scraping import Scraped
from tests.support.store_servers import StoreServers, as_environment

pytestmark = pytest.mark.server

WORKERS = 4
CALLERS = 8
ASKED = 1250
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
    """Send mixed requests; returns how many were queries."""
    queries = 0
    session = requests.Session()
    for number in range(ASKED):
        text = f"q{(caller + number) % 7}"
        body = {"type": "query", "scope": {"model": "m"}, "query": user(text)}
        if number % 5 == 4:
            chat_info = [{"query": user(text), "answer": "a"}]
            body = {"type": "insert", "scope": {"model": "m"}, "chat_info": chat_info}
        else:
            queries += 1
        reply = session.post(f"{service.url}/modelcache", json=body, timeout=60).json()
        assert reply["errorCode"] == 0
        if number % 50 == 49:
            # The next connection may be another worker's.
            session.close()
            session = requests.Session()
    session.close()
    return queries


def statistics(service: RunningService) -> dict[str, int]:
    total = requests.get(f"{service.url}/admin/stats", timeout=60).json()["total"]
    return {name: total[name] for name in ("queries", "hits", "misses", "inserted")}


def test_the_sum_over_all_workers_is_what_was_asked(service: RunningService) -> None:
    before, before_today = scrape(service), statistics(service)
    sent: list[object] = all_at_once(*(lambda n=n: ask(service, n) for n in range(CALLERS)))
    queries = sum(one for one in sent if isinstance(one, int))
    assert queries == CALLERS * ASKED * 4 // 5

    asked = {REQUESTS: queries, INSERTS: CALLERS * ASKED // 5, LOOKUPS: queries}

    def counted() -> dict[str, float]:
        now = scrape(service)
        return {name: now.value(name) - before.value(name) for name in asked}

    wait_until(lambda: counted() == asked, "all requests being counted")
    for _ in range(2 * WORKERS):
        assert counted() == asked

    def counted_today() -> dict[str, int]:
        return {name: value - before_today[name] for name, value in statistics(service).items()}

    hits = scrape(service).value(REQUESTS, outcome="hit") - before.value(REQUESTS, outcome="hit")
    same = {"queries": queries, "hits": hits, "misses": queries - hits, "inserted": CALLERS * ASKED // 5}
    wait_until(lambda: counted_today() == same, "the statistics saying the same")


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
