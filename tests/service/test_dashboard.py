"""The page at /dashboard, and what it asks of /admin beside the figures and the entries."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modelcache.access.keys import create_key
from modelcache.admin.dashboard_routes import FOLDER
from modelcache.app import get_service
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient, user
from tests.support.gateway_client import GatewayClient
from tests.support.upstream import Upstream

Json = dict[str, Any]
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.js"))


def asked(app: Flask, path: str, status: int = 200, **fields: Any) -> Json:
    reply = app.test_client().get(path, query_string=fields)
    assert reply.status_code == status, reply.text
    told: Json = reply.get_json()
    return told


class _Page(HTMLParser):
    """Notes what a page loads, and what it brings itself."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith("data:"):
                self.loaded.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data)


def test_the_page_loads_files_of_the_service_alone_and_brings_no_script(app: Flask) -> None:
    reply = app.test_client().get("/dashboard")
    assert reply.content_type.startswith("text/html")
    page = _Page()
    page.feed(reply.text)
    assert page.inline == []
    assert len(page.loaded) >= 4
    for path in page.loaded:
        assert app.test_client().get(f"/{path}").status_code == 200, path


@pytest.mark.parametrize("name", ["", "/dashboard.js", "/dashboard.css", "/uplot/LICENSE"])
def test_every_file_comes_with_the_policy(app: Flask, name: str) -> None:
    headers = app.test_client().get(f"/dashboard{name}").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["absent.js", "../dashboard_routes.py", "%2e%2e/routes.py", "uplot", ""])
def test_nothing_else_is_served(app: Flask, path: str) -> None:
    assert app.test_client().get(f"/dashboard/{path}").status_code == 404


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_html_of_a_text_or_asks_another_host(name: str) -> None:
    code = (FOLDER / name).read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://", code)


def test_the_page_wants_no_key_and_its_data_does(make_app: AppFactory, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    create_key(keys, "one", ["admin"])
    app = make_app(keys_file=keys)
    assert app.test_client().get("/dashboard").status_code == 200
    assert asked(app, "/admin/models", 401)["error"]["field"] is None


def test_the_models_are_told_with_what_is_set_for_them(make_app: AppFactory) -> None:
    app = make_app(mode="verified", error_rate=0.02, max_size=10)
    client = CacheClient(app.test_client())
    client.insert(("q", "a"), ("r", "b"), model="with entries")
    client.register("set", mode="shadow", error_rate=0.05, ttl=60, max_size=0)
    common = {"mode": "verified", "error_rate": 0.02, "ttl": None, "max_size": 10}
    own = {"mode": "shadow", "error_rate": 0.05, "ttl": 60, "max_size": None}
    assert asked(app, "/admin/models")["models"] == [
        {"model": "set", "entries": 0} | own,
        {"model": "with entries", "entries": 2} | common,
    ]


def test_only_the_models_of_a_key_are_told(make_app: AppFactory, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = create_key(keys, "gpt", ["admin"], models=("gpt-*",))
    everything = create_key(keys, "all", ["admin"])
    app = make_app(keys_file=keys)
    for model in ("gpt-4", "other"):
        body = {"type": "register", "scope": {"model": model}, "mode": "off"}
        app.test_client().post("/modelcache", json=body, headers={"Authorization": f"Bearer {everything}"})
    told = app.test_client().get("/admin/models", headers={"Authorization": f"Bearer {key}"}).get_json()
    assert [one["model"] for one in told["models"]] == ["gpt-4"]


def recently(app: Flask, **fields: Any) -> list[Json]:
    get_service(app).cache.writer.flush()
    told: list[Json] = asked(app, "/admin/recent", **fields)["recent"]
    return told


def test_recent_hits_stand_beside_what_answered_them(app: Flask, client: CacheClient) -> None:
    [id_] = client.insert(("q", "a"))["ids"]
    client.insert(("r", "b"), model="other")
    client.query("q")
    client.query("q" + NEAR)
    client.query("r", "other")
    client.query("unknown")
    latest, near, exact = recently(app)
    assert (latest["model"], latest["cached"], latest["answer"]) == ("other", user("r"), "b")
    assert (near["asked"], near["cached"], near["answer"]) == (user("q" + NEAR), user("q"), "a")
    assert 0.9 < near["confidence"] < 1
    assert (exact["asked"], exact["confidence"], exact["entry_id"]) == (user("q"), 1.0, id_)
    assert [one["model"] for one in recently(app, model="other")] == ["other"]
    assert recently(app, limit=1) == [latest]


def test_what_nearly_hit_is_told_with_its_confidence(make_app: AppFactory) -> None:
    app = make_app(similarity_threshold=0.99)
    client = CacheClient(app.test_client())
    [id_] = client.insert(("q", "a"))["ids"]
    client.query("q" + NEAR)
    [near] = recently(app, kind="near")
    assert (near["asked"], near["cached"], near["answer"]) == (user("q" + NEAR), user("q"), "a")
    assert (near["entry_id"], near["veto"]) == (id_, "")
    assert 0.9 < near["confidence"] < 0.99
    client.remove("truncate_by_model")
    assert recently(app, kind="near") == []


def test_the_nearest_misses_come_first(app: Flask, client: CacheClient) -> None:
    client.insert(("q", "a"))
    for text in ("unknown", "q" + NEAR, "far off"):
        client.post({"type": "query", "scope": {"model": "m"}, "query": user(text), "threshold": 0.99})
    near, *others = recently(app, kind="near")
    assert near["asked"] == user("q" + NEAR)
    assert all(one["confidence"] < near["confidence"] for one in others)
    assert recently(app, kind="near", limit=1) == [near]


def test_a_rule_that_refused_is_told(app: Flask, client: CacheClient) -> None:
    [id_] = client.insert(("12 eggs" + NEAR, "a"))["ids"]
    client.feedback(id_, "12 eggs", False)
    client.query("12 eggs")
    assert [one["veto"] for one in recently(app, kind="near")] == ["feedback"]


def test_in_shadow_all_that_would_have_hit_is_near(make_app: AppFactory) -> None:
    app = make_app(mode="shadow")
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    client.query("q" + NEAR)
    assert recently(app) == []
    assert [one["answer"] for one in recently(app, kind="near")] == ["a"]


def test_without_a_log_that_is_told(make_app: AppFactory) -> None:
    app = make_app(query_log=False)
    assert asked(app, "/admin/recent") == {"logged": False, "recent": []}


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"kind": "all"}, "kind"), ({"limit": "0"}, "limit"), ({"model": ""}, "model"), ({"q": "x"}, "q")],
    ids=["kind", "limit", "model", "unknown"],
)
def test_a_parameter_that_is_wrong_is_named(app: Flask, fields: Json, field: str) -> None:
    assert asked(app, "/admin/recent", 400, **fields)["error"]["field"] == field


