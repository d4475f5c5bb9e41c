"""Four workers past the size of a model under load: the size holds, and what is asked for stays."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from modelcache.records.names import model_key
from modelcache.testing.waiting import wait_until
from tests.support.client import Json, user
from tests.support.running import RunningService
from tests.support.servers import TOLD
from tests.support.store_servers import StoreServers, as_environment

pytestmark = pytest.mark.server

MODEL = "sized"
WORKERS = 4
MAX_SIZE, CLEAN_SIZE = 1000, 100
HOT = 100
INSERTED = 5000
INSERTERS = 4
ASKERS = 4
INSERTED_A_ROUND = 400
REQUEST_SIZES = (1, 5, 20, 50)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    servers = StoreServers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.stop()


class Load:
    """Clients of one service, and what they saw."""

    def __init__(self, service: RunningService, live_rows: Callable[[], int]) -> None:
        self.service = service
        self.live_rows = live_rows
        self.done = threading.Event()
        self.most_rows = 0
        self.misses: list[str] = []
        self.rounds = [0] * ASKERS
        self.inserted = 0

    def insert(self, http: requests.Session, *names: str) -> None:
        chat_info = [{"query": user(name), "answer": "a"} for name in names]
        self._post(http, {"type": "insert", "chat_info": chat_info})

    def insert_cold(self, worker: int) -> None:
        """Insert this worker's share in requests of mixed sizes."""
        chance = random.Random(worker)
        names = [f"cold {worker} {number}" for number in range(INSERTED // INSERTERS)]
        with requests.Session() as http:
            while names:
                size = chance.choice(REQUEST_SIZES)
                wait_until(self.may_insert, "all hot entries being asked for")
                self.insert(http, *names[:size])
                self.inserted += size
                del names[:size]

    def may_insert(self) -> bool:
        """Tell whether the hot entries were asked for often enough to be in use, however slow the machine."""
        return self.inserted < (min(self.rounds) + 1) * INSERTED_A_ROUND

    def ask_hot(self, part: int) -> None:
        """Ask for a part of the hot entries, one after the other, until all is inserted."""
        with requests.Session() as http:
            while not self.done.is_set():
                self.misses += [name for name in hot_names()[part::ASKERS] if not self.is_there(http, name)]
                self.rounds[part] += 1

    def is_there(self, http: requests.Session, name: str) -> bool:
        reply = self._post(http, {"type": "query", "query": user(name)})
        return bool(reply["hit_type"] == "exact")

    def watch(self) -> None:
        """Keep the largest number of live rows that was ever seen."""
        while not self.done.is_set():
            self.most_rows = max(self.most_rows, self.live_rows())

    def _post(self, http: requests.Session, body: Json) -> Json:
        body["scope"] = {"model": MODEL}
        reply: Json = http.post(f"{self.service.url}/modelcache", json=body, timeout=60).json()
        assert reply["errorCode"] == 0, reply
        return reply


def hot_names() -> list[str]:
    return [f"hot {number}" for number in range(HOT)]


@pytest.mark.parametrize("book", ["rows", "redis"])
def test_the_size_holds_under_load_and_what_is_asked_for_stays(
    servers: StoreServers, tmp_path: Path, book: str
) -> None:
    settings: dict[str, Any] = servers.settings("mysql", "milvus") | {
        "workers": WORKERS,
        "embedder": "hash",
        "max_size": MAX_SIZE,
        "clean_size": CLEAN_SIZE,
        "eviction_book": book,
    }
    if book == "redis":
        settings["redis_url"] = servers.redis().url
    service = RunningService(
        tmp_path, "-m", "tests.support.serve_workers", **as_environment(settings)
    ).wait_ready()
    with servers.mariadb().connect(settings["mysql_database"]) as connection, connection.cursor() as cursor:

        def live_rows() -> int:
            cursor.execute(
                "SELECT COUNT(*) FROM modelcache_llm_answer WHERE model_key = %s AND is_deleted = 0",
                [model_key(MODEL)],
            )
            return int(cursor.fetchone()[0])  # type: ignore[index]

        load = Load(service, live_rows)
        try:
            run(load)
        finally:
            assert service.terminate() == 0
    assert load.misses == []
    assert MAX_SIZE // 2 < load.most_rows <= MAX_SIZE + WORKERS * CLEAN_SIZE
    TOLD.append(f"eviction book {book}: at most {load.most_rows} live rows seen of a model limited to 1,000")


def run(load: Load) -> None:
    """Insert everything while the hot entries are asked for and the rows counted."""
    with requests.Session() as http, ThreadPoolExecutor(INSERTERS + ASKERS + 1) as pool:
        load.insert(http, *hot_names())
        beside = [pool.submit(load.watch), *(pool.submit(load.ask_hot, part) for part in range(ASKERS))]
        try:
            list(pool.map(load.insert_cold, range(INSERTERS)))
        finally:
            load.done.set()
            for each in beside:
                each.result()
        load.misses += [name for name in hot_names() if not load.is_there(http, name)]
