"""Keys of the cache's own, before the gateway and LangCache's API."""

from pathlib import Path

import pytest
from flask import Flask

from modelcache.access.keys import create_key
from tests.conftest import AppFactory
from tests.support.gateway_client import chat_body
from tests.support.upstream import Upstream

CHAT = "/v1/chat/completions"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def app(make_app: AppFactory, upstream: Upstream, path: Path) -> Flask:
    create_key(path, "first", ["admin"])
    return make_app(upstream_url=upstream.url, lookup_deadline_ms=5000, keys_file=path)


def ask(app: Flask, headers: dict[str, str], route: str = CHAT) -> tuple[int, str]:
    http = app.test_client()
    reply = (
        http.post(route, json=chat_body("q"), headers=headers)
        if route == CHAT
        else http.get(route, headers=headers)
    )
    code = "" if reply.status_code == 200 else reply.get_json()["error"]["code"]
    return reply.status_code, code


@pytest.mark.parametrize("route", [CHAT, "/v1/models"])
@pytest.mark.parametrize(
    "headers", [{}, {"x-modelcache-key": "mc-wrong"}, {"Authorization": "Bearer sk-theirs"}]
)
def test_without_a_valid_key_nothing_reaches_the_server_behind(
    app: Flask, upstream: Upstream, route: str, headers: dict[str, str]
) -> None:
    assert ask(app, headers, route) == (401, "invalid_api_key")
    assert not upstream.calls


def test_a_key_lets_in_beside_that_of_the_server_behind(app: Flask, upstream: Upstream, path: Path) -> None:
    key = create_key(path, "gateway", ["read", "write"])
    app.extensions["modelcache"].gate._next_look = 0
    headers = {"x-modelcache-key": key, "Authorization": "Bearer sk-theirs"}
    assert ask(app, headers)[0] == 200
    assert upstream.calls[-1].headers["authorization"] == "Bearer sk-theirs"
    assert key not in str(upstream.calls[-1].headers)


def test_where_the_service_has_the_key_of_the_server_behind_authorization_is_ours(
    make_app: AppFactory, upstream: Upstream, path: Path
) -> None:
    key = create_key(path, "gateway", ["read", "write"])
    app = make_app(
        upstream_url=upstream.url, lookup_deadline_ms=5000, keys_file=path, upstream_api_key="sk-ours"
    )
    assert ask(app, {"Authorization": f"Bearer {key}"})[0] == 200
    assert upstream.calls[-1].headers["authorization"] == "Bearer sk-ours"


def test_roles_models_and_limits_hold(app: Flask, upstream: Upstream, path: Path) -> None:
    model = chat_body("q")["model"]
    reading = create_key(path, "reading", ["read"])
    elsewhere = create_key(path, "elsewhere", ["read", "write"], models=("another",))
    once = create_key(path, "once", ["read", "write"], models=(model,), requests_per_minute=1)
    app.extensions["modelcache"].gate._next_look = 0
    assert ask(app, {"x-modelcache-key": reading}) == (403, "insufficient_permissions")
    assert ask(app, {"x-modelcache-key": reading}, "/v1/models")[0] == 200
    assert ask(app, {"x-modelcache-key": elsewhere}) == (403, "insufficient_permissions")
    assert ask(app, {"x-modelcache-key": once})[0] == 200
    assert ask(app, {"x-modelcache-key": once}) == (429, "rate_limit_exceeded")


def test_langcache_wants_a_key_of_ours(make_app: AppFactory, path: Path) -> None:
    reading = create_key(path, "reading", ["read"], models=("c",))
    writing = create_key(path, "writing", ["write"], models=("c",))
    app = make_app(langcache=True, keys_file=path)

    def status(key: str, route: str, body: dict[str, str], cache: str = "c") -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return app.test_client().post(f"/v1/caches/{cache}{route}", json=body, headers=headers).status_code

    found = ("/entries/search", {"prompt": "q"})
    stored = ("/entries", {"prompt": "q", "response": "a"})
    assert [status("mc-wrong", *one) for one in (found, stored)] == [401, 401]
    assert [status(reading, *one) for one in (found, stored)] == [200, 403]
    assert [status(writing, *one) for one in (found, stored)] == [403, 201]
    assert status(reading, *found, "another") == 403


def test_gptcaches_routes_want_a_key_of_ours(make_app: AppFactory, path: Path) -> None:
    reading = create_key(path, "reading", ["read"])
    admin = create_key(path, "admin", ["admin"])
    http = make_app(gptcache_model="g", keys_file=path).test_client()

    def status(key: str, route: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return http.post(route, json={"prompt": "q", "answer": "a"}, headers=headers).status_code

    assert [status("mc-wrong", route) for route in ("/put", "/get", "/flush")] == [401] * 3
    assert [status(reading, route) for route in ("/put", "/get", "/flush")] == [403, 200, 403]
    assert [status(admin, route) for route in ("/put", "/get", "/flush")] == [200] * 3
