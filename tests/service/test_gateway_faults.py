"""Requests while everything fails at random: every caller gets a whole answer or an honest error."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import pytest
from werkzeug.test import TestResponse

from modelcache.app import get_service
from modelcache.core import Cache
from modelcache.errors import EmbeddingError, ScalarStoreError, VectorStoreError
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.gateway_client import GatewayClient, text_of
from tests.support.upstream import Script, Upstream

pytestmark = pytest.mark.slow

REQUESTS = 1000
CALLERS = 8
QUESTIONS = 120
SEED = 20261129


def script_of(chance: random.Random) -> Script:
    """Answer well three times of five, and otherwise in one of the ways that servers fail."""
    return chance.choice(
        [
            *[Script()] * 12,
            Script(status=500),
            Script(status=429),
            Script(fault="cut"),
            Script(fault="drop"),
            Script(fault="error"),
            Script(fault="no-finish"),
            Script(finish_reason="length"),
            Script(seconds=0.01),
        ]
    )


def break_at_random(cache: Cache, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have calls of the stores and of the embedder fail, or take longer than anybody waits."""
    data_manager = cache.data_manager
    for part, name, error in (
        (data_manager.scalars, "find_exact", ScalarStoreError("gone")),
        (data_manager.scalars, "get_live", ScalarStoreError("gone")),
        (data_manager.scalars, "envelope", ScalarStoreError("gone")),
        (data_manager.scalars, "insert_live", ScalarStoreError("gone")),
        (data_manager.vectors, "search", VectorStoreError("gone")),
        (cache.embedder, "embed", EmbeddingError("gone")),
    ):
        monkeypatch.setattr(part, name, failing_at_times(getattr(part, name), error, chance))


def failing_at_times(method: Any, error: Exception, chance: random.Random) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        drawn = chance.random()
        if drawn < 0.04:
            raise error
        if drawn < 0.06:
            sleep(0.4)
        return method(*arguments, **named)

    return call


def outcome_of(reply: TestResponse, number: int) -> str:
    """Say what a caller got; fails on what nobody may get."""
    told = reply.headers.get("x-modelcache", "")
    if reply.status_code != 200:
        assert reply.status_code in (429, 500, 502, 504)
        assert reply.json
        assert reply.json["error"]["message"]
        return f"status {reply.status_code}"
    is_stream = reply.content_type.startswith("text/event-stream")
    if is_stream and b'"error"' in reply.data:
        assert told != "hit"
        return "error in a stream"
    whole = f"You asked: question {number}"
    assert text_of(reply) in (whole, whole + NEAR)
    if told == "hit":
        assert b'"finish_reason":"stop"' in reply.data
    return told


def test_nothing_truncated_or_failed_is_told_or_kept(
    make_app: AppFactory, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(upstream_url=upstream.url, lookup_deadline_ms=300, breaker_failures=10**6)
    chance = random.Random(SEED)
    upstream.choose = lambda: script_of(chance)
    cache = get_service(app).cache
    break_at_random(cache, chance, monkeypatch)

    def ask(place: int) -> str:
        number = chance.randrange(QUESTIONS)
        text = f"question {number}" + chance.choice(["", NEAR])
        client = GatewayClient(app.test_client())
        return outcome_of(client.ask(text, stream=chance.random() < 0.5), number)

    with ThreadPoolExecutor(CALLERS) as pool:
        outcomes = Counter(pool.map(ask, range(REQUESTS)))
    assert outcomes["hit"] > REQUESTS / 10
    assert outcomes["bypass"] > 0
    assert outcomes["error in a stream"] > 0
    with cache.data_manager.scalars.proxied.reading() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SELECT question, answer FROM modelcache_llm_answer")
        rows = cursor.fetchall()
    assert rows
    for question, answer in rows:
        assert answer == f"You asked: {question.removeprefix('user###')}"
