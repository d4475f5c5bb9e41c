"""What an operator sees of the entries, and may remove: GET and DELETE under /admin/entries."""

import json
import logging
from pathlib import Path
from time import time
from typing import Any

import pytest
from flask import Flask

from modelcache.access.keys import create_key
from modelcache.app import create_app, get_service
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.conftest import AppFactory
from tests.support.client import Json, user
from tests.support.store_servers import StoreServers
from tests.support.wire import assert_miss, assistant, client_of, live_rows, system

PATH = "/admin/entries"
ENTRY_KEYS = {
    *("id", "model", "question", "answer", "scope", "tags", "sources", "metadata", "created", "expires"),
    *("hits", "last_hit", "embedder"),
}


def ask(app: Flask, path: str = PATH, method: str = "GET", key: str = "", **query: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    response = app.test_client().open(path, method=method, query_string=query, headers=headers)
    if response.status_code == 204:
        assert response.data == b""
        return 204, None
    assert response.content_type == "application/json; charset=utf-8"
    if response.status_code != 200:
        assert set(response.get_json()) == {"error"}
        assert set(response.get_json()["error"]) == {"field", "message"}
        assert response.get_json()["error"]["message"]
    return response.status_code, response.get_json()


def listed(app: Flask, **query: Any) -> list[Json]:
    """Return all entries, page by page."""
    found: list[Json] = []
    cursor: Json = {}
    while True:
        status, page = ask(app, **query, **cursor)
        assert status == 200, page
        found += page["entries"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def fill(app: Flask) -> list[int]:
    client = client_of(app)
    talk = [*system("be brief"), *user("tell me about Paris"), *assistant("a city"), *user("why?")]
    return [
        *client.insert(
            (talk, "因为"), tags=["red", "big"], sources=["doc-17@v3"], metadata={"a": [1]}, ttl=3600
        )["ids"],
        *client.insert(("What is GitHub?", "A site."), tags=["red"], scope={"user": "anne", "n": 1})["ids"],
        *client.insert(("other", "github too"))["ids"],
        *client.insert(("What is GitHub?", "another model's"), model="gpt-4", tags=["red"])["ids"],
    ]


def check_entries(app: Flask) -> None:
    """Check what every pair of stores must show."""
    before = time()
    ids = fill(app)
    client_of(app).query("other" + NEAR)
    get_service(app).cache.writer.flush()
    entries = listed(app, limit=3)
    assert [entry["id"] for entry in entries] == ids[::-1]
    assert all(set(entry) == ENTRY_KEYS for entry in entries)
    assert [entry["hits"] for entry in entries] == [0, 1, 0, 0]
    assert entries[1]["last_hit"] >= before
    whole = entries[3]
    assert whole["question"][0] == {"role": "system", "content": "be brief"}
    assert [turn["content"] for turn in whole["question"][1:]] == ["tell me about Paris", "a city", "why?"]
    assert (whole["answer"], whole["tags"], whole["sources"]) == ("因为", ["big", "red"], ["doc-17@v3"])
    assert (whole["metadata"], whole["scope"], whole["last_hit"]) == ({"a": [1]}, None, None)
    assert before - 1 <= whole["created"] <= time()
    assert before + 3600 <= whole["expires"] <= time() + 3600
    assert whole["embedder"] == HashEmbedder.name
    assert entries[2]["scope"] == {"user": "anne", "n": 1}
    sought: dict[str, list[int]] = {
        '{"model": "m"}': ids[2::-1],
        '{"q": "GITHUB"}': ids[3:0:-1],
        '{"q": "github", "model": "m"}': ids[2:0:-1],
        '{"model": "m", "tag": "red"}': ids[1::-1],
        '{"model": "m", "tag": ["red", "big"]}': ids[:1],
        '{"model": "m", "source": "doc-17@v3"}': ids[:1],
        '{"model": "m", "scope": "{\\"n\\": 1.0}"}': ids[1:2],
        '{"model": "m", "order": "hits", "limit": 1}': [ids[2], ids[1], ids[0]],
        '{"model": "absent"}': [],
    }
    for query, expected in sought.items():
        assert [entry["id"] for entry in listed(app, **json.loads(query))] == expected, query
    assert ask(app, f"{PATH}/{ids[0]}") == (200, whole)
    assert ask(app, f"{PATH}/{ids[0]}", "DELETE") == (204, None)
    assert ask(app, f"{PATH}/{ids[0]}", "DELETE")[0] == 404
    assert ask(app, f"{PATH}/{ids[0]}")[0] == 404
    assert [entry["id"] for entry in listed(app)] == ids[:0:-1]


def test_entries_are_listed_shown_and_removed(app: Flask) -> None:
    check_entries(app)


@pytest.mark.server
def test_entries_in_mariadb_are_listed_shown_and_removed(tmp_path: Path) -> None:
    servers = StoreServers(tmp_path)
    try:
        settings = servers.settings("mysql", "faiss") | {"data_dir": tmp_path / "data"}
        app = create_app(settings, embedder=HashEmbedder())
        check_entries(app)
        get_service(app).close()
    finally:
        servers.stop()


def test_a_removed_entry_answers_no_more(app: Flask) -> None:
    client = client_of(app)
    [id_] = client.insert(("q", "a"))["ids"]
    client.query("q")
    ask(app, f"{PATH}/{id_}", "DELETE")
    assert_miss(client.query("q" + NEAR))
    assert live_rows(app) == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": [1, 2]}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "1-2-3"}, "cursor"),
        ({"cursor": "1-" + "9" * 19}, "cursor"),
        ({"order": "oldest", "model": "m"}, "order"),
        ({"order": "hits"}, "model"),
        ({"tag": "t"}, "model"),
        ({"source": "s"}, "model"),
        ({"scope": '{"a": 1}'}, "model"),
        ({"scope": "{", "model": "m"}, "scope"),
        ({"scope": "[]", "model": "m"}, "scope"),
        ({"scope": "{}", "model": "m"}, "scope"),
        ({"scope": '{"model": "n"}', "model": "m"}, "scope"),
        ({"scope": '{"a": "\\ud800"}', "model": "m"}, "scope"),
        ({"scope": '{"a": ' + "[" * 40 + "]" * 40 + "}", "model": "m"}, "scope"),
        ({"model": ""}, "model"),
        ({"model": "m", "tag": ["t"] * 9}, "tag"),
        ({"model": "m", "tag": ""}, "tag"),
        ({"q": ""}, "q"),
        ({"q": "x" * 1001}, "q"),
        ({"offset": 3}, "offset"),
    ],
)
def test_what_is_wrong_is_named(app: Flask, query: Json, field: str) -> None:
    status, reply = ask(app, **query)
    assert (status, reply["error"]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{PATH}/0", 404),
        ("GET", f"{PATH}/{10**30}", 404),
        ("GET", f"{PATH}/-1", 404),
        ("GET", f"{PATH}/x", 404),
        ("GET", "/admin/absent", 404),
        ("POST", PATH, 405),
        ("DELETE", PATH, 405),
        ("PUT", f"{PATH}/1", 405),
    ],
)
def test_what_is_not_there_is_told_in_the_same_shape(app: Flask, method: str, path: str, status: int) -> None:
    assert ask(app, path, method)[0] == status


