"""MySQL or Milvus gone, or answering late, under a running service: what clients get, and what is left."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pytest
from flask import Flask

from modelcache.app import create_app, get_service
from modelcache.errors import StoreError
from modelcache.manager.data_manager import SSDataManager
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from modelcache.testing.waiting import wait_until
from tests.support.client import CacheClient, Json
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.milvus import MilvusServer
from tests.support.store_servers import StoreServers
from tests.support.two_stores import answered, assert_both_stores_agree
from tests.support.wire import assert_error, assert_nothing_internal, removed

pytestmark = pytest.mark.server

LIMIT = 1.0
# Far more than the limit: only a hang takes so long, whatever else the machine does.
HANGS = 10 * LIMIT
SETTINGS = {"store_timeout": LIMIT, "breaker_failures": 3, "breaker_seconds": 1, "sweep_interval": 3600}
ROUNDS = 2
# Few models, since Milvus takes seconds to create a collection.
MODEL, TRUNCATED = "outages", "truncated in outages"
BATCH = 3
FAILED = {"query": 201, "insert": 302, "remove": 402}

Server = MariaDB | MilvusServer


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    # A Milvus that was paused for longer than its session lasts takes itself to be dead, and ends.
    servers = StoreServers(tmp_path_factory.mktemp("servers"), **{"common.session.ttl": 8})
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def app(servers: StoreServers) -> Iterator[Flask]:
    """One service for all outages, which is never restarted."""
    app = create_app(servers.settings("mysql", "milvus") | SETTINGS, embedder=HashEmbedder())
    yield app
    get_service(app).close()


@dataclass
class Told:
    """What the clients were told about entries of one model."""

    app: Flask
    model: str
    there: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unknown: list[list[str]] = field(default_factory=list)
    """Batches whose request failed: all there or all absent."""

    def __post_init__(self) -> None:
        self.client = CacheClient(self.app.test_client())
        self.ids: dict[str, int] = {}

    def query(self, name: str) -> Json:
        return self._checked("query", self.client.query(name, model=self.model))

    def insert(self, *names: str) -> Json:
        reply = self._checked(
            "insert", self.client.insert(*((name, "a") for name in names), model=self.model)
        )
        if reply["errorCode"] == 0:
            self.there += names
            self.ids |= dict(zip(names, reply["ids"], strict=True))
        else:
            self.unknown.append(list(names))
        return reply

    def insert_surely(self, *names: str) -> None:
        """Insert into servers that may still be busy with their return."""
        wait_until(lambda: self.insert(*names)["errorCode"] == 0, "an insert")
        self.unknown = [batch for batch in self.unknown if batch != list(names)]

    def delete(self, *names: str) -> Json:
        reply = self.client.remove("delete_by_id", self.model, id_list=[self.ids[name] for name in names])
        return self._removed(reply, names)

    def truncate(self) -> Json:
        reply = self.client.remove("truncate_by_model", self.model)
        return self._removed(reply, list(self.there))

    def check(self) -> None:
        """Compare all that was told with what is answered now, and both stores with each other."""
        assert answered(self.client, self.model, self.there) == [True] * len(self.there)
        assert answered(self.client, self.model, self.gone) == [False] * len(self.gone)
        for batch in self.unknown:
            assert len(set(answered(self.client, self.model, batch))) == 1
        assert_both_stores_agree(self.app, self.model)

    def _removed(self, reply: Json, names: Sequence[str]) -> Json:
        self.there = [name for name in self.there if name not in names]
        if self._checked("remove", reply)["errorCode"] == 0:
            assert removed(reply)
            self.gone += names
        else:
            self.unknown.append(list(names))
        return reply

    def _checked(self, request_type: str, reply: Json) -> Json:
        if reply["errorCode"]:
            assert_error(reply, FAILED[request_type], request_type)
        assert_nothing_internal(json.dumps(reply))
        return reply


@contextmanager
def killed(server: Server) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def paused(server: Server) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


@pytest.mark.parametrize("outage", [killed, paused])
@pytest.mark.parametrize("name", ["mariadb", "milvus"])
def test_an_outage_and_the_return(
    app: Flask, servers: StoreServers, name: str, outage: Callable[[Server], Any]
) -> None:
    server: Server = getattr(servers, name)()
    told, other = Told(app, MODEL), Told(app, TRUNCATED)
    prefix = f"{name} {outage.__name__}"
    other.insert_surely("0", "1")
    told.insert_surely("kept", "to sweep", *(f"old {number}" for number in range(ROUNDS)))
    told.delete("to sweep")
    manager = get_service(app).cache.data_manager
    with outage(server):
        for number in range(ROUNDS):
            started = monotonic()
            assert told.insert(*(f"{prefix} {number} {part}" for part in range(BATCH)))["errorCode"] == 302
            assert told.query(f"kept{NEAR}")["errorCode"] == 201
            rows_answer = name == "milvus"
            assert told.query("kept")["cacheHit"] is rows_answer
            assert (told.delete(f"old {number}")["errorCode"] == 0) is rows_answer
            with pytest.raises(StoreError):
                manager.sweep(everything=True)
            assert monotonic() - started < HANGS
        assert (other.truncate()["errorCode"] == 0) is rows_answer
    assert_comes_back(told)
    told.check()
    other.check()


def assert_comes_back(told: Told) -> None:
    """Wait until every part works again, without a restart of the service."""
    told.insert_surely("afterwards")
    wait_until(lambda: told.query(f"afterwards{NEAR}")["cacheHit"], "a hit by meaning")


STEPS = {
    "query": ["scalars.find_exact", "vectors.search", "scalars.get_live"],
    "insert": ["scalars.add", "vectors.add", "scalars.activate"],
    "delete": ["scalars.delete"],
    "truncate": ["scalars.truncate"],
    "sweep": ["scalars.dead_counts", "vectors.delete", "scalars.purge"],
}


@contextmanager
def before(manager: SSDataManager, step: str, action: Callable[[], None]) -> Iterator[None]:
    """Do something right before a step such as ``scalars.add`` reaches its store for the first time."""
    store, method = step.split(".")
    guarded: Any = getattr(manager, store)
    inner = guarded.proxied
    original = getattr(inner, method)
    pending = [action]

    def delayed(*args: Any, **kwargs: Any) -> Any:
        if pending:
            pending.pop()()
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inner, method, delayed)
        yield


@pytest.mark.parametrize("is_patient", [True, False], ids=["in time", "too late"])
@pytest.mark.parametrize("operation", STEPS)
def test_an_answer_that_is_late(app: Flask, servers: StoreServers, operation: str, is_patient: bool) -> None:
    told = Told(app, TRUNCATED if operation == "truncate" else MODEL)
    manager = get_service(app).cache.data_manager
    for step in STEPS[operation]:
        server: Server = servers.mariadb() if step.startswith("scalars") else servers.milvus()
        told.insert_surely("kept", "swept", "old")
        told.delete("swept")
        resuming = threading.Timer(LIMIT / 5, server.resume)

        def pause(server: Server = server, resuming: threading.Timer = resuming) -> None:
            server.pause()
            if is_patient:
                resuming.start()

        with before(manager, step, pause):
            started = monotonic()
            succeeded = run(
                told, manager, operation, *(f"{step} {is_patient} {part}" for part in range(BATCH))
            )
        assert monotonic() - started < HANGS
        server.resume()
        assert succeeded is is_patient, step
    assert_comes_back(told)
    told.check()


def run(told: Told, manager: SSDataManager, operation: str, *names: str) -> bool:
    """Return whether the operation succeeded."""
    match operation:
        case "query":
            return bool(told.query(f"kept{NEAR}")["errorCode"] == 0)
        case "insert":
            return bool(told.insert(*names)["errorCode"] == 0)
        case "delete":
            return bool(told.delete("old")["errorCode"] == 0)
        case "truncate":
            return bool(told.truncate()["errorCode"] == 0)
    try:
        manager.sweep(everything=True)
    except StoreError:
        return False
    return True
