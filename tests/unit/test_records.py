"""What is recorded beside the replies."""

import re

import pytest
from flask import Flask

from modelcache.core import Cache
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient, user
from tests.support.wire import (
    SURPRISE,
    break_method,
    client_of,
    select,
    system,
)


def test_hits_are_counted(app: Flask, client: CacheClient) -> None:
    client.insert(("q", "a"), ("other", "b"))
    for text in ("q", "q" + NEAR, "q", "unlike"):
        client.query(text)
    rows = select(app, "SELECT answer, hit_count FROM modelcache_llm_answer ORDER BY id")
    assert rows == [("a", 3), ("b", 0)]


LOG = "SELECT error_code, error_desc, cache_hit, model, query, hit_query, answer FROM modelcache_query_log"


def test_query_log_tells_what_was_asked_and_answered(make_app: AppFactory) -> None:
    app = make_app(model_blacklist=("bad",))
    client = client_of(app)
    client.insert((system("s") + user("问?"), "答"), model="模型")
    client.query(system("s") + user("问?" + NEAR), model="模型")
    client.query("问?", model="模型")
    client.query("问?", model="bad")
    assert select(app, f"{LOG} ORDER BY id") == [
        (0, "", 1, "模型", f"system###s|||user###问?{NEAR}", "system###s|||user###问?", "答"),
        (0, "", 0, "模型", "user###问?", "", ""),
        (105, "model: bad in blacklist", 0, "bad", "user###问?", "", ""),
    ]


def test_query_log_tells_of_failures(filled: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(filled)
    break_method(monkeypatch, filled, "embedder.embed")
    client.query("q")
    break_method(monkeypatch, filled, "embedder.embed", failure=SURPRISE)
    client.query("q")
    assert select(filled, "SELECT error_code, cache_hit FROM modelcache_query_log ORDER BY id") == [
        (201, 0),
        (202, 0),
    ]


def test_query_log_has_the_time_that_a_query_took(app: Flask, client: CacheClient) -> None:
    client.query("q")
    [(seconds, created)] = select(app, "SELECT delta_time, gmt_create FROM modelcache_query_log")
    assert seconds > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", created)


def test_query_log_can_be_off(make_app: AppFactory) -> None:
    app = make_app(query_log=False)
    client = client_of(app)
    client.insert(("q", "a"))
    client.query("q")
    assert select(app, "SELECT COUNT(*) FROM modelcache_query_log") == [(0,)]
    assert select(app, "SELECT hit_count FROM modelcache_llm_answer") == [(1,)]


def test_refused_requests_are_not_logged(app: Flask, client: CacheClient) -> None:
    client.post({"type": "query", "scope": {"model": "m"}, "query": []})
    client.post({"type": "unknown"})
    assert select(app, "SELECT COUNT(*) FROM modelcache_query_log") == [(0,)]


def test_rows_keep_question_answer_and_model(app: Flask, cache: Cache, client: CacheClient) -> None:
    client.insert((system("s") + user("问 '?'"), "答\0"), model="模型 1")
    row = "SELECT question, answer, model, embedder FROM modelcache_llm_answer"
    assert select(app, row) == [("system###s|||user###问 '?'", "答\0", "模型 1", cache.embedder.name)]
