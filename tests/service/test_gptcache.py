"""The routes of GPTCache's server."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelcache.core import Cache
from modelcache.errors import ScalarStoreError
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient


@pytest.fixture
def app(make_app: AppFactory) -> Flask:
    return make_app(gptcache_model="g")


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


def get(http: FlaskClient, prompt: str) -> Any:
    # Its client sends the header and the JSON by themselves.
    reply = http.post("/get", json={"prompt": prompt})
    assert reply.status_code == 200
    assert reply.json
    assert reply.json["prompt"] == prompt
    return reply.json["answer"]


def test_what_is_put_is_got_until_it_is_flushed(app: Flask, http: FlaskClient) -> None:
    reply = http.post("/put", json={"prompt": "q", "answer": "a"})
    assert (reply.status_code, reply.json) == (200, "successfully update the cache")
    assert [get(http, text) for text in ("q", "q" + NEAR, "another")] == ["a", "a", None]
    assert CacheClient(http).query("q", model="g")["answer"] == "a"
    assert http.post("/flush").json == "successfully flush the cache"
    assert get(http, "q") is None


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/get", {}, "prompt"),
        ("/get", {"prompt": " "}, "prompt"),
        ("/put", {"prompt": "q"}, "answer"),
        ("/put", {"prompt": "q", "answer": ""}, "answer"),
    ],
)
def test_a_field_that_is_wrong_is_named(http: FlaskClient, path: str, body: Any, field: str) -> None:
    reply = http.post(path, json=body)
    assert reply.status_code == 422
    assert reply.json
    assert reply.json["detail"].startswith(f"{field}: ")
    assert http.post(path, data=b"{").status_code == 422


def test_a_store_that_fails_is_told(cache: Cache, http: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ScalarStoreError("a host and a password")

    monkeypatch.setattr(cache.data_manager.scalars, "find_exact", fail)
    reply = http.post("/get", json={"prompt": "q"})
    assert reply.status_code == 503
    assert "password" not in reply.text


def test_it_is_there_only_where_it_is_set(make_app: AppFactory) -> None:
    assert make_app().test_client().post("/get", json={"prompt": "q"}).status_code == 404
