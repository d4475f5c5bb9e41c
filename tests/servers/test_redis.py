"""The vector contract on a real Redis, with both kinds of index, and what is special about it."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from modelcache.app import get_service
from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.factory import get_vector_store
from modelcache.manager.vector_data.base import VectorStore
from modelcache.manager.vector_data.redis import RedisStore
from modelcache.settings import make_settings
from modelcache.testing import filtered_search
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.vector_store import DIMENSION, A, B, P, Q, VectorStoreContract, found, vectors
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.running import all_at_once
from tests.support.servers import free_port, start_or_skip
from tests.support.servers.redis import RedisServer

pytestmark = pytest.mark.server

SECRET = "hush-hush"
HNSW = ("HNSW", "M", 16, "EF_CONSTRUCTION", 200, "EF_RUNTIME", 100)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = start_or_skip("Redis", RedisServer, tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may stop."""
    server = start_or_skip("Redis", RedisServer, tmp_path)
    yield server
    server.stop()


@pytest.fixture
def store(server: RedisServer) -> Iterator[VectorStore]:
    yield from empty_store(server)


def opened(
    server: RedisServer, dimension: int = DIMENSION, index: Sequence[str | int] = ("FLAT",)
) -> RedisStore:
    store = RedisStore(server.url, dimension, password=server.password, timeout=5, index=index)
    store.open()
    return store


def empty_store(server: RedisServer, index: Sequence[str | int] = ("FLAT",)) -> Iterator[VectorStore]:
    with server.client() as client:
        client.flushall()
    store = opened(server, index=index)
    yield store
    store.close()


def refusal(url: str, **options: str) -> str:
    """Return the sentence that refuses a start."""
    store = RedisStore(url, DIMENSION, timeout=1.0, **options)
    with pytest.raises(ConfigError) as caught:
        store.open()
    assert "\n" not in str(caught.value)
    with pytest.raises(VectorStoreError, match="not open"):
        store.ping()
    return str(caught.value)


class TestRedisFlat(VectorStoreContract):
    @pytest.fixture
    def store(self, server: RedisServer) -> Iterator[VectorStore]:
        yield from empty_store(server)


class TestRedisHnsw(VectorStoreContract):
    @pytest.fixture
    def store(self, server: RedisServer) -> Iterator[VectorStore]:
        yield from empty_store(server, HNSW)


# Collections.


def test_of_many_that_create_a_collection_one_did(server: RedisServer, store: VectorStore) -> None:
    others = [opened(server) for _ in range(8)]
    made = all_at_once(*(partial(other.create, A) for other in others))
    assert sorted(made, key=bool) == [False] * 7 + [True]
    for other in others:
        other.close()


def test_a_collection_whose_name_starts_like_another_is_apart(store: VectorStore) -> None:
    longer = A + "_longer"
    row = vectors(1)
    store.add(A, [1], [P], row)
    store.add(longer, [2], [P], row)
    assert found(store, A, P, row[0]) == [1]
    assert found(store, longer, P, row[0]) == [2]
    assert store.ids(A).tolist() == [1]
    store.truncate(A)
    assert store.ids(longer).tolist() == [2]
    assert found(store, longer, P, row[0]) == [2]


def test_another_process_sees_an_add_a_delete_and_a_truncate_at_once(
    server: RedisServer, store: VectorStore
) -> None:
    other = opened(server)
    store.add(A, [1, 2], [P, P], vectors(2))
    assert sorted(found(other, A, P, vectors(1)[0])) == [1, 2]
    store.delete(A, [1])
    assert other.ids(A).tolist() == [2]
    store.truncate(A)
    assert found(other, A, P, vectors(1)[0]) == []
    assert not other.create(A)
    other.close()


def test_truncating_while_others_add_and_search_fails_none(server: RedisServer, store: VectorStore) -> None:
    store.create(A)
    rows = vectors(200)
    others = [opened(server) for _ in range(3)]

    def add() -> None:
        for start in range(0, 200, 4):
            others[0].add(A, range(start + 1, start + 5), [P] * 4, rows[start : start + 4])

    def search() -> None:
        for row in rows:
            others[1].search(A, P, row, 5)

    def truncate() -> None:
        for _ in range(30):
            others[2].truncate(A)

    assert all_at_once(add, search, truncate) == [None] * 3
    # Keys that were written while there was no index are read in the background by the next one.
    wait_until(lambda: has_read_its_keys(server, A), "indexing")
    store.truncate(A)
    assert store.ids(A).tolist() == []
    store.add(A, [1], [P], rows[:1])
    assert found(store, A, P, rows[0]) == [1]
    assert not store.create(A)
    for other in others:
        other.close()


