"""The whole service on pairs of stores: what a client is promised holds on all of them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask

from modelcache.app import create_app, get_service
from modelcache.manager.names import collection_name
from modelcache.records.names import model_key
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.support.client import CacheClient
from tests.support.store_servers import StoreServers

pytestmark = pytest.mark.server

PAIRS = [
    ("sqlite", "faiss"),
    ("sqlite", "chroma"),
    ("mysql", "milvus"),
    ("oceanbase", "milvus"),
    ("mysql", "redis"),
    ("mysql", "chroma over HTTP"),
]

Start = Callable[[], Flask]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    servers = StoreServers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.stop()


@pytest.fixture(params=PAIRS, ids=["+".join(pair) for pair in PAIRS])
def settings(request: pytest.FixtureRequest, servers: StoreServers, tmp_path: Path) -> dict[str, Any]:
    return servers.settings(*request.param) | {"data_dir": tmp_path, "sweep_interval": 3600}


@pytest.fixture
def start(settings: dict[str, Any]) -> Iterator[Start]:
    """Start services on the same stores; all are closed at the end."""
    apps: list[Flask] = []

    def start() -> Flask:
        apps.append(create_app(settings, embedder=HashEmbedder()))
        return apps[-1]

    yield start
    for app in apps:
        get_service(app).close()


@pytest.fixture
def model() -> str:
    """A name that no other test has used: servers are shared."""
    return f"模型 {uuid4()}"


def test_a_day_in_the_life_of_a_model(start: Start, model: str) -> None:
    app = start()
    client = CacheClient(app.test_client())
    assert client.register(model)["response"] == "create_success"
    assert client.register(model)["response"] == "already_exists"
    ids = client.insert(("你是谁? 😀", "A"), ("b", "B"), ("c", "C"), model=model, tags=["t"])["ids"]
    assert client.query("你是谁? 😀", model=model)["hit_type"] == "exact"
    assert client.query("你是谁? 😀" + NEAR, model=model)["answer"] == "A"
    assert client.query("b" + NEAR, model=model)["hit_type"] == "semantic"
    assert client.query("b" + NEAR, model=model, scope={"temperature": 1})["cacheHit"] is False
    assert client.query("b" + NEAR, model=model + " ")["cacheHit"] is False

    client.insert(("b", "newer"), model=model)
    assert client.query("b" + NEAR, model=model)["answer"] == "newer"
    assert (
        client.remove("delete_by_id", model=model, id_list=ids)["response"]["ScalarDB"] == "delete_count: 2"
    )
    for question in ("你是谁? 😀", "c"):
        assert not client.query(question, model=model)["cacheHit"]
        assert not client.query(question + NEAR, model=model)["cacheHit"]
    assert client.query("b" + NEAR, model=model)["answer"] == "newer"

    client.insert(("tagged", "T"), model=model, tags=["gone"])
    removed = client.remove("delete_by_tag", model=model, tags=["gone"])["response"]
    assert removed["ScalarDB"] == "delete_count: 1"
    assert not client.query("tagged" + NEAR, model=model)["cacheHit"]
    assert client.remove("truncate_by_model", model=model)["response"]["ScalarDB"] == "delete_count: 1"
    assert not client.query("b" + NEAR, model=model)["cacheHit"]
    client.insert(("after", "X"), model=model)
    assert client.query("after" + NEAR, model=model)["answer"] == "X"


def test_after_sweeping_both_stores_agree(start: Start, model: str) -> None:
    app = start()
    client, manager = CacheClient(app.test_client()), get_service(app).cache.data_manager
    collection = collection_name(model, "hash-v1")
    ids = client.insert(*((f"q{number}", "a") for number in range(20)), model=model)["ids"]
    client.remove("delete_by_id", model=model, id_list=ids[:5])
    manager.sweep(everything=True)
    assert sorted(manager.vectors.ids(collection).tolist()) == ids[5:]
    assert len(manager.scalars.uses(model_key(model))) == 15

    client.remove("truncate_by_model", model=model)
    [later] = client.insert(("later", "a"), model=model)["ids"]
    manager.sweep(everything=True)
    assert manager.vectors.ids(collection).tolist() == [later]
    assert client.query("later" + NEAR, model=model)["cacheHit"]


def test_lost_and_stray_vectors_are_put_right(start: Start, model: str) -> None:
    app = start()
    client, manager = CacheClient(app.test_client()), get_service(app).cache.data_manager
    collection = collection_name(model, "hash-v1")
    ids = client.insert(("a", "A"), ("b", "B"), model=model)["ids"]
    stray = max(ids) + 1000
    manager.vectors.add(collection, [stray], ["a" * 40], HashEmbedder().embed(["stray"]))
    manager.vectors.delete(collection, ids[:1])
    assert client.query("a", model=model)["hit_type"] == "exact"
    manager.reconcile_all()
    assert sorted(manager.vectors.ids(collection).tolist()) == ids
    assert client.query("a" + NEAR, model=model)["answer"] == "A"


def test_everything_is_there_after_a_restart(start: Start, model: str) -> None:
    first = start()
    CacheClient(first.test_client()).insert(("a", "A"), ("b", "B"), model=model)
    get_service(first).close()
    client = CacheClient(start().test_client())
    assert client.query("a", model=model)["hit_type"] == "exact"
    assert client.query("b" + NEAR, model=model)["answer"] == "B"


def test_many_threads_at_once_leave_the_books_balanced(start: Start, model: str) -> None:
    app = start()
    CacheClient(app.test_client()).register(model)

    def work(worker: int) -> set[int]:
        client, kept = CacheClient(app.test_client()), set()
        for number in range(4):
            ids = client.insert((f"{worker} {number}", "a"), (f"{worker} {number} b", "b"), model=model)[
                "ids"
            ]
            assert client.remove("delete_by_id", model=model, id_list=ids[:1])["errorCode"] == 0
            assert not client.query(f"{worker} {number}", model=model)["cacheHit"]
            kept.add(ids[1])
        return kept

    with ThreadPoolExecutor(4) as pool:
        expected = set().union(*pool.map(work, range(4)))
    manager = get_service(app).cache.data_manager
    manager.sweep(everything=True)
    assert set(manager.vectors.ids(collection_name(model, "hash-v1")).tolist()) == expected
    assert {row.id for row in manager.scalars.uses(model_key(model))} == expected


def test_a_size_is_kept(start: Start, settings: dict[str, Any], model: str) -> None:
    settings |= {"max_size": 10, "clean_size": 5, "eviction_book": "rows"}
    app = start()
    client = CacheClient(app.test_client())
    for number in range(4):
        client.insert(*((f"{number} {part}", "a") for part in range(5)), model=model)
    manager = get_service(app).cache.data_manager
    assert manager.scalars.count(model_key(model)) <= 10
    assert client.query("3 4" + NEAR, model=model)["cacheHit"]
    assert not client.query("0 0", model=model, threshold=0.9999)["cacheHit"]
