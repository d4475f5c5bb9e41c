"""What an operator can set for all requests, and for one model."""

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modelcache.app import create_app, get_service
from modelcache.errors import ConfigError
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.wire import assert_miss, client_of, is_hit

LIFE = 1000.0


def expires_in(app: Flask, client: CacheClient, asked: str, now: float) -> float | None:
    """Return how long the entry of a question still answers, by its row."""
    cache = get_service(app).cache
    entry = cache.data_manager.find_live("m", client.query(asked)["hit_id"])
    assert entry is not None
    return None if entry.expires_at is None else entry.expires_at - now


# Time to live.


def test_by_default_an_entry_lives_for_ever(app: Flask, client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert expires_in(app, client, "q", 0) is None


def test_an_entry_has_the_time_to_live_of_its_insert_its_model_or_all(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(default_ttl=LIFE)
    client = client_of(app)
    now = 1_900_000_000.0
    for module in ("answering", "adapter.adapter_insert"):
        monkeypatch.setattr(f"modelcache.{module}.time", lambda: now)
    client.insert(("of all", "a"))
    assert client.register(ttl=LIFE / 2)["errorCode"] == 0
    client.insert(("of the model", "a"))
    client.insert(("its own", "a"), ttl=5)
    assert client.register(ttl=0)["errorCode"] == 0
    client.insert(("none", "a"))
    client.register(mode="serve")
    client.insert(("still none", "a"))
    lives = [
        expires_in(app, client, asked, now)
        for asked in ("of all", "of the model", "its own", "none", "still none")
    ]
    assert lives == [LIFE, LIFE / 2, 5, None, None]


def test_what_is_registered_outlives_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        app = create_app({"data_dir": tmp_path}, embedder=HashEmbedder())
        client = CacheClient(app.test_client())
        if "first" not in locals():
            first = client.register(ttl=0.000001, max_size=1)
            assert first["response"] == "create_success"
        client.insert(("q", "a"))
        assert_miss(client.query("q"))
        get_service(app).close()


# Limits of entries.


def test_a_model_can_have_a_limit_of_its_own(make_app: AppFactory) -> None:
    client = client_of(make_app(clean_size=1))
    assert client.register(max_size=3)["errorCode"] == 0
    for number in range(10):
        client.insert((f"question {number}", "a"), model="m")
        client.insert((f"question {number}", "a"), model="another")
    kept = [is_hit(client.query(f"question {number}", model="m", cache_skip=False)) for number in range(10)]
    assert sum(kept) == 3
    assert kept[-3:] == [True] * 3
    assert all(is_hit(client.query(f"question {number}", model="another")) for number in range(10))


def test_a_limit_of_its_own_may_be_larger_or_none(make_app: AppFactory) -> None:
    client = client_of(make_app(max_size=2, clean_size=1))
    client.register("large", max_size=5)
    client.register("endless", max_size=0)
    for model in ("small", "large", "endless"):
        for number in range(8):
            client.insert((f"question {number}", "a"), model=model)
    hits = {
        model: sum(
            client.query(f"question {number}", model=model)["hit_type"] == "exact" for number in range(8)
        )
        for model in ("small", "large", "endless")
    }
    assert hits == {"small": 2, "large": 5, "endless": 8}


def test_a_limit_that_is_lowered_holds_at_the_next_inserts(make_app: AppFactory) -> None:
    client = client_of(make_app(clean_size=1))
    client.insert(*[(f"question {number}", "a") for number in range(20)])
    client.register(max_size=4)
    client.insert(("one more", "a"))
    assert sum(client.query(f"question {number}")["hit_type"] == "exact" for number in range(20)) == 3
    client.register(max_size=2)
    client.insert(("and one", "a"))
    questions = [*(f"question {number}" for number in range(20)), "one more", "and one"]
    # Which of the others is left depends on which hits are recorded already.
    assert sum(client.query(question)["hit_type"] == "exact" for question in questions) == 2


# The lowest threshold.


@pytest.mark.parametrize("mode", ["serve", "shadow", "verified"])
def test_no_query_sets_a_threshold_under_the_floor(make_app: AppFactory, mode: str) -> None:
    client = client_of(make_app(threshold_floor=0.6, mode=mode))
    client.insert(("q", "a"))
    for low in (0, 0.59):
        reply = client.query("anything", threshold=low)
        assert (reply["errorCode"], reply["errorDesc"]) == (103, "threshold: expected a number from 0.6 to 1")
    assert client.query("q", threshold=0.6)["errorCode"] == 0
    assert client.query("q")["errorCode"] == 0


def test_by_default_any_threshold_may_be_asked_for(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert is_hit(client.query("something else", threshold=0))


# Metadata.


@pytest.mark.parametrize("metadata", [{}, {"source": "手册", "pages": [1, 2.5, None]}, {"a": {"b": True}}])
def test_a_hit_brings_back_what_was_stored_beside_the_answer(client: CacheClient, metadata: Any) -> None:
    client.insert(("q", "a"), metadata=metadata)
    for asked in ("q", "q" + NEAR):
        assert client.query(asked)["metadata"] == metadata
    client.insert(("q", "b"))
    assert "metadata" not in client.query("q")


def test_a_miss_has_no_metadata(client: CacheClient) -> None:
    assert "metadata" not in client.query("q")


@pytest.mark.parametrize("metadata", [[], "x", 5, {"a": "\ud800"}, {"a": [[[[]]]]}])
def test_metadata_is_an_object(client: CacheClient, metadata: Any) -> None:
    reply = client.insert(("q", "a"), metadata=metadata)
    if metadata == {"a": [[[[]]]]}:
        assert reply["errorCode"] == 0
    else:
        assert reply["errorCode"] == 103
        assert "metadata" in reply["errorDesc"]
        assert_miss(client.query("q"))


# Removing.


def test_one_users_entries_can_be_removed(client: CacheClient) -> None:
    for user, version in (("anne", 1), ("anne", 2), ("bob", 1)):
        client.insert(("q", user), scope={"user": user, "version": version})
    client.insert(("q", "nobody's"))
    reply = client.post(
        {"type": "remove", "remove_type": "delete_by_scope", "scope": {"model": "m", "user": "anne"}}
    )
    assert reply["response"] == {
        "status": "success",
        "VectorDB": "delete_count: 2",
        "ScalarDB": "delete_count: 2",
    }
    assert_miss(client.query("q", scope={"user": "anne", "version": 1}))
    assert client.query("q", scope={"user": "bob", "version": 1})["answer"] == "bob"
    assert client.query("q")["answer"] == "nobody's"


def test_a_scope_of_a_model_alone_removes_nothing(client: CacheClient) -> None:
    client.insert(("q", "a"))
    reply = client.remove("delete_by_scope")
    assert reply["errorCode"] == 103
    assert "scope" in reply["errorDesc"]
    assert is_hit(client.query("q"))


def test_all_models_are_emptied_where_that_is_allowed(make_app: AppFactory) -> None:
    client = client_of(make_app(allow_truncate_all=True))
    for model in ("a", "b", "c"):
        client.insert(("q", "a"), ("r", "b"), model=model)
    assert client.remove("truncate_all")["response"]["ScalarDB"] == "delete_count: 6"
    for model in ("a", "b", "c"):
        assert_miss(client.query("q", model=model))


def test_by_default_they_are_not(client: CacheClient) -> None:
    client.insert(("q", "a"))
    reply = client.remove("truncate_all")
    assert (reply["errorCode"], reply["errorDesc"]) == (401, "remove_type: truncate_all is not allowed here")
    assert is_hit(client.query("q"))


@pytest.mark.parametrize("value", [-1, 1.5, "3", True])
def test_a_limit_is_a_number_of_entries(client: CacheClient, value: Any) -> None:
    reply = client.register(max_size=value)
    assert (reply["errorCode"], "max_size" in reply["errorDesc"]) == (103, True)


@pytest.mark.parametrize("pattern", ["(", '["a", "("]'])
def test_a_pattern_that_is_none_is_told_at_the_start(make_app: AppFactory, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"system_prompt_ignore.*is no regular expression"):
        make_app(system_prompt_ignore=pattern)


# Presets.


def test_the_references_rule_answers_by_distance_alone_and_says_what_that_costs(
    make_app: AppFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(make_app())
    client.insert(("rooms for 4", "a"))
    assert client.query("rooms for 14", threshold=0)["veto"] == "number"
    assert "were wrong" not in caplog.text
    client = client_of(make_app(preset="reference", data_dir=tmp_path / "reference"))
    assert "18 and 21 % were wrong" in caplog.text
    client.insert(("rooms for 4", "a"))
    assert client.query("rooms for 4" + NEAR)["hit_type"] == "semantic"
    assert client.query("rooms for 14", threshold=0)["answer"] == "a"