def has_read_its_keys(server: RedisServer, collection: str) -> bool:
    with server.client() as client:
        told = client.execute_command("FT.INFO", collection)
    names = [name.decode() if isinstance(name, bytes) else name for name in told[::2]]
    return not int(dict(zip(names, told[1::2], strict=True))["indexing"])


def test_keys_that_lost_their_index_are_found_again(server: RedisServer, store: VectorStore) -> None:
    store.add(A, [1], [P], vectors(1))
    with server.client() as client:
        client.execute_command("FT.DROPINDEX", A)
    assert found(store, A, P, vectors(1)[0]) == []
    assert store.ids(A).tolist() == []
    # What a reconciliation does then. Keys from before an index are read in the background.
    store.add(A, [1], [P], vectors(1))
    wait_until(lambda: found(store, A, P, vectors(1)[0]) == [1], "indexing")


def test_an_add_to_a_server_that_lost_its_data_is_found(server: RedisServer, store: VectorStore) -> None:
    store.add(A, [1], [P], vectors(1))
    with server.client() as client:
        client.flushall()
    store.add(A, [2], [P], vectors(1))
    assert found(store, A, P, vectors(1)[0]) == [2]


def test_ids_beyond_one_reply_are_listed_and_truncated_and_no_others(
    server: RedisServer, store: VectorStore
) -> None:
    count = 2500
    rows = np.concatenate([vectors(100)] * (count // 100))
    store.add(A, range(1, count + 1), [P] * count, rows)
    store.add(B, [1], [P], vectors(1))
    assert sorted(store.ids(A).tolist()) == list(range(1, count + 1))
    store.truncate(A)
    assert store.ids(A).tolist() == []
    assert store.ids(B).tolist() == [1]
    with server.client() as client:
        assert client.keys(f"{A}:*") == []


# Partitions and neighbours.


@pytest.mark.parametrize("partition", ["1e5" + "0" * 37, "0" * 40, "9" * 40, "e" * 40, "1" * 40])
def test_a_partition_that_looks_like_a_number_is_a_name(store: VectorStore, partition: str) -> None:
    others = ["2" + partition[1:], partition[:-1] + "2", "1000000000" * 4]
    rows = np.concatenate([vectors(1)] * 4)
    store.add(A, [1, 2, 3, 4], [partition, *others], rows)
    assert found(store, A, partition, rows[0]) == [1]


@pytest.mark.parametrize(
    "partition", ["", "p" * 40, "A" * 40, "a" * 39, "a" * 41, "a" * 40 + "\n", "*", "a} | {b"]
)
def test_a_partition_that_is_not_hex_is_refused(store: VectorStore, partition: str) -> None:
    with pytest.raises(VectorStoreError, match="40 hex digits"):
        store.search(A, partition, vectors(1)[0], 1)
    with pytest.raises(VectorStoreError, match="40 hex digits"):
        store.add(A, [1, 2], [P, partition], vectors(2))
    assert store.ids(A).tolist() == []


@pytest.mark.parametrize("index", [("FLAT",), HNSW], ids=["FLAT", "HNSW"])
def test_the_filter_starves_nothing(
    server: RedisServer, store: VectorStore, index: Sequence[str | int]
) -> None:
    large = opened(server, filtered_search.DIMENSION, index)
    filtered_search.assert_the_filter_starves_nothing(large)
    large.truncate(filtered_search.COLLECTION)
    assert large.ids(filtered_search.COLLECTION).tolist() == []
    large.close()


def test_more_may_be_asked_for_than_the_server_gives(store: VectorStore) -> None:
    store.add(A, [1], [P], vectors(1))
    assert found(store, A, P, vectors(1)[0], 50_000_000) == [1]


# Failures.


def test_a_stopped_server_is_said_and_is_used_again_when_it_is_back(own_server: RedisServer) -> None:
    store = opened(own_server)
    store.add(A, [1], [P], vectors(1))
    own_server.stop()
    for call in (
        store.ping,
        lambda: store.create(A),
        lambda: store.add(A, [2], [P], vectors(1)),
        lambda: store.search(A, P, vectors(1)[0], 1),
        lambda: store.delete(A, [1]),
        lambda: store.truncate(A),
        lambda: store.ids(A),
    ):
        with pytest.raises(VectorStoreError) as caught:
            call()
        assert caught.value.__cause__ is not None
    own_server.start()
    store.ping()
    store.add(A, [3], [P], vectors(1))
    assert found(store, A, P, vectors(1)[0]) == [3]
    store.close()


def test_a_frozen_server_is_given_up_after_the_time_limit(own_server: RedisServer) -> None:
    store = RedisStore(own_server.url, DIMENSION, timeout=0.2)
    store.open()
    own_server.freeze()
    # It would wait for ever: returning at all is what is tested.
    with pytest.raises(VectorStoreError, match=r"(?i)timeout"):
        store.search(A, P, vectors(1)[0], 1)
    assert "cannot be used" in refusal(own_server.url)
    store.close()


def test_a_server_that_cannot_be_reached_is_said() -> None:
    port = free_port()
    sentence = refusal(f"redis://127.0.0.1:{port}/0")
    assert f"127.0.0.1:{port}" in sentence
    assert "redis_url" in sentence


def test_a_server_without_the_search_module_is_said(tmp_path: Path) -> None:
    def start(folder: Path) -> RedisServer:
        return RedisServer(folder, has_search=False)

    server = start_or_skip("Redis", start, tmp_path)
    try:
        assert "search module" in refusal(server.url)
    finally:
        server.stop()


def test_the_password_is_needed_and_never_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def start(folder: Path) -> RedisServer:
        return RedisServer(folder, password=SECRET)

    server = start_or_skip("Redis", start, tmp_path)
    try:
        with caplog.at_level(logging.DEBUG):
            assert "redis_password" in refusal(server.url)
            wrong = refusal(server.url, password="hush-hush-not")
        assert "redis_password" in wrong
        assert "hush" not in wrong + caplog.text
        store = opened(server)
        store.add(A, [1], [P], vectors(1))
        assert found(store, A, P, vectors(1)[0]) == [1]
        server.stop()
        with pytest.raises(VectorStoreError) as caught:
            store.ping()
        assert "hush" not in f"{caught.value} {caught.value.__cause__}"
        store.close()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://:hush-hush@127.0.0.1:6379/0", "password"),
        ("redis://u:hush-hush@127.0.0.1:6379/0", "password"),
        ("redis://127.0.0.1:6379/0?password=hush-hush", "password"),
        ("redis://127.0.0.1:6379/1", "other than 0"),
        ("redis://127.0.0.1:6379?db=1", "other than 0"),
        ("http://127.0.0.1:6379", "not an address"),
        ("redis://127.0.0.1:many/0", "not an address"),
        ("redis://[::1/0", "not an address"),
        ("127.0.0.1:6379", "not an address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str, reason: str) -> None:
    sentence = refusal(url)
    assert reason in sentence
    assert "hush" not in sentence


def test_the_settings_choose_server_and_index(server: RedisServer, store: VectorStore) -> None:
    own = {"redis_hnsw_m": 8, "redis_hnsw_ef_construction": 50, "redis_hnsw_ef_runtime": 20}
    settings = make_settings({"vector_store": "redis", "redis_url": server.url, "redis_index": "HNSW"} | own)
    chosen = get_vector_store(settings, DIMENSION)
    chosen.open()
    chosen.add(B, [1], [Q], vectors(1))
    with server.client() as client:
        info = str(client.execute_command("FT.INFO", B))
    for part in ("HNSW", "'M', 8", "'ef_construction', 50", f"'dim', {DIMENSION}", "COSINE"):
        assert part in info.replace("b'", "'"), info
    chosen.close()


def test_a_service_on_redis_answers_forgets_and_remembers(
    server: RedisServer, store: VectorStore, make_app: AppFactory
) -> None:
    own = {"vector_store": "redis", "redis_url": server.url, "store_timeout": 5}
    app = make_app(**own)
    client = CacheClient(app.test_client())
    client.insert(("q" + NEAR, "near"))
    assert client.query("q")["answer"] == "near"
    client.remove("truncate_by_model")
    assert not client.query("q")["cacheHit"]
    client.insert(("q" + NEAR, "again"))
    with server.client() as behind:
        behind.flushall()
    assert not client.query("q")["cacheHit"]
    # What the server lost is read from the rows, from time to time and by hand.
    get_service(app).cache.data_manager.reconcile_all()
    assert client.query("q")["answer"] == "again"