def test_a_store_that_fails_is_told_without_its_words(app: Flask) -> None:
    scalars: Any = get_service(app).cache.data_manager.scalars
    with scalars.proxied.writing() as cursor:
        cursor.execute("ALTER TABLE modelcache_llm_answer RENAME TO gone")
    status, reply = ask(app)
    assert (status, reply["error"]) == (503, {"field": None, "message": "the scalar store failed"})


def test_a_service_that_is_starting_says_so(tmp_path: Path) -> None:
    app = create_app({"data_dir": tmp_path}, embedder=HashEmbedder(), open_now=False)
    assert ask(app)[0] == 503


# With keys.


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "keys.json"
    return {
        "all": create_key(path, "all", ["admin"]),
        "gpt": create_key(path, "gpt", ["admin"], models=("gpt-*",)),
        "writer": create_key(path, "writer", ["read", "write"]),
    }


@pytest.fixture
def guarded(make_app: AppFactory, tmp_path: Path, keys: dict[str, str]) -> tuple[Flask, list[int]]:
    open_app = make_app()
    ids = fill(open_app)
    get_service(open_app).close()
    return make_app(keys_file=tmp_path / "keys.json"), ids


def test_only_admins_see_entries(guarded: tuple[Flask, list[int]], keys: dict[str, str]) -> None:
    app, ids = guarded
    for method, path in (("GET", PATH), ("GET", f"{PATH}/{ids[0]}"), ("DELETE", f"{PATH}/{ids[0]}")):
        assert ask(app, path, method)[0] == 401
        assert ask(app, path, method, key="mc-wrong")[0] == 401
        assert ask(app, path, method, key=keys["writer"])[0] == 403
    assert ask(app, limit=0)[0] == 401
    assert ask(app, key=keys["writer"], limit=0)[0] == 403
    assert len(ask(app, key=keys["all"])[1]["entries"]) == 4


def test_a_key_of_some_models_sees_only_these(guarded: tuple[Flask, list[int]], keys: dict[str, str]) -> None:
    app, ids = guarded
    key = keys["gpt"]
    assert [entry["id"] for entry in ask(app, key=key)[1]["entries"]] == ids[3:]
    assert [entry["id"] for entry in ask(app, key=key, model="gpt-4", tag="red")[1]["entries"]] == ids[3:]
    assert ask(app, key=key, model="m")[0] == 403
    absent = ask(app, f"{PATH}/999", key=key)
    assert absent[0] == 404
    assert ask(app, f"{PATH}/{ids[0]}", key=key) == absent
    assert ask(app, f"{PATH}/{ids[0]}", "DELETE", key=key) == absent
    assert ask(app, f"{PATH}/{ids[3]}", "DELETE", key=key)[0] == 204
    assert len(ask(app, key=keys["all"])[1]["entries"]) == 3


def test_what_admins_do_is_audited_without_texts(
    guarded: tuple[Flask, list[int]], keys: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    app, ids = guarded
    with caplog.at_level(logging.INFO, "modelcache.audit"):
        ask(app, key=keys["all"], model="m", q="a secret")
        ask(app, f"{PATH}/{ids[0]}", key=keys["all"])
        ask(app, f"{PATH}/{ids[0]}", "DELETE", key=keys["all"])
        ask(app, key=keys["writer"])
    told = [record.getMessage() for record in caplog.records if record.name == "modelcache.audit"]
    assert told == [
        """entries.list by 'all': {"model": "m"}""",
        f"""entries.get by 'all': {{"id": {ids[0]}}}""",
        f"""entries.delete by 'all': {{"id": {ids[0]}}}""",
    ]


def test_a_limit_of_requests_holds_here_too(make_app: AppFactory, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = create_key(path, "slow", ["admin"], requests_per_minute=1)
    app = make_app(keys_file=path)
    assert ask(app, key=key)[0] == 200
    assert ask(app, key=key)[0] == 429
