"""``GET /metrics``: what Prometheus scrapes, in one process."""

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry, Histogram

from modelcache import prices
from modelcache.access.keys import create_key
from modelcache.admin import metrics as metrics_module
from modelcache.admin import shared_metrics
from modelcache.admin.metrics import SECONDS, _observe_all
from modelcache.app import create_app, get_service
from modelcache.errors import ConfigError, ScalarStoreError
from modelcache.records.event import Queried, Usage
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.service.test_langcache import LangCacheClient
from tests.support.client import CacheClient
from tests.support.gateway_client import GatewayClient
from tests.support.scraping import Scraped
from tests.support.upstream import Upstream

SECRET_TEXT = "how do I reset the vault password"
API_KEY = "sk-very-secret"


def scrape(app: Flask, key: str = "") -> Scraped:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    reply = app.test_client().get("/metrics", headers=headers)
    assert reply.status_code == 200
    assert reply.content_type.startswith("text/plain; version=")
    return Scraped(reply.text)


def test_every_api_is_counted(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, lookup_deadline_ms=5000, langcache=True, gptcache_model="g")
    client, http = CacheClient(app.test_client()), app.test_client()
    gateway, langcache = GatewayClient(app.test_client()), LangCacheClient(app)
    client.insert(("q", "a"))
    langcache.insert("q", "a")
    http.post("/put", json={"prompt": "q", "answer": "a"})
    for text in ("q", "q", "q" + NEAR, "other"):
        client.query(text)
        gateway.ask(text)
        langcache.search(text)
        http.post("/get", json={"prompt": text})
    client.query("q", cache_skip=True)
    client.post({"type": "query"})
    scraped = scrape(app)
    requests = "modelcache_requests_total"
    for api in ("modelcache", "langcache", "gptcache"):
        assert scraped.value(requests, api=api, outcome="hit", hit_type="exact") == 2
        assert scraped.value(requests, api=api, outcome="hit", hit_type="semantic") == 1
        assert scraped.value(requests, api=api, outcome="miss", hit_type="none") == 1
        assert scraped.value("modelcache_inserts_total", api=api) == 1
    # The gateway keeps what it asked for: the first and the last question.
    assert scraped.value(requests, api="gateway", outcome="hit") == 2
    assert scraped.value(requests, api="gateway", outcome="miss") == 2
    assert scraped.value("modelcache_inserts_total", api="gateway") == 2
    assert scraped.value("modelcache_upstream_duration_seconds_count", status="200") == 2
    assert scraped.value("modelcache_tokens_saved_total", model="m", type="prompt") == 10
    assert scraped.value("modelcache_tokens_saved_total", model="m", type="completion") == 14
    assert scraped.value("modelcache_entry_age_seconds_count") == 2
    assert scraped.value(requests) == 4 * 4 + 1
    assert scraped.value("modelcache_bypasses_total", reason="skip") == 1
    assert scraped.value("modelcache_lookup_duration_seconds_count") == 4 * 4
    assert scraped.value("modelcache_errors_total", api="modelcache", request="query", code="103") == 1
    assert scraped.value("modelcache_embedding_duration_seconds_count") > 0


def test_feedback_withheld_answers_and_removals_are_counted(app: Flask) -> None:
    client = CacheClient(app.test_client())
    [one] = client.insert(("book 2 tickets", "a"))["ids"]
    client.feedback(one, "book 2 tickets", True)
    client.remove("delete_by_id", id_list=[one])
    client.register(mode="shadow")
    client.insert(("shadowed", "a"))
    client.query("shadowed")
    scraped = scrape(app)
    assert scraped.value("modelcache_feedback_total", verdict="right") == 1
    assert scraped.value("modelcache_removals_total", cause="id") == 1
    assert scraped.value("modelcache_withheld_total") == 1
    assert scraped.value("modelcache_requests_total") == 1


def test_a_veto_is_counted_by_its_rule(app: Flask) -> None:
    for rule in ("number", "number", "name", ""):
        get_service(app).events.tell(Queried("modelcache", "m", "k", "miss", 0.001, veto=rule))
    scraped = scrape(app)
    assert scraped.value("modelcache_vetoes_total", rule="number") == 2
    assert scraped.value("modelcache_vetoes_total") == 3


def test_gauges_tell_of_entries_stores_and_the_queue(app: Flask) -> None:
    client = CacheClient(app.test_client())
    client.insert(("q", "a"), ("r", "b"))
    client.insert(("q", "a"), model="n")
    scraped = scrape(app)
    assert scraped.value("modelcache_entries", model="m") == 2
    assert scraped.value("modelcache_entries", model="n") == 1
    assert scraped.samples["modelcache_store_up"] == {
        frozenset({("store", "scalar")}): 1.0,
        frozenset({("store", "vector")}): 1.0,
    }
    assert scraped.value("modelcache_ready") == 1
    assert "modelcache_writer_queue" in scraped.samples


def test_no_prompt_key_or_tenant_is_shown(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, lookup_deadline_ms=5000)
    gateway = GatewayClient(app.test_client(), key=API_KEY)
    for _ in range(2):
        gateway.ask(SECRET_TEXT, {"x-modelcache-namespace": "payroll", "x-modelcache-tags": "payroll-tag"})
    CacheClient(app.test_client()).query(SECRET_TEXT, scope={"user": "alice"})
    text = scrape(app).text
    assert not [word for word in (*SECRET_TEXT.split()[-2:], API_KEY, "payroll", "alice") if word in text]


