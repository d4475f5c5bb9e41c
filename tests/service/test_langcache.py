"""The REST API of Redis LangCache."""

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from modelcache.core import Cache
from modelcache.errors import ScalarStoreError
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient

ROOT = "/v1/caches/c"


@pytest.fixture
def app(make_app: AppFactory) -> Flask:
    return make_app(langcache=True)


class LangCacheClient:
    """Speaks to one app, with one key."""

    def __init__(self, app: Flask, key: str = "k", root: str = ROOT) -> None:
        self.http = app.test_client()
        self.headers = {"Authorization": f"Bearer {key}"}
        self.root = root

    def call(self, method: str, path: str, body: Any = None) -> TestResponse:
        return self.http.open(self.root + path, method=method, json=body, headers=self.headers)

    def insert(self, prompt: str, response: str, **more: Any) -> str:
        reply = self.call("POST", "/entries", {"prompt": prompt, "response": response} | more)
        assert reply.status_code == 201
        entry_id: str = reply.json["entryId"]  # type: ignore[index]
        return entry_id

    def search(self, prompt: str, **more: Any) -> list[dict[str, Any]]:
        reply = self.call("POST", "/entries/search", {"prompt": prompt} | more)
        assert reply.status_code == 200, reply.text
        data: list[dict[str, Any]] = reply.json["data"]  # type: ignore[index]
        return data


@pytest.fixture
def langcache(app: Flask) -> LangCacheClient:
    return LangCacheClient(app)


def test_what_is_stored_is_found(langcache: LangCacheClient) -> None:
    entry_id = langcache.insert("q", "a")
    assert len(entry_id) == 32
    [found] = langcache.search("q" + NEAR)
    assert 0.9 < found.pop("similarity") < 1
    assert found == {
        "id": entry_id,
        "prompt": "q",
        "response": "a",
        "attributes": {},
        "searchStrategy": "semantic",
    }
    [found] = langcache.search("q", searchStrategies=["exact", "semantic"])
    assert (found["searchStrategy"], found["similarity"]) == ("exact", 1.0)
    assert langcache.search("q" + NEAR, searchStrategies=["exact"]) == []
    assert langcache.search("q" + NEAR, similarityThreshold=0.99) == []
    assert langcache.search("another") == []


def test_attributes_part_entries_and_remove_them(langcache: LangCacheClient) -> None:
    both = {"user": "u", "app": "a"}
    langcache.insert("q", "of both", attributes=both)
    langcache.insert("q", "of one", attributes={"user": "u"})
    langcache.insert("q", "of none")
    assert [one["response"] for one in langcache.search("q")] == ["of none"]
    [found] = langcache.search("q", attributes={"app": "a", "user": "u"})
    assert (found["response"], found["attributes"]) == ("of both", both)
    reply = langcache.call("DELETE", "/entries", {"attributes": both})
    assert reply.json == {"deletedEntriesCount": 1}
    assert langcache.call("DELETE", "/entries", {"attributes": {"user": "u"}}).json == {
        "deletedEntriesCount": 1
    }
    assert langcache.search("q") != []


def test_entries_are_removed_one_by_one_and_all_at_once(app: Flask, langcache: LangCacheClient) -> None:
    entry_id = langcache.insert("q", "a")
    langcache.insert("r", "b")
    stranger = LangCacheClient(app, "other")
    stranger.insert("r", "of the stranger")
    assert stranger.call("DELETE", f"/entries/{entry_id}").status_code == 204
    assert langcache.search("q") != []
    for _ in range(2):
        assert langcache.call("DELETE", f"/entries/{entry_id}").status_code == 204
    assert langcache.search("q") == []
    assert langcache.call("POST", "/flush").status_code == 204
    assert langcache.search("r") == []
    assert stranger.search("r") != []


def test_callers_and_caches_are_apart(app: Flask, langcache: LangCacheClient) -> None:
    langcache.insert("q", "a")
    assert LangCacheClient(app, "other").search("q") == []
    assert LangCacheClient(app, root="/v1/caches/d").search("q") == []
    assert not CacheClient(app.test_client()).query("q", model="c")["cacheHit"]


def test_an_entry_ends_with_its_time(langcache: LangCacheClient) -> None:
    langcache.insert("q", "a", ttlMillis=1)
    assert langcache.search("q") == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/entries/search", {}, "prompt"),
        ("/entries/search", {"prompt": " "}, "prompt"),
        ("/entries/search", {"prompt": "p" * 1025}, "prompt"),
        ("/entries/search", {"prompt": "p", "similarityThreshold": 2}, "similarityThreshold"),
        ("/entries/search", {"prompt": "p", "searchStrategies": ["x"]}, "searchStrategies.0"),
        ("/entries", {"prompt": "p"}, "response"),
        ("/entries", {"prompt": "p", "response": "r", "ttlMillis": 0}, "ttlMillis"),
        ("/entries", {"prompt": "p", "response": "r", "attributes": {"a": 1}}, "attributes.a"),
        (
            "/entries",
            {"prompt": "p", "response": "r", "attributes": dict.fromkeys("abcdef", "v")},
            "attributes",
        ),
        ("/entries", [], ""),
    ],
)
def test_a_field_that_is_wrong_is_named(langcache: LangCacheClient, path: str, body: Any, field: str) -> None:
    reply = langcache.call("POST", path, body)
    assert reply.status_code == 400
    assert reply.json
    assert reply.json["type"] == "/errors/invalid-data"
    assert reply.json["detail"].startswith(field)


def test_a_caller_without_a_key_and_an_id_that_is_none_are_refused(app: Flask) -> None:
    reply = app.test_client().post(f"{ROOT}/entries/search", json={"prompt": "q"})
    assert (reply.status_code, reply.json and reply.json["status"]) == (401, 401)
    assert LangCacheClient(app).call("DELETE", "/entries/xyz").status_code == 400


def test_a_store_that_fails_is_told(
    cache: Cache, langcache: LangCacheClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise ScalarStoreError("a host and a password")

    monkeypatch.setattr(cache.data_manager.scalars, "find_exact", fail)
    reply = langcache.call("POST", "/entries/search", {"prompt": "q"})
    assert reply.status_code == 424
    assert "password" not in reply.text


def test_it_is_there_only_where_it_is_set(make_app: AppFactory) -> None:
    assert LangCacheClient(make_app()).call("POST", "/flush").status_code == 404


def test_it_stands_beside_the_gateway(make_app: AppFactory) -> None:
    app = make_app(langcache=True, upstream_url="http://127.0.0.1:9/v1")
    LangCacheClient(app).insert("q", "a")
    assert LangCacheClient(app).search("q") != []
