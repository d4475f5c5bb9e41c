"""Removing by source, by age and dry; and what was looked up before a removal, and is inserted after it."""

import threading
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

import pytest
from flask import Flask

from modelcache.app import create_app, get_service
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.conftest import AppFactory
from tests.support.client import CacheClient, Json
from tests.support.gateway_client import GatewayClient
from tests.support.store_servers import StoreServers
from tests.support.upstream import Upstream
from tests.support.wire import FAR_TTL, assert_error, assert_miss, client_of, is_hit, live_rows, select

SOURCES = ["doc-17@v3", "手册"]


def count_of(reply: Json) -> int:
    assert reply["errorCode"] == 0, reply
    return int(reply["response"]["ScalarDB"].removeprefix("delete_count: "))


def age(app: Flask, question: str) -> None:
    """Have an entry be a day old."""
    scalars: Any = get_service(app).cache.data_manager.scalars
    with scalars.proxied.writing() as cursor:
        cursor.execute(
            "UPDATE modelcache_llm_answer SET gmt_create = '2026-01-01 00:00:00' WHERE question = ?",
            (f"user###{question}",),
        )


def fill(app: Flask) -> CacheClient:
    client = client_of(app)
    client.insert(("a", "1"), tags=["t"], sources=SOURCES)
    client.insert(("b", "2"), sources=SOURCES[1:])
    client.insert(("c", "3"), scope={"user": "anne"})
    client.insert(("d", "4"), tags=["t"])
    client.insert(("a", "5"), model="n", tags=["t"], sources=SOURCES)
    age(app, "d")
    return client


REMOVALS: dict[str, tuple[Json, int]] = {
    "source": ({"remove_type": "delete_by_source", "sources": ["doc-17@v3", "absent"]}, 1),
    "sources": ({"remove_type": "delete_by_source", "sources": SOURCES}, 2),
    "age": ({"remove_type": "delete_by_age", "older_than": 3600}, 1),
    "tag": ({"remove_type": "delete_by_tag", "tags": ["t"]}, 2),
    "scope": ({"remove_type": "delete_by_scope", "scope": {"model": "m", "user": "anne"}}, 1),
    "id": ({"remove_type": "delete_by_id", "id_list": [1, 1, 3, 5, 99, -1, 10**30]}, 2),
    "model": ({"remove_type": "truncate_by_model"}, 4),
    "all": ({"remove_type": "truncate_all"}, 5),
}


@pytest.mark.parametrize(("removal", "count"), REMOVALS.values(), ids=REMOVALS)
def test_a_dry_run_tells_how_many_would_go(make_app: AppFactory, removal: Json, count: int) -> None:
    app = make_app(allow_truncate_all=True)
    client = fill(app)
    body = {"type": "remove", "scope": {"model": "m"}} | removal
    dry = client.post(body | {"dry_run": True})
    assert (dry["response"]["dry_run"], count_of(dry)) == (True, count)
    assert live_rows(app) == 5
    wet = client.post(body)
    assert "dry_run" not in wet["response"]
    assert (count_of(wet), live_rows(app)) == (count, 5 - count)
    assert count_of(client.post(body | {"dry_run": True})) == 0


def test_an_entry_answers_no_more_once_its_source_is_removed(make_app: AppFactory) -> None:
    app = make_app()
    client = fill(app)
    # Once answered from memory as well.
    assert is_hit(client.query("a"))
    client.remove("delete_by_source", sources=SOURCES[:1])
    assert_miss(client.query("a"))
    assert_miss(client.query("a" + NEAR))
    assert is_hit(client.query("b"))
    assert is_hit(client.query("a", model="n"))
    get_service(app).close()
    assert_miss(client_of(make_app()).query("a"))


