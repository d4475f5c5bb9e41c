"""The replies are as openapi.yaml says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from openapi_core import Config, OpenAPI
from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest, WerkzeugOpenAPIResponse
from openapi_core.exceptions import OpenAPIError
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, TestResponse

from modelcache.access.keys import create_key
from modelcache.app import get_service
from tests.conftest import AppFactory
from tests.support.gateway_client import chat_body
from tests.support.running import ROOT
from tests.support.upstream import Script, Upstream
from tests.support.wire import VALID

pytestmark = pytest.mark.packages

DOCUMENT = yaml.safe_load((ROOT / "reference_doc" / "openapi.yaml").read_text(encoding="utf-8"))
CONFIG = Config(extra_media_type_deserializers={"text/event-stream": bytes.decode})
OPENAPI = OpenAPI.from_dict(DOCUMENT, config=CONFIG)
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
SEARCH = "/v1/caches/m/entries/search"
ENTRIES = "/v1/caches/m/entries"
NOBODY: dict[str, str] = {}
CALLER = {"Authorization": "Bearer sk-one"}
# What wants a fault within, which tests of their own provoke.
UNSEEN = {"500"}


@pytest.fixture
def settings(upstream: Upstream) -> dict[str, Any]:
    return {
        "upstream_url": upstream.url,
        "lookup_deadline_ms": 5000,
        "langcache": True,
        "gptcache_model": "m",
        "max_body_bytes": 4096,
        "gateway_max_body_bytes": 4096,
        "upstream_timeout": 0.5,
    }


class Checked:
    """Asks an app, and wants every reply to be as the document says."""

    def __init__(self, app: Flask, headers: dict[str, str] = CALLER) -> None:
        self.http = app.test_client()
        self.headers = headers

    def call(
        self, path: str, body: Any = None, method: str = "POST", headers: dict[str, str] | None = None
    ) -> TestResponse:
        sent = self.headers | (headers or {})
        reply = self.http.open(path, method=method, json=body, headers=sent, buffered=True)
        # The request that was sent is read to its end, and the document knows no paths that lead elsewhere.
        request = EnvironBuilder(
            path.replace("..%2F", ""), method=method, json=body, headers=Headers(sent)
        ).get_request()
        OPENAPI.validate_response(WerkzeugOpenAPIRequest(request), WerkzeugOpenAPIResponse(reply))
        return reply

    def status(self, *arguments: Any, **more: Any) -> str:
        return str(self.call(*arguments, **more).status_code)


def documented(path: str, method: str = "post") -> set[str]:
    """Return the statuses that the document tells of a route, but for those that want a fault within."""
    return set(DOCUMENT["paths"][path][method]["responses"]) - UNSEEN - {"default"}


def limited(path: Path, make_app: AppFactory, settings: dict[str, Any]) -> tuple[Checked, Checked, Checked]:
    """Return callers with no key, with one that may do nothing here, and with one that asks too much."""
    keys = path / "keys.json"
    idle = create_key(keys, "idle", ["read"], models=["other"])
    busy = create_key(keys, "busy", ["read", "write", "admin"], requests_per_minute=1)
    more = {"upstream_api_key": "sk-ours", "keys_file": keys, "data_dir": path / "limited"}
    app = make_app(**settings | more)

    def of(key: str) -> Checked:
        return Checked(app, {"Authorization": f"Bearer {key}"})

    return of("mc-wrong"), of(idle), of(busy)


@pytest.mark.parametrize("kind", VALID)
def test_the_replies_of_modelcache(make_app: AppFactory, settings: dict[str, Any], kind: str) -> None:
    one = Checked(make_app(**settings))
    one.call("/modelcache", VALID["insert"])
    assert one.call("/modelcache", VALID[kind]).get_json()["errorCode"] == 0
    assert one.call("/modelcache", VALID[kind] | {"scope": 1}).get_json()["errorCode"] != 0


def response_body(text: str, model: str = "m", **more: Any) -> dict[str, Any]:
    return {"model": model, "input": text} | more


@pytest.mark.parametrize("route", [CHAT, RESPONSES])
def test_the_gateways_replies(
    make_app: AppFactory, settings: dict[str, Any], upstream: Upstream, tmp_path: Path, route: str
) -> None:
    body_of = chat_body if route == CHAT else response_body
    app = make_app(**settings)
    one = Checked(app)
    body = body_of("q")
    seen = {one.status(route, body) for _ in range(2)}
    assert one.call(route, body | {"stream": True}).headers["x-modelcache"] == "hit"
    assert one.call(route, body_of("r", stream=True)).headers["x-modelcache"] == "miss"
    assert one.call(route, body, headers={"Cache-Control": "no-cache"}).headers["x-modelcache"] == "miss"
    assert Checked(app, NOBODY).call(route, body).headers["x-modelcache"] == "bypass"
    seen |= {
        one.status(route, body | {"cache": {"ttl": 0}}),
        one.status(route, body_of("s"), headers={"Cache-Control": "only-if-cached"}),
        one.status(route, body_of("t" * 5000)),
    }
    upstream.script = Script(status=418)
    assert one.status(route, body_of("u")) == "418"
    upstream.script = Script(fault="drop")
    seen.add(one.status(route, body_of("v")))
    upstream.script = Script()
    wrong, idle, busy = limited(tmp_path, make_app, settings)
    seen |= {wrong.status(route, body), idle.status(route, body), busy.status(route, body)}
    seen.add(busy.status(route, body))
    assert seen == documented(route)


def test_the_replies_to_feedback(make_app: AppFactory, settings: dict[str, Any], tmp_path: Path) -> None:
    route, app = "/v1/feedback", make_app(**settings)
    one = Checked(app)
    entry_id = int(one.call(CHAT, chat_body("q")).headers["x-modelcache-entry-id"])
    said = {"entry_id": entry_id, "correct": False}
    seen = {
        one.status(route, said | {"request": chat_body("q")}),
        one.status(route, said | {"entry_id": 10**9}),
        one.status(route, {"entry_id": entry_id}),
        one.status(route, said | {"request": chat_body("q" * 5000)}),
    }
    wrong, idle, _ = limited(tmp_path, make_app, settings)
    seen |= {wrong.status(route, said), idle.status(route, said)}
    get_service(app).close()
    seen.add(one.status(route, said))
    assert seen == documented(route)


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_what_passes_through(
    make_app: AppFactory, settings: dict[str, Any], upstream: Upstream, tmp_path: Path, method: str
) -> None:
    keys = tmp_path / "keys.json"
    writing = create_key(keys, "writing", ["write"])
    own = {"upstream_api_key": "sk-ours", "keys_file": keys, "data_dir": tmp_path / "locked"}
    locked = make_app(**settings | own)
    alone = make_app(**settings | {"upstream_url": "http://127.0.0.1:9/v1", "data_dir": tmp_path / "alone"})
    one = Checked(make_app(**settings))

    def status(caller: Checked, path: str = "/v1/models", body: Any = None) -> str:
        return caller.status(path, body, method=method.upper())

    assert status(one) == "200"
    seen = {
        status(one, "/v1/..%2Fmodels"),
        status(one, body={"text": "t" * 5000}),
        status(Checked(locked, NOBODY)),
        status(Checked(locked, {"Authorization": f"Bearer {writing}"})),
        status(Checked(alone)),
    }
    assert seen | {"429", "504"} == documented("/v1/{rest}", method)


def test_the_replies_of_langcaches_api(
    make_app: AppFactory, settings: dict[str, Any], tmp_path: Path
) -> None:
    app = make_app(**settings)
    one = Checked(app)
    new = {"prompt": "q", "response": "a", "attributes": {"user": "u"}}
    entry_id = one.call(ENTRIES, new).get_json()["entryId"]
    calls: dict[tuple[str, str], tuple[str, Any, Any]] = {
        ("/entries/search", "post"): (SEARCH, {"prompt": "q", "attributes": {"user": "u"}}, {}),
        ("/entries", "post"): (ENTRIES, new, {}),
        ("/entries", "delete"): (ENTRIES, {"attributes": {"user": "u"}}, {"attributes": {}}),
        ("/entries/{entryId}", "delete"): (f"{ENTRIES}/{entry_id}", None, None),
        ("/flush", "post"): ("/v1/caches/m/flush", None, None),
    }
    wrong, idle, busy = limited(tmp_path, make_app, settings)
    seen: dict[tuple[str, str], set[str]] = {}
    for route, (path, body, misshapen) in calls.items():
        method = route[1].upper()
        seen[route] = {caller.status(path, body, method=method) for caller in (one, wrong, idle, busy, busy)}
        seen[route].add(one.status(path, {"prompt": "q" * 5000}, method=method))
        if misshapen is not None:
            seen[route].add(one.status(path, misshapen, method=method))
    seen["/entries/{entryId}", "delete"].add(one.status(f"{ENTRIES}/none", method="DELETE"))
    get_service(app).close()
    for route, (path, body, _) in calls.items():
        seen[route].add(one.status(path, body, method=route[1].upper()))
    for (path, method), statuses in seen.items():
        assert statuses == documented(f"/v1/caches/{{cacheId}}{path}", method), path


def test_the_replies_of_gptcaches_routes(
    make_app: AppFactory, settings: dict[str, Any], tmp_path: Path
) -> None:
    app = make_app(**settings)
    one = Checked(app)
    wrong, idle, busy = limited(tmp_path, make_app, settings)
    body = {"prompt": "q", "answer": "a"}
    seen = {}
    for route in ("/put", "/get", "/flush"):
        seen[route] = {caller.status(route, body) for caller in (one, wrong, idle, busy, busy)}
        seen[route].add(one.status(route, {"prompt": "q" * 5000}))
        if route != "/flush":
            seen[route].add(one.status(route, {}))
    get_service(app).close()
    for route, statuses in seen.items():
        assert statuses | {one.status(route, body)} == documented(route), route


@pytest.mark.parametrize("route", ["/admin/models", "/admin/recent", "/admin/shadow"])
def test_what_the_dashboard_asks_for(make_app: AppFactory, tmp_path: Path, route: str) -> None:
    app = make_app()
    one = Checked(app)
    for kind in ("insert", "query", "query"):
        one.call("/modelcache", VALID[kind])
    get_service(app).cache.writer.flush()
    wrong, idle, busy = limited(tmp_path, make_app, {})
    path = f"{route}?model=m" if route == "/admin/shadow" else route
    seen = {caller.status(path, method="GET") for caller in (one, wrong, idle, busy, busy)}
    if "400" in documented(route, "get"):
        seen.add(one.status(f"{route}?limit=x", method="GET"))
    get_service(app).close()
    assert seen | {one.status(path, method="GET")} == documented(route, "get")


def test_a_reply_that_is_not_as_the_document_says_is_noticed(
    make_app: AppFactory, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        DOCUMENT["components"]["schemas"]["GptCacheAnswer"]["properties"], "answer", {"const": 1}
    )
    monkeypatch.setattr(f"{__name__}.OPENAPI", OpenAPI.from_dict(DOCUMENT, config=CONFIG))
    with pytest.raises(OpenAPIError):
        Checked(make_app(**settings)).call("/get", {"prompt": "q"})