def test_models_beyond_a_number_are_one(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MOST_MODELS", 3)
    service = get_service(app)
    for number in range(10):
        event = Queried("gateway", f"m{number}", "k", "hit", 0.001, "exact", usage=Usage(1, 2))
        service.events.tell(event)
    scraped = scrape(app)
    models = {dict(labels)["model"] for labels in scraped.samples["modelcache_tokens_saved_total"]}
    assert models == {"m0", "m1", "m2", "other"}
    assert scraped.value("modelcache_tokens_saved_total", model="other", type="completion") == 14


@pytest.mark.packages
def test_what_hits_saved_is_priced_where_the_model_is_known(app: Flask) -> None:
    for model in ("gpt-4", "gpt-4", "my-own-model"):
        event = Queried("gateway", model, "k", "hit", 0.001, "exact", usage=Usage(1_000, 100))
        get_service(app).events.tell(event)
    scraped = scrape(app)
    # 30 dollars for a million tokens that go in, 60 for those that come out.
    assert scraped.value("modelcache_cost_saved_usd_total", model="gpt-4") == pytest.approx(0.072)
    assert scraped.value("modelcache_cost_saved_usd_total", model="my-own-model") == 0


def test_without_the_package_of_prices_nothing_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, prices.PACKAGE, None)
    for cached in (prices._listed, prices._calculator):
        cached.cache_clear()
    assert prices.Prices().usd("gpt-4", Usage(1_000, 100)) is None
    for cached in (prices._listed, prices._calculator):
        cached.cache_clear()


def test_entries_of_models_beyond_a_number_are_one(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "MOST_MODELS", 2)
    app = make_app()
    client = CacheClient(app.test_client())
    for number in range(5):
        client.insert(*((f"q{n}", "a") for n in range(number + 1)), model=f"m{number}")
    assert scrape(app).samples["modelcache_entries"] == {
        frozenset({("model", "m4")}): 5.0,
        frozenset({("model", "m3")}): 4.0,
        frozenset({("model", "other")}): 6.0,
    }


def test_counting_many_at_once_is_counting_each() -> None:
    values = [0.0, 0.0005, 0.00051, 0.3, 10.0, 11.0, 3600.0]
    one, all_ = CollectorRegistry(), CollectorRegistry()
    each = Histogram("h", "h", registry=one, buckets=SECONDS)
    for value in values:
        each.observe(value)
    _observe_all(Histogram("h", "h", registry=all_, buckets=SECONDS), values)
    [expected], [counted] = one.collect(), all_.collect()
    assert [(s.name, s.labels, s.value) for s in counted.samples if not s.name.endswith("_created")] == [
        (s.name, s.labels, s.value) for s in expected.samples if not s.name.endswith("_created")
    ]


def test_what_nobody_scrapes_is_counted_all_the_same(app: Flask) -> None:
    """Otherwise events would pile up where there is no Prometheus."""
    CacheClient(app.test_client()).query("q")
    [part] = [one for one in app.blueprints.values() if one.name == "metrics"]
    waiting: Any = part._metrics._waiting  # type: ignore[attr-defined]
    wait_until(lambda: not waiting, "the events being counted")


def test_a_store_that_is_gone_is_shown(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ScalarStoreError("gone")

    manager = get_service(app).cache.data_manager
    monkeypatch.setattr(manager.scalars, "ping", fail)
    scraped = scrape(app)
    assert scraped.value("modelcache_store_up", store="scalar") == 0
    assert scraped.value("modelcache_store_up", store="vector") == 1


def test_a_store_that_hangs_makes_no_scrape_hang(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(get_service(app).cache.data_manager.scalars, "ping", released.wait)
    try:
        for _ in range(3):
            assert scrape(app).value("modelcache_ready") == 1
    finally:
        released.set()


def test_it_answers_while_starting(tmp_path: Path) -> None:
    app = create_app({"data_dir": tmp_path / "data"}, embedder=HashEmbedder(), open_now=False)
    CacheClient(app.test_client()).post({"type": "query"}, 200)
    scraped = scrape(app)
    assert scraped.value("modelcache_ready") == 0
    assert scraped.value("modelcache_errors_total", code="103") == 1
    get_service(app).close()


def test_with_keys_it_wants_one_that_may_read_all(make_app: AppFactory, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    reader = create_key(path, "prometheus", ["read"])
    narrow = create_key(path, "one model", ["read"], models=("m",))
    writer = create_key(path, "writer", ["write"])
    app = make_app(keys_file=path)
    assert scrape(app, reader).value("modelcache_ready") == 1
    http = app.test_client()
    nobody = http.get("/metrics")
    assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert nobody.get_json()["errorCode"] == 401
    for key in (narrow, writer):
        refused = http.get("/metrics", headers={"Authorization": f"Bearer {key}"})
        assert refused.status_code == 403


def test_it_can_be_switched_off(make_app: AppFactory) -> None:
    app = make_app(metrics=False)
    assert app.test_client().get("/metrics").status_code == 404
    assert CacheClient(app.test_client()).query("q")["errorCode"] == 0


def test_counting_ends_with_the_service(app: Flask) -> None:
    service = get_service(app)
    service.close()
    service.open()
    service.close()
    assert "modelcache-metrics" not in {thread.name for thread in threading.enumerate()}
    assert scrape(app).value("modelcache_ready") == 0


def test_the_folder_of_several_workers_is_emptied_or_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "metrics"
    monkeypatch.setenv(shared_metrics.FOLDER_VARIABLE, str(folder))
    shared_metrics.prepare()
    (folder / "counter_1.db").write_bytes(b"left")
    (folder / "note.txt").write_text("kept")
    shared_metrics.prepare()
    assert [path.name for path in folder.iterdir()] == ["note.txt"]
    monkeypatch.setenv(shared_metrics.FOLDER_VARIABLE, str(folder / "note.txt"))
    with pytest.raises(ConfigError, match="the workers cannot write their metrics in"):
        shared_metrics.prepare()
