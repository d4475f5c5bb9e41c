"""Killed at any moment, a restart has every acknowledged insert and no acknowledged removal."""

import random
import sqlite3
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import requests

from modelcache.manager.scalar_data.base import RowState
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.support.running import RunningService

pytestmark = pytest.mark.process

BATCH = 3
ROUNDS = 8
STEPS = [
    ("scalars.insert_live", "before"),
    ("vectors.add", "before"),
    ("vectors.add", "after"),
    ("scalars.insert_live", "after"),
]
SWEEP_STEPS = [("vectors.delete", "before"), ("vectors.delete", "after"), ("scalars.purge", "after")]


def batch(name: str) -> list[tuple[str, str]]:
    return [(f"{name} question {number}", f"{name} answer {number}") for number in range(BATCH)]


def answers(service: RunningService, name: str) -> list[bool]:
    """Tell for each question of a batch whether it is answered, exactly and by a near copy alike."""
    found = []
    for question, answer in batch(name):
        replies = [service.query(question), service.query(question + NEAR)]
        assert {reply["answer"] for reply in replies} in ({answer}, {""})
        found.append(replies[0]["cacheHit"])
    return found


@pytest.mark.parametrize(("step", "moment"), STEPS)
def test_killed_inside_an_insert(tmp_path: Path, step: str, moment: str) -> None:
    service = RunningService(tmp_path, "-m", "tests.support.serve_hash", step, moment, "2").wait_ready()
    assert service.insert(batch("first"))["errorCode"] == 0
    with pytest.raises(requests.ConnectionError):
        service.insert(batch("second"))
    service.wait()

    again = RunningService(tmp_path).wait_ready()
    assert all(answers(again, "first"))
    assert answers(again, "second") == [(step, moment) == ("scalars.insert_live", "after")] * BATCH
    assert again.terminate() == 0
    assert_no_row_is_half_written(tmp_path)


def test_killed_while_replacing_an_answer(tmp_path: Path) -> None:
    service = RunningService(tmp_path, "-m", "tests.support.serve_hash", "vectors.add", "after", "2")
    service.wait_ready().insert([("q", "old")])
    with pytest.raises(requests.ConnectionError):
        service.insert([("q", "new")])
    service.wait()
    again = RunningService(tmp_path).wait_ready()
    assert again.query("q")["answer"] == "old"
    assert again.terminate() == 0


@pytest.mark.parametrize("step", ["scalars.delete", "scalars.truncate", "vectors.truncate"])
def test_killed_after_a_removal_was_written(tmp_path: Path, step: str) -> None:
    service = RunningService(tmp_path, "-m", "tests.support.serve_hash", step, "after", "1").wait_ready()
    ids = service.insert(batch("gone"))["ids"]
    removal = "delete_by_id" if step == "scalars.delete" else "truncate_by_model"
    with pytest.raises(requests.ConnectionError):
        service.remove(removal, id_list=ids)
    service.wait()
    again = RunningService(tmp_path).wait_ready()
    assert answers(again, "gone") == [False] * BATCH
    assert again.terminate() == 0


@pytest.mark.parametrize(
    ("step", "moment"),
    [("vectors.delete", "before"), ("vectors.delete", "after"), ("scalars.purge", "after")],
)
def test_killed_inside_a_sweep(tmp_path: Path, step: str, moment: str) -> None:
    service = RunningService(
        tmp_path, "-m", "tests.support.serve_hash", step, moment, "1", MODELCACHE_SWEEP_INTERVAL="0.05"
    ).wait_ready()
    kept = service.insert(batch("kept"))["ids"]
    gone = service.insert(batch("gone"))["ids"]
    # The sweep may come, and kill it, before the removal that it sweeps up after is answered.
    with suppress(requests.ConnectionError):
        service.remove("delete_by_id", id_list=gone)
    service.wait()

    again = RunningService(tmp_path, MODELCACHE_SWEEP_INTERVAL="0.05").wait_ready()
    assert all(answers(again, "kept"))
    assert answers(again, "gone") == [False] * BATCH
    wait_until(lambda: ids_on_disk(tmp_path) == kept, "the sweep")
    assert again.terminate() == 0


@dataclass
class Ledger:
    """What the service has acknowledged, and what it was asked without a reply."""

    inserted: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


def work(service: RunningService, ledger: Ledger, prefix: str, stop: threading.Event) -> None:
    """Insert batches and remove every third, until the service is gone."""
    with requests.Session() as http:
        worker = RunningService.__new__(RunningService)
        worker.url, worker.http = service.url, http
        try:
            for number in count():
                if stop.is_set():
                    return
                name = f"{prefix}n{number}"
                ledger.unknown.add(name)
                ids = worker.insert(batch(name))["ids"]
                ledger.unknown.discard(name)
                ledger.inserted.add(name)
                if number % 3 == 2:
                    ledger.inserted.discard(name)
                    ledger.unknown.add(name)
                    removal = worker.remove("delete_by_id", id_list=ids)
                    assert removal["response"]["ScalarDB"] == f"delete_count: {BATCH}", removal
                    ledger.unknown.discard(name)
                    ledger.removed.add(name)
        except requests.RequestException:
            return


def has_grown(ledger: Ledger, size: int) -> bool:
    return len(ledger.inserted) >= size


def test_killed_at_random_moments_under_load(tmp_path: Path) -> None:
    chance = random.Random(20)
    ledger = Ledger()
    service = RunningService(tmp_path, MODELCACHE_SWEEP_INTERVAL="0.05").wait_ready()
    for round_ in range(ROUNDS):
        stop = threading.Event()
        with ThreadPoolExecutor(4) as pool:
            workers: list[Future[None]] = []
            for worker in range(4):
                workers.append(pool.submit(work, service, ledger, f"r{round_}w{worker}", stop))
            wait_until(partial(has_grown, ledger, len(ledger.inserted) + 8), "some inserts")
            time.sleep(chance.random() * 0.1)  # the moment of the kill is what varies
            service.kill()
            stop.set()
        for done in workers:
            done.result()
        service = RunningService(tmp_path, MODELCACHE_SWEEP_INTERVAL="0.05").wait_ready()
        for name in sorted(ledger.inserted):
            assert all(answers(service, name)), f"lost: {name}"
        for name in sorted(ledger.removed):
            assert not any(answers(service, name)), f"came back: {name}"
        for name in sorted(ledger.unknown):
            assert len(set(answers(service, name))) == 1, f"half there: {name}"
        ledger.unknown.clear()
    print(f"{ROUNDS} kills, {len(ledger.inserted)} batches kept, {len(ledger.removed)} removed")
    assert service.terminate() == 0
    assert_no_row_is_half_written(tmp_path)


def assert_no_row_is_half_written(data_dir: Path) -> None:
    assert (
        rows(data_dir, f"SELECT id FROM modelcache_llm_answer WHERE is_deleted = {RowState.WRITING:d}") == []
    )


def ids_on_disk(data_dir: Path) -> list[int]:
    return [row[0] for row in rows(data_dir, "SELECT id FROM modelcache_llm_answer ORDER BY id")]


def rows(data_dir: Path, statement: str) -> list[tuple[int]]:
    connection = sqlite3.connect(data_dir / "modelcache.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()