def test_what_an_entry_was_made_from_goes_with_it(make_app: AppFactory) -> None:
    app = make_app()
    client = fill(app)
    client.remove("truncate_by_model")
    get_service(app).cache.data_manager.sweep(everything=True)
    assert select(app, "SELECT COUNT(*) FROM modelcache_answer_source") == [(2,)]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"remove_type": "delete_by_source"}, "sources is missing"),
        ({"remove_type": "delete_by_source", "sources": "doc"}, "sources: expected a list"),
        ({"remove_type": "delete_by_source", "sources": [""]}, "sources[0]: expected a non-empty string"),
        ({"remove_type": "delete_by_source", "sources": ["x" * 257]}, "sources[0]: expected"),
        ({"remove_type": "delete_by_age"}, "older_than is missing"),
        ({"remove_type": "delete_by_age", "older_than": 0}, "older_than: expected a positive number"),
        ({"remove_type": "delete_by_age", "older_than": "9"}, "older_than: expected a positive number"),
        ({"remove_type": "truncate_by_model", "dry_run": 1}, "dry_run: expected true or false"),
        ({"remove_type": "truncate_by_model", "dry_run": "true"}, "dry_run: expected true or false"),
    ],
)
def test_a_removal_that_is_wrong_names_the_field_and_removes_nothing(
    make_app: AppFactory, more: Json, named: str
) -> None:
    app = make_app()
    client = fill(app)
    reply = client.post({"type": "remove", "scope": {"model": "m"}} | more)
    assert_error(reply, 103, "remove")
    assert named in reply["errorDesc"]
    assert live_rows(app) == 5


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"sources": "doc"}, "chat_info[0].sources: expected a list"),
        ({"sources": [1]}, "chat_info[0].sources[0]: expected a non-empty string"),
        ({"sources": ["\ud800"]}, "chat_info[0].sources[0]"),
    ],
)
def test_sources_that_are_wrong_are_named(client: CacheClient, more: Json, named: str) -> None:
    reply = client.insert(("q", "a"), **more)
    assert_error(reply, 103, "insert")
    assert named in reply["errorDesc"]


# An answer that was asked for before a removal.

Remove = Callable[[CacheClient], Json]
HOLDING: dict[str, Remove] = {
    "source": lambda client: client.remove("delete_by_source", sources=["doc"]),
    "tag": lambda client: client.remove("delete_by_tag", tags=["t"]),
    "scope": lambda client: client.post(
        {"type": "remove", "remove_type": "delete_by_scope", "scope": {"model": "m", "user": "anne"}}
    ),
    "age": lambda client: client.remove("delete_by_age", older_than=FAR_TTL),
    "model": lambda client: client.remove("truncate_by_model"),
}
BESIDE: dict[str, Remove] = {
    "another source": lambda client: client.remove("delete_by_source", sources=["doc@2"]),
    "another tag": lambda client: client.remove("delete_by_tag", tags=["doc"]),
    "another model": lambda client: client.remove("truncate_by_model", model="n"),
    "dry": lambda client: client.remove("truncate_by_model", dry_run=True),
    "ids": lambda client: client.remove("delete_by_id", id_list=[1]),
}


def insert_late(client: CacheClient, asked_at: Any, question: str = "q") -> Json:
    """Insert an answer as of a look-up."""
    info = {
        "query": [{"role": "user", "content": question}],
        "answer": "a",
        "tags": ["t"],
        "sources": ["doc"],
    }
    scope = {"model": "m", "user": "anne"}
    return client.post({"type": "insert", "scope": scope, "chat_info": [info], "asked_at": asked_at})


@pytest.mark.parametrize("remove", HOLDING.values(), ids=HOLDING)
def test_an_insert_whose_look_up_began_before_a_removal_is_held_back(app: Flask, remove: Remove) -> None:
    client = client_of(app)
    asked_at = client.query("q", scope={"user": "anne"})["asked_at"]
    remove(client)
    reply = insert_late(client, asked_at)
    assert_error(reply, 304, "insert")
    assert "asked_at" in reply["errorDesc"]
    assert live_rows(app) == 0
    again = client.query("q", scope={"user": "anne"})
    assert_miss(again)
    assert insert_late(client, again["asked_at"])["errorCode"] == 0
    hit = client.query("q", scope={"user": "anne"})
    assert (hit["answer"], hit["asked_at"]) == ("a", None)


@pytest.mark.parametrize("remove", BESIDE.values(), ids=BESIDE)
def test_other_removals_hold_it_back_not(app: Flask, remove: Remove) -> None:
    client = client_of(app)
    asked_at = client.query("q", scope={"user": "anne"})["asked_at"]
    remove(client)
    assert insert_late(client, asked_at)["errorCode"] == 0
    assert live_rows(app) == 1


def test_what_says_nothing_of_its_look_up_is_inserted(client: CacheClient) -> None:
    client.remove("delete_by_source", sources=["doc"])
    client.insert(("q", "a"), sources=["doc"])
    assert is_hit(client.query("q"))


def test_a_removal_holds_back_after_a_restart_too(make_app: AppFactory) -> None:
    first = make_app()
    asked_at = client_of(first).query("q")["asked_at"]
    client_of(first).remove("delete_by_source", sources=["doc"])
    get_service(first).close()
    assert_error(insert_late(client_of(make_app()), asked_at), 304, "insert")


def test_a_look_up_of_long_ago_is_held_back(client: CacheClient) -> None:
    assert_error(insert_late(client, time() - 100_000), 304, "insert")


@pytest.mark.parametrize("asked_at", ["now", -1, True, [1]])
def test_an_asked_at_that_is_wrong_is_named(client: CacheClient, asked_at: Any) -> None:
    reply = insert_late(client, asked_at)
    assert_error(reply, 103, "insert")
    assert reply["errorDesc"].startswith("asked_at: expected a number")


