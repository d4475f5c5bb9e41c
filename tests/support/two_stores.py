"""What tests of both stores together look at, after kills and outages."""

from collections.abc import Sequence
from functools import partial

from flask import Flask

from modelcache.app import get_service
from modelcache.manager.names import collection_name
from modelcache.records.names import model_key
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.support.client import CacheClient


def insert(client: CacheClient, model: str, *names: str) -> list[int]:
    reply = client.insert(*((name, "a") for name in names), model=model)
    assert reply["errorCode"] == 0
    ids: list[int] = reply["ids"]
    return ids


def answered(client: CacheClient, model: str, names: Sequence[str]) -> list[bool]:
    """Tell for each question whether it is answered, exactly and by a near copy alike."""
    found = []
    for name in names:
        exact = client.query(name, model=model)["hit_id"]
        # Under Session consistency a service sees the vectors of another one a little later.
        wait_until(partial(near_copy_finds, client, model, name, exact), f"{exact} for a near copy")
        found.append(exact is not None)
    return found


def near_copy_finds(client: CacheClient, model: str, name: str, hit_id: int | None) -> bool:
    found: int | None = client.query(name + NEAR, model=model)["hit_id"]
    assert found in (hit_id, None)
    return found == hit_id


def assert_both_stores_agree(app: Flask, model: str) -> None:
    manager = get_service(app).cache.data_manager
    manager.scalars.discard_unfinished(9e9)
    manager.sweep(everything=True)
    manager.reconcile_all()
    live = {row.id for row in manager.scalars.uses(model_key(model))}
    assert set(manager.vectors.ids(collection_name(model, "hash-v1")).tolist()) == live
    assert manager.scalars.dead_counts() == []
