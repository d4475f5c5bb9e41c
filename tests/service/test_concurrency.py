"""Many clients at once, and many apps in one process: the books are balanced at the end."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask

from modelcache.app import get_service
from modelcache.manager.names import collection_name
from modelcache.records.names import model_key
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient

WORKERS = 8
OPERATIONS = 60


@pytest.mark.slow
def test_eight_threads_insert_query_and_remove_at_once(app: Flask) -> None:
    def work(worker: int) -> dict[str, tuple[str, int]]:
        client, chance = CacheClient(app.test_client()), random.Random(worker)
        live: dict[str, tuple[str, int]] = {}
        for number in range(OPERATIONS):
            question = f"worker {worker} question {chance.randrange(20)}"
            if chance.random() < 0.5:
                answer = f"answer {worker}/{number}"
                [id_] = client.insert((question, answer))["ids"]
                live[question] = (answer, id_)
            elif question in live and chance.random() < 0.5:
                _, id_ = live.pop(question)
                reply = client.remove("delete_by_id", id_list=[id_])
                assert reply["response"]["ScalarDB"] == "delete_count: 1"
            for asked in (question, question + NEAR):
                reply = client.query(asked)
                assert (reply["answer"], reply["hit_id"]) == live.get(question, ("", None))
        return live

    with ThreadPoolExecutor(WORKERS) as pool:
        books = list(pool.map(work, range(WORKERS)))
    expected = sorted(id_ for live in books for _, id_ in live.values())
    manager = get_service(app).cache.data_manager
    manager.sweep(everything=True)
    assert sorted(manager.vectors.ids(collection_name("m", "hash-v1")).tolist()) == expected
    assert manager.scalars.count(model_key("m")) == len(expected)
    assert manager.scalars.dead_counts() == []


def test_equal_questions_inserted_at_once_leave_one_answer(app: Flask) -> None:
    def insert(number: int) -> int:
        [id_] = CacheClient(app.test_client()).insert(("q", f"answer {number}"))["ids"]
        assert isinstance(id_, int)
        return id_

    with ThreadPoolExecutor(WORKERS) as pool:
        ids = list(pool.map(insert, range(40)))
    assert len(set(ids)) == 40
    manager = get_service(app).cache.data_manager
    assert manager.scalars.count(model_key("m")) == 1
    assert CacheClient(app.test_client()).query("q")["hit_id"] in ids


def test_truncates_and_inserts_of_one_model_at_once_leave_both_stores_agreeing(app: Flask) -> None:
    def work(worker: int) -> None:
        client = CacheClient(app.test_client())
        for number in range(20):
            if worker % 4 == 0:
                assert client.remove("truncate_by_model")["errorCode"] == 0
            else:
                assert client.insert((f"{worker}-{number}", "a"))["errorCode"] == 0

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    manager = get_service(app).cache.data_manager
    manager.sweep(everything=True)
    live = manager.scalars.embedded_ids(model_key("m"), "hash-v1")
    assert sorted(manager.vectors.ids(collection_name("m", "hash-v1")).tolist()) == sorted(live)


def test_two_apps_in_one_process_share_nothing(make_app: AppFactory, tmp_path: Path) -> None:
    one, two = make_app(data_dir=tmp_path / "one"), make_app(data_dir=tmp_path / "two")
    CacheClient(one.test_client()).insert(("q", "from one"))
    CacheClient(two.test_client()).insert(("other", "from two"))
    assert CacheClient(one.test_client()).query("q")["answer"] == "from one"
    assert not CacheClient(two.test_client()).query("q")["cacheHit"]
    get_service(one).close()
    assert CacheClient(two.test_client()).query("other")["answer"] == "from two"
    again = make_app(data_dir=tmp_path / "one")
    assert CacheClient(again.test_client()).query("q")["answer"] == "from one"


def test_when_the_queue_is_full_log_lines_are_dropped_and_counted_not_waited_for(
    make_app: AppFactory,
) -> None:
    app = make_app(background_queue_size=1)
    client, writer = CacheClient(app.test_client()), get_service(app).cache.writer
    client.insert(("q", "a"))
    assert all(client.query("q")["cacheHit"] for _ in range(50))
    assert writer.dropped > 0
    writer.flush()
    assert client.query("q")["cacheHit"]