def test_the_curve_tells_what_each_threshold_would_have_answered(make_app: AppFactory) -> None:
    app = make_app(mode="shadow", similarity_threshold=0.93, answers_different=0.9)
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    for text, answer in (("q" + NEAR, "a"), ("q", "quite another"), ("unknown", "b")):
        client.query(text)
        client.insert((text, answer))

    def compared() -> int:
        lowest = asked(app, "/admin/shadow", model="m")["points"][0]
        return int(lowest["right"] + lowest["wrong"])

    wait_until(lambda: compared() == 3, "the answers being compared")
    told = asked(app, "/admin/shadow", model="m")
    assert (told["queries"], told["thresholds"]) == (3, {"en": 0.93, "zh": 0.93})
    by_threshold = {point["threshold"]: point for point in told["points"]}
    near, equal = by_threshold[0.95], by_threshold[None]
    assert (near["hits"], near["right"], near["wrong"], near["wrong_rate"]) == (2, 1, 1, 0.5)
    assert near["hit_rate"] == pytest.approx(2 / 3)
    assert (equal["hits"], equal["wrong_rate"]) == (1, 1.0)
    assert 0 < near["wrong_interval"][0] < 0.5 < near["wrong_interval"][1] < 1


def test_a_curve_of_nothing_is_empty(app: Flask) -> None:
    told = asked(app, "/admin/shadow", model="m")
    assert told["queries"] == 0
    assert {(point["hits"], point["hit_rate"], point["wrong_rate"]) for point in told["points"]} == {
        (0, None, None)
    }
    assert asked(app, "/admin/shadow", 400)["error"]["field"] == "model"


def judge(app: Flask, one: Json, correct: bool) -> str:
    """Say of a recent hit whether it was right, as the page does."""
    body = {"query": one["asked"], "correct": correct}
    reply = app.test_client().post(f"/admin/entries/{one['entry_id']}/feedback", json=body)
    assert reply.status_code == 200, reply.text
    status: str = reply.get_json()["status"]
    return status


def test_a_verdict_on_a_hit_reaches_its_entry(app: Flask, client: CacheClient) -> None:
    client.insert(("q", "a"), scope={"user": "anne"})
    for text in ("q", "q" + NEAR):
        assert client.query(text, scope={"user": "anne"})["cacheHit"]
    near, exact = recently(app)
    assert judge(app, exact, True) == "recorded"
    assert judge(app, near, False) == "recorded"
    assert client.query("q" + NEAR, scope={"user": "anne"})["veto"] == "feedback"
    assert judge(app, exact, False) == "retired"
    assert not client.query("q", scope={"user": "anne"})["cacheHit"]


def test_a_verdict_on_a_hit_of_the_gateway_does_too(make_app: AppFactory) -> None:
    with Upstream() as upstream:
        app = make_app(upstream_url=upstream.url, lookup_deadline_ms=5000)
        gateway = GatewayClient(app.test_client())
        said = [gateway.said(text)[0] for text in ("q", "q" + NEAR, "q")]
        assert said == ["miss", "hit", "hit"]
        exact, near = recently(app)
        assert judge(app, near, False) == "recorded"
        assert gateway.said("q")[0] == "hit"
        assert gateway.said("q" + NEAR)[0] == "miss"
        assert judge(app, exact, False) == "retired"
        assert app.test_client().get(f"/admin/entries/{exact['entry_id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("x", "body"),
        ('{"query": [], "correct": true}', "query"),
        ('{"query": [{"role": "system", "content": "q"}], "correct": true}', "query"),
        ('{"query": [{"role": "user", "content": "q"}], "correct": 1}', "correct"),
    ],
    ids=["no JSON", "empty", "system", "no boolean"],
)
def test_a_verdict_that_is_none_is_refused(app: Flask, client: CacheClient, body: str, field: str) -> None:
    [id_] = client.insert(("q", "a"))["ids"]
    reply = app.test_client().post(f"/admin/entries/{id_}/feedback", data=body)
    assert (reply.status_code, reply.get_json()["error"]["field"]) == (400, field)
    assert app.test_client().post("/admin/entries/999/feedback", data=body).status_code == 404