@pytest.mark.server
def test_a_removal_by_one_replica_holds_back_the_inserts_of_another(tmp_path: Path) -> None:
    servers = StoreServers(tmp_path)
    apps: list[Flask] = []
    try:
        settings = servers.settings("mysql", "faiss")
        for name in ("one", "other"):
            apps.append(create_app(settings | {"data_dir": tmp_path / name}, embedder=HashEmbedder()))
        one, other = map(client_of, apps)
        one.insert(("kept", "b"), sources=["doc"])
        asked_at = one.query("q", scope={"user": "anne"})["asked_at"]
        assert count_of(other.remove("delete_by_source", sources=["doc"], dry_run=True)) == 1
        assert is_hit(one.query("kept"))
        assert count_of(other.remove("delete_by_source", sources=["doc"])) == 1
        assert_miss(one.query("kept"))
        assert_error(insert_late(one, asked_at), 304, "insert")
        assert_error(insert_late(other, asked_at), 304, "insert")
        assert_miss(one.query("q", scope={"user": "anne"}))
        # Later than the clocks of two machines may be apart.
        assert insert_late(one, asked_at + 60)["errorCode"] == 0
        assert is_hit(other.query("q", scope={"user": "anne"}))
    finally:
        for app in apps:
            get_service(app).close()
        servers.stop()


# Through the gateway.


@pytest.fixture
def gateway_app(make_app: AppFactory, upstream: Upstream) -> Flask:
    return make_app(upstream_url=upstream.url, lookup_deadline_ms=5000)


MARKED = {"x-modelcache-sources": "doc, other", "x-modelcache-tags": "t"}
OF_THE_GATEWAY = {name: HOLDING[name] for name in ("source", "tag", "age", "model")}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("remove", OF_THE_GATEWAY.values(), ids=OF_THE_GATEWAY)
def test_the_gateway_keeps_no_answer_that_was_asked_for_before_a_removal(
    gateway_app: Flask, upstream: Upstream, remove: Remove, streams: bool
) -> None:
    gateway, client = GatewayClient(gateway_app.test_client()), client_of(gateway_app)

    def removed_meanwhile(body: Json) -> str:
        remove(client)
        return "of the old document"

    before = upstream.script.text
    upstream.script.text = removed_meanwhile
    more = {"stream": True} if streams else {}
    reply = gateway.ask("q", MARKED, **more)
    assert (reply.status_code, reply.headers["x-modelcache"]) == (200, "miss")
    if not streams:
        assert "stored" not in reply.headers["cache-status"]
        assert reply.headers["x-modelcache-reason"] == "removed"
    assert live_rows(gateway_app) == 0
    upstream.script.text = before
    assert gateway.said("q", MARKED) == ("miss", "You asked: q")
    assert gateway.said("q", MARKED)[0] == "hit"


def test_who_asks_after_a_removal_gets_no_answer_from_before_it(
    gateway_app: Flask, upstream: Upstream
) -> None:
    gateway, client = GatewayClient(gateway_app.test_client()), client_of(gateway_app)
    is_asked, goes_on = threading.Event(), threading.Event()
    answers = iter(["of the old document", "of the new one"])

    def slow(body: Json) -> str:
        told = next(answers)
        is_asked.set()
        goes_on.wait(30)
        return told

    upstream.script.text = slow
    said: list[tuple[str, str]] = []

    def ask() -> None:
        said.append(GatewayClient(gateway_app.test_client()).said("q", MARKED))

    first = threading.Thread(target=ask)
    first.start()
    assert is_asked.wait(30)
    client.remove("delete_by_source", sources=["doc"])
    second = threading.Thread(target=ask)
    second.start()
    goes_on.set()
    first.join()
    second.join()
    assert sorted(text for _, text in said) == ["of the new one", "of the old document"]
    assert gateway.said("q", MARKED) == ("hit", "of the new one")


def test_sources_by_header_are_removed_by(gateway_app: Flask) -> None:
    gateway, client = GatewayClient(gateway_app.test_client()), client_of(gateway_app)
    gateway.ask("q", MARKED)
    assert gateway.said("q")[0] == "hit"
    assert count_of(client.remove("delete_by_source", sources=["other"])) == 1
    assert gateway.said("q")[0] == "miss"


@pytest.mark.parametrize("value", ["", "a,,b", "x" * 257, ",".join("a" * 33)])
def test_sources_by_header_that_are_wrong_are_refused(gateway_app: Flask, value: str) -> None:
    reply = GatewayClient(gateway_app.test_client()).ask("q", {"x-modelcache-sources": value})
    assert (reply.status_code, reply.json and reply.json["error"]["param"]) == (400, "x-modelcache-sources")
