"""Killed between any two steps on MySQL and Milvus: nothing lost, nothing half there, nothing comes back."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pydantic import SecretStr

from modelcache.app import create_app, get_service
from modelcache.testing.hash_embedder import HashEmbedder
from tests.support.client import CacheClient
from tests.support.running import ROOT
from tests.support.servers import TOLD
from tests.support.store_servers import StoreServers
from tests.support.two_stores import answered, assert_both_stores_agree, insert

pytestmark = pytest.mark.server

KILLS = 50
BATCH = 3
STEPS = {
    "insert": ["scalars.add", "vectors.add", "scalars.activate"],
    "delete": ["scalars.delete"],
    "truncate": ["scalars.truncate"],
    "sweep": ["scalars.delete_expired", "scalars.dead_counts", "vectors.delete", "scalars.purge"],
}


class Crasher:
    """Has operations run, and killed, in processes of their own."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in settings.items()
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill_in(self, operation: str, step: str, moment: str, model: str, **more: Any) -> None:
        """Run the operation in a child, which must end by SIGKILL."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        command = {"operation": operation, "step": step, "moment": moment, "model": model} | more
        self.process.stdin.write(json.dumps(command | {"settings": self.settings}) + "\n")
        self.process.stdin.flush()
        assert int(self.process.stdout.readline()) == -signal.SIGKILL

    def close(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    servers = StoreServers(tmp_path_factory.mktemp("servers"))
    yield servers.settings("mysql", "milvus") | {"sweep_interval": 3600}
    servers.stop()


@pytest.fixture(scope="module")
def crasher(settings: dict[str, Any]) -> Iterator[Crasher]:
    crasher = Crasher(settings)
    yield crasher
    crasher.close()


@pytest.fixture(scope="module")
def watcher(settings: dict[str, Any], crasher: Crasher) -> Iterator[Flask]:
    """Another service on the same stores, which outlives every kill."""
    app = create_app(settings, embedder=HashEmbedder())
    yield app
    get_service(app).close()


@pytest.mark.parametrize("operation", STEPS)
def test_killed_at_random_points(operation: str, watcher: Flask, crasher: Crasher) -> None:
    chance, model = random.Random(operation), f"killed in {operation}"
    client = CacheClient(watcher.test_client())
    kept = insert(client, model, "kept")
    for number in range(KILLS):
        step, moment = chance.choice(STEPS[operation]), chance.choice(["before", "after"])
        names = [f"{number} {part}" for part in range(BATCH)]
        if operation == "insert":
            crasher.kill_in(operation, step, moment, model, names=names)
            is_there = (step, moment) == ("scalars.activate", "after")
        else:
            ids = insert(client, model, *names)
            if operation == "sweep":
                client.remove("delete_by_id", model=model, id_list=ids)
            crasher.kill_in(operation, step, moment, model, ids=ids)
            is_there = operation != "sweep" and moment == "before"
        assert answered(client, model, names) == [is_there] * BATCH, (step, moment)
        if operation == "truncate" and moment == "after":
            assert answered(client, model, ["kept"]) == [False]
            kept = insert(client, model, "kept")
        assert answered(client, model, ["kept"]) == [True]
    assert kept
    assert_both_stores_agree(watcher, model)
    TOLD.append(f"{KILLS} kills in {operation}: nothing lost, nothing half there")
