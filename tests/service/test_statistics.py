"""``GET /admin/stats``: what happened on each day, summed over workers and kept over restarts."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modelcache.admin.statistics import milliseconds_of, step_of
from modelcache.app import get_service
from modelcache.errors import ConfigError, ScalarStoreError
from modelcache.prices import Prices, read_prices
from modelcache.records.event import Queried, Usage
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient

Json = dict[str, Any]


def stats(app: Flask, asked: Mapping[str, str] | None = None, status: int = 200) -> Json:
    reply = app.test_client().get("/admin/stats", query_string=dict(asked or {}))
    assert reply.status_code == status, reply.text
    told: Json = reply.get_json()
    return told


def stats_when(app: Flask, is_there: Callable[[Json], bool]) -> Json:
    wait_until(lambda: is_there(stats(app)["total"]), "what happened being counted")
    return stats(app)


def test_what_happened_is_told_in_all_by_day_and_by_model(app: Flask, client: CacheClient) -> None:
    client.insert(("q", "a"), ("12 eggs", "b"))
    for text in ("q", "q", "q" + NEAR, "13 eggs", "unknown"):
        client.query(text)
    client.query("q", "other")
    told = stats_when(app, lambda total: total["queries"] == 6)
    total = told["total"]
    assert total["hits_by_type"] == {"exact": 2, "semantic": 1}
    assert (total["hits"], total["misses"], total["inserted"]) == (3, 3, 2)
    assert total["hit_rate"] == 0.5
    assert sum(total["vetoes"].values()) <= 3
    assert total["milliseconds"]["hit"]["p50"] > 0
    today = datetime.now(UTC).date().isoformat()
    assert (told["to"], told["days"][-1]["day"], len(told["days"])) == (today, today, 30)
    assert {name: value for name, value in told["days"][-1].items() if name != "day"} == total
    assert told["days"][0]["queries"] == 0
    assert [(one["model"], one["queries"]) for one in told["models"]] == [("m", 5), ("other", 1)]
    assert stats(app, {"model": "other"})["total"]["queries"] == 1
    assert [one["model"] for one in stats(app, {"model": "other"})["models"]] == ["other"]


def test_verdicts_have_a_share_and_its_interval(app: Flask, client: CacheClient) -> None:
    [one, other] = client.insert(("q", "a"), ("r", "b"))["ids"]
    client.feedback(one, "q", True)
    client.feedback(other, "r", False)
    told = stats_when(app, lambda total: total["feedback"]["wrong"] == 1)["total"]["feedback"]
    assert (told["right"], told["wrong"], told["wrong_rate"]) == (1, 1, 0.5)
    low, high = told["wrong_interval"]
    assert 0 < low < 0.5 < high < 1


def test_answers_that_were_compared_are_counted(make_app: AppFactory) -> None:
    app = make_app(mode="shadow")
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    client.query("q" + NEAR)
    client.insert(("q" + NEAR, "a"))
    told = stats_when(app, lambda total: total["compared"]["right"] == 1)
    assert told["total"]["withheld"] == 1
    assert told["models"][0]["model"] == "m"


def test_counts_outlive_a_restart_and_a_truncate(make_app: AppFactory) -> None:
    app = make_app()
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    client.query("q")
    client.remove("truncate_by_model")
    get_service(app).close()
    again = make_app()
    CacheClient(again.test_client()).query("q")
    stats_when(again, lambda total: (total["hits"], total["misses"]) == (1, 1))


def test_what_hits_saved_is_told_by_the_operators_prices(make_app: AppFactory, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["my-model"]\ninput = 2.0\noutput = 8\n')
    app = make_app(prices_file=prices)
    event = Queried("gateway", "my-model", "k", "hit", 0.001, "exact", usage=Usage(1000, 500))
    get_service(app).events.tell(event)
    saved = stats_when(app, lambda total: total["hits"] == 1)["total"]["saved"]
    assert saved == {"prompt_tokens": 1000, "completion_tokens": 500, "usd": 0.006}


@pytest.mark.parametrize(
    "text", ["x", "m = 1", "[m]\ninput = 1", "[m]\ninput = -1\noutput = 1", "[m]\ninput = true\noutput = 1"]
)
def test_a_file_of_prices_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="prices_file"):
        read_prices(path)


def test_own_prices_come_before_those_of_the_list() -> None:
    usage = Usage(1_000_000, 0)
    assert Prices({"gpt-4": (1e-6, 0.0)}).usd("gpt-4", usage) == pytest.approx(1.0)
    assert Prices().usd("my-own-model", usage) is None


def test_what_cannot_be_written_waits(
    app: Flask, client: CacheClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    scalars = get_service(app).cache.data_manager.scalars
    failed: list[int] = []

    def fail(counts: object) -> None:
        failed.append(1)
        raise ScalarStoreError("down")

    with monkeypatch.context() as patch:
        patch.setattr(scalars, "add_day_counts", fail, raising=False)
        client.query("q")
        wait_until(lambda: bool(failed), "a write that fails")
    stats_when(app, lambda total: total["queries"] == 1)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"from": "1970-01-01"}, "from"),
        ({"models": "m"}, "models"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(app: Flask, asked: dict[str, str], field: str) -> None:
    assert stats(app, asked, 400)["error"]["field"] == field


def test_nothing_is_counted_where_that_is_switched_off(make_app: AppFactory) -> None:
    app = make_app(statistics_days=0)
    CacheClient(app.test_client()).query("q")
    assert stats(app)["total"]["queries"] == 0


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 1e-5, 3e-4, 0.0042, 1.7, 3600.0])
def test_a_step_is_at_most_a_fifth_too_long(seconds: float) -> None:
    shown = milliseconds_of(step_of(seconds)) / 1000
    assert seconds <= shown * (1 + 1e-9)
    assert seconds < 1e-5 or shown < 1.2001 * seconds
