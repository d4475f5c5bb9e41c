"""A model stays under its size: what is evicted, under every policy and book, and what is not."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modelcache.app import create_app, get_service
from modelcache.errors import ConfigError, ScalarStoreError
from modelcache.manager.eviction.base import EntryKey, EvictionBook
from modelcache.manager.eviction.limits import SizeLimits
from modelcache.manager.eviction.memory_cache import POLICIES, MemoryBook, WTinyLFUCache
from modelcache.manager.eviction.redis_book import SCORES, RedisBook
from modelcache.manager.eviction.rows_book import ORDERS, RowsBook
from modelcache.manager.names import collection_name
from modelcache.manager.scalar_data.base import HitUse
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.records.names import model_key
from modelcache.testing.hash_embedder import HashEmbedder
from modelcache.testing.rows import FAR_FUTURE, answer, put
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.servers import start_or_skip
from tests.support.servers.redis import RedisServer

pytestmark = pytest.mark.server

KEY = model_key("m")
MakeBook = Callable[[str, int], EvictionBook]


class BookContract:
    """What every book must do; the rows are in ``store``."""

    policies: tuple[str, ...]

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStorage]:
        store = SqliteStorage(tmp_path / "modelcache.db")
        store.open()
        yield store
        store.close()

    @pytest.fixture
    def make_book(self, store: SqliteStorage) -> MakeBook:
        raise NotImplementedError

    def add(self, store: SqliteStorage, book: EvictionBook, *names: str) -> list[EntryKey]:
        ids = put(store, *(answer(name) for name in names))
        entries = [EntryKey(id_, f"m/{name}") for id_, name in zip(ids, names, strict=True)]
        book.add(KEY, entries)
        return entries

    def use(
        self, store: SqliteStorage, book: EvictionBook, entry: EntryKey, at: float, times: int = 1
    ) -> None:
        book.use(KEY, {entry: HitUse(times, at)})
        store.record_hits({entry.id: HitUse(times, at)})

    @pytest.mark.parametrize("policy", sorted(POLICIES))
    def test_every_entry_is_a_victim_once(
        self, store: SqliteStorage, make_book: MakeBook, policy: str
    ) -> None:
        if policy not in self.policies:
            with pytest.raises(ConfigError):
                make_book(policy, 50)
            return
        book = make_book(policy, 50)
        entries = self.add(store, book, *(f"q{number}" for number in range(50)))
        chance = random.Random(1)
        for step in range(200):
            self.use(store, book, chance.choice(entries), FAR_FUTURE + step)
        victims: list[int] = []
        while some := book.victims(KEY, 7):
            assert len(some) <= 7
            store.delete(KEY, some)
            victims += some
        assert sorted(victims) == sorted(entry.id for entry in entries)

    def test_lru_gives_up_the_least_recently_used(self, store: SqliteStorage, make_book: MakeBook) -> None:
        book = make_book("LRU", 10)
        a, b, c = self.add(store, book, "a", "b", "c")
        self.use(store, book, a, FAR_FUTURE)
        assert book.victims(KEY, 2) == [b.id, c.id]

    def test_lfu_gives_up_the_least_often_used(self, store: SqliteStorage, make_book: MakeBook) -> None:
        book = make_book("LFU", 10)
        a, b, c = self.add(store, book, "a", "b", "c")
        self.use(store, book, a, FAR_FUTURE, times=2)
        self.use(store, book, b, FAR_FUTURE + 1)
        assert book.victims(KEY, 2) == [c.id, b.id]

    def test_fifo_gives_up_the_oldest_however_used(self, store: SqliteStorage, make_book: MakeBook) -> None:
        book = make_book("FIFO", 10)
        a, b, _ = self.add(store, book, "a", "b", "c")
        self.use(store, book, a, FAR_FUTURE, times=5)
        assert book.victims(KEY, 2) == [a.id, b.id]

    def test_the_order_is_the_same_in_a_book_that_starts_anew(
        self, store: SqliteStorage, make_book: MakeBook
    ) -> None:
        book = make_book("LRU", 10)
        a, b, c, d = self.add(store, book, "a", "b", "c", "d")
        for step, entry in enumerate((d, b, a, c)):
            self.use(store, book, entry, FAR_FUTURE + step)
        assert make_book("LRU", 10).victims(KEY, 4) == [d.id, b.id, a.id, c.id]

    def test_models_have_books_of_their_own(self, store: SqliteStorage, make_book: MakeBook) -> None:
        book = make_book("LRU", 10)
        self.add(store, book, "a")
        assert book.victims(model_key("other"), 10) == []


class TestMemoryBook(BookContract):
    policies = tuple(POLICIES)

    @pytest.fixture
    def make_book(self, store: SqliteStorage) -> MakeBook:
        return lambda policy, capacity: MemoryBook(store, policy, SizeLimits(capacity))

    @pytest.mark.parametrize("policy", ["ARC", "W_TINYLFU", "LFU"])
    def test_a_scan_does_not_wash_out_what_is_used_often(self, store: SqliteStorage, policy: str) -> None:
        book = MemoryBook(store, policy, SizeLimits(100))
        popular = [EntryKey(number, f"popular {number}") for number in range(1, 51)]
        book.add(KEY, popular)
        for _ in range(5):
            book.use(KEY, {entry: HitUse(1, FAR_FUTURE) for entry in popular})
        evicted: list[int] = []
        for number in range(1000, 3000):
            book.add(KEY, [EntryKey(number, f"passing {number}")])
            if number >= 1050:
                evicted += book.victims(KEY, 1)
        assert len(set(evicted) & {entry.id for entry in popular}) <= 5

    def test_ids_of_removed_entries_do_not_pile_up(self, store: SqliteStorage) -> None:
        book = MemoryBook(store, "LRU", SizeLimits(10))
        for number in range(5000):
            book.add(KEY, [EntryKey(number, f"gone {number}")])
        assert len(book.victims(KEY, 10**6)) < 1100


class TestRowsBook(BookContract):
    policies = tuple(ORDERS)

    @pytest.fixture
    def make_book(self, store: SqliteStorage) -> MakeBook:
        return lambda policy, _: RowsBook(store, policy)

    def test_policies_that_need_memory_are_refused(self, store: SqliteStorage) -> None:
        with pytest.raises(ConfigError, match="ARC needs eviction_book = memory"):
            RowsBook(store, "ARC")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = start_or_skip("Redis", RedisServer, tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


class TestRedisBook(BookContract):
    policies = tuple(SCORES)

    @pytest.fixture
    def make_book(self, store: SqliteStorage, redis_server: RedisServer) -> Iterator[MakeBook]:
        with redis_server.client() as client:
            client.flushall()
            yield lambda policy, _: RedisBook(store, policy, client)

    def test_the_uses_seen_by_one_worker_count_for_all(
        self, store: SqliteStorage, make_book: MakeBook
    ) -> None:
        one, other = make_book("LRU", 10), make_book("LRU", 10)
        a, b, _ = self.add(store, one, "a", "b", "c")
        other.use(KEY, {a: HitUse(1, FAR_FUTURE)})
        assert one.victims(KEY, 1) == [b.id]

    def test_a_hit_on_an_evicted_entry_does_not_bring_it_back(
        self, store: SqliteStorage, make_book: MakeBook
    ) -> None:
        for policy in ("LRU", "LFU"):
            book = make_book(policy, 10)
            [entry] = self.add(store, book, "a")
            assert book.victims(KEY, 1) == [entry.id]
            book.use(KEY, {entry: HitUse(1, FAR_FUTURE)})
            assert book.victims(KEY, 1) == []
            store.delete(KEY, [entry.id])

    def test_a_server_that_is_gone_fails_no_request_and_the_size_holds(self, make_app: AppFactory) -> None:
        app = make_app(max_size=5, clean_size=1, eviction_book="redis", redis_url="redis://127.0.0.1:1/0")
        client = CacheClient(app.test_client())
        fill(client, 10)
        assert [client.query(f"q{number}")["cacheHit"] for number in range(10)] == [False] * 5 + [True] * 5
        assert get_service(app).cache.writer.flush()

    def test_what_a_hanging_server_missed_is_known_when_it_is_back(
        self, make_app: AppFactory, redis_server: RedisServer
    ) -> None:
        settings = {"store_timeout": 0.3, "breaker_failures": 2, "breaker_seconds": 0.2}
        app = make_app(
            max_size=10, clean_size=1, eviction_book="redis", redis_url=redis_server.url, **settings
        )
        client, writer = CacheClient(app.test_client()), get_service(app).cache.writer
        fill(client, 5, "kept ")
        redis_server.freeze()
        fill(client, 5, "missed ")
        redis_server.thaw()
        book = get_service(app).cache.data_manager.eviction
        assert book is not None

        def is_noted() -> bool:
            assert all(client.query(f"kept {number}")["cacheHit"] for number in range(5))
            assert writer.flush()
            return not book._stale

        wait_until(is_noted, "the book being up to date")
        fill(client, 5, "new ")
        found = [client.query(f"{name} {number}") for name in ("kept", "missed") for number in range(5)]
        assert [reply["cacheHit"] for reply in found] == [True] * 5 + [False] * 5


def test_a_model_stays_under_its_size_by_a_book_in_redis(
    make_app: AppFactory, redis_server: RedisServer
) -> None:
    app = make_app(max_size=20, clean_size=5, eviction_book="redis", redis_url=redis_server.url)
    client, writer = CacheClient(app.test_client()), get_service(app).cache.writer
    fill(client, 5, "kept ")
    for number in range(60):
        client.insert((f"passing {number}", "a"))
        assert all(client.query(f"kept {number}")["cacheHit"] for number in range(5))
        writer.flush()
    assert live(app) <= 25


def test_a_frequent_key_gets_past_a_rare_one_into_the_main_part() -> None:
    cache = WTinyLFUCache(10)
    for number in range(10):
        cache[f"old {number}"] = number
    cache["new"] = 99
    for _ in range(5):
        cache.get("new")
    assert "new" not in {cache.popitem()[0] for _ in range(9)}


BOOKS = [("memory", policy) for policy in sorted(POLICIES)] + [("rows", policy) for policy in ORDERS]


def fill(client: CacheClient, count: int, prefix: str = "q") -> None:
    for number in range(count):
        assert client.insert((f"{prefix}{number}", "a"))["errorCode"] == 0


def live(app: Flask) -> int:
    return get_service(app).cache.data_manager.scalars.count(KEY)


@pytest.mark.parametrize(("book", "policy"), BOOKS)
def test_a_model_stays_under_its_size(make_app: AppFactory, book: str, policy: str) -> None:
    app = make_app(max_size=20, clean_size=5, eviction_book=book, eviction_policy=policy)
    client = CacheClient(app.test_client())
    for number in range(60):
        client.insert((f"q{number}", "a"))
        assert live(app) <= 20 + 5
    client.insert(*((f"batch {number}", "a") for number in range(100)))
    assert live(app) <= 20
    assert client.insert(("another", "a"), model="other")["errorCode"] == 0
    assert client.query("another", model="other")["cacheHit"]


@pytest.mark.parametrize("book", ["memory", "rows"])
def test_entries_that_keep_being_hit_survive(make_app: AppFactory, book: str) -> None:
    app = make_app(max_size=20, clean_size=5, eviction_book=book)
    client, writer = CacheClient(app.test_client()), get_service(app).cache.writer
    fill(client, 5, "kept ")
    for number in range(100):
        client.insert((f"passing {number}", "a"))
        assert all(client.query(f"kept {number}")["cacheHit"] for number in range(5))
        writer.flush()
    assert live(app) <= 25


def test_evicted_entries_stop_answering_at_once_and_are_swept(make_app: AppFactory) -> None:
    app = make_app(max_size=10, clean_size=10, sweep_interval=3600)
    client, manager = CacheClient(app.test_client()), get_service(app).cache.data_manager
    fill(client, 20)
    living = {row.id for row in manager.scalars.uses(KEY)}
    hits = [client.query(f"q{number}", threshold=0.999999) for number in range(20)]
    assert {reply["hit_id"] for reply in hits} - {None} == living
    assert manager.sweep() == 20 - len(living)
    assert set(manager.vectors.ids(collection_name("m", "hash-v1")).tolist()) == living


@pytest.mark.parametrize("book", ["memory", "rows"])
def test_the_order_of_use_outlives_a_restart(tmp_path: Path, book: str) -> None:
    settings: dict[str, Any] = {"data_dir": tmp_path, "max_size": 10, "clean_size": 5, "eviction_book": book}
    first = create_app(settings, embedder=HashEmbedder())
    fill(CacheClient(first.test_client()), 10)
    for number in (0, 1, 2):
        CacheClient(first.test_client()).query(f"q{number}")
    get_service(first).close()
    again = create_app(settings, embedder=HashEmbedder())
    client = CacheClient(again.test_client())
    client.insert(("one more", "a"))
    kept = [number for number in range(10) if client.query(f"q{number}", threshold=1)["cacheHit"]]
    assert kept == [0, 1, 2, 8, 9]
    get_service(again).close()


def test_removed_entries_make_room(make_app: AppFactory) -> None:
    app = make_app(max_size=10, clean_size=2)
    client = CacheClient(app.test_client())
    for _ in range(5):
        fill(client, 10)
        ids = [client.query(f"q{number}")["hit_id"] for number in range(10)]
        assert None not in ids
        client.remove("delete_by_id", id_list=ids[:5])
        fill(client, 5)
        assert live(app) == 10
        client.remove("truncate_by_model")


def test_an_insert_succeeds_though_the_size_cannot_be_checked(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(max_size=5, clean_size=1)
    client, scalars = CacheClient(app.test_client()), get_service(app).cache.data_manager.scalars

    def fail(*_: object, **__: object) -> None:
        raise ScalarStoreError("out")

    with monkeypatch.context() as patch:
        patch.setattr(scalars, "count", fail)
        fill(client, 10)
    assert live(app) == 10
    fill(client, 1, "next ")
    assert live(app) == 5


def test_many_threads_past_the_limit(make_app: AppFactory) -> None:
    app = make_app(max_size=50, clean_size=10)

    def insert(worker: int) -> None:
        fill(CacheClient(app.test_client()), 40, f"worker {worker} ")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(insert, range(8)))
    assert live(app) <= 60
    fill(CacheClient(app.test_client()), 10, "last ")
    assert live(app) <= 50


def test_a_sweep_waits_until_it_is_worth_it_and_the_index_is_compacted_now_and_then(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(sweep_rows=50, sweep_share=0.5, compact_every=2, sweep_interval=3600)
    client, manager = CacheClient(app.test_client()), get_service(app).cache.data_manager
    compacted: list[str] = []
    monkeypatch.setattr(manager.vectors, "compact", compacted.append)
    ids = client.insert(*((f"q{number}", "a") for number in range(200)))["ids"]
    client.remove("delete_by_id", id_list=ids[:50])
    assert manager.sweep() == 0
    client.remove("delete_by_id", id_list=ids[50:51])
    assert manager.sweep() == 51
    assert compacted == []
    client.remove("delete_by_id", id_list=ids[51:151])
    assert manager.sweep() == 100
    assert compacted == [collection_name("m", "hash-v1")]
    client.remove("delete_by_id", id_list=ids[151:175])
    assert manager.sweep() == 0
    client.remove("delete_by_id", id_list=ids[175:177])
    assert manager.sweep() == 26
