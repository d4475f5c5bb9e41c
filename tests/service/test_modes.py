"""Models that are looked up and not answered, not looked up at all, or served: while the service runs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modelcache.__main__ import main
from modelcache.app import get_service
from modelcache.learning.answers import fold_answer
from modelcache.learning.tallies import EXACT, shadow_report
from modelcache.records.names import model_key
from modelcache.records.observation import Observation, Tally
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.store_servers import StoreServers
from tests.support.wire import assert_error, assert_miss, break_method, client_of, is_hit, select

# Cosines of unlike texts under the hash embedder are hardly ever over this.
COMPARING = {"answers_different": 0.8}


def observed(app: Flask, model: str = "m") -> list[Observation]:
    return get_service(app).cache.data_manager.scalars.model_observations(model_key(model), 1000)


def wait_for_observations(app: Flask, count: int) -> list[Observation]:
    wait_until(lambda: len(observed(app)) >= count, f"{count} observations")
    return observed(app)


def tallied(app: Flask) -> dict[tuple[str, int], int]:
    assert get_service(app).cache.writer.flush()
    tallies = get_service(app).cache.data_manager.scalars.tallies(model_key("m"))
    return {(one.outcome, one.bucket): one.count for one in tallies}


# Off.


def test_off_answers_nothing_and_still_stores(make_app: AppFactory) -> None:
    client = client_of(make_app(mode="off"))
    assert client.insert(("q", "a"))["errorCode"] == 0
    for question in ("q", "q" + NEAR):
        reply = client.query(question)
        assert_miss(reply)
        assert reply["similarity"] is None
    client.register(mode="serve")
    assert client.query("q")["answer"] == "a"


def test_off_needs_neither_embedder_nor_store(make_app: AppFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(mode="off")
    for target in ("embedder.embed", "scalars.find_exact", "vectors.search"):
        break_method(monkeypatch, app, target)
    assert_miss(client_of(app).query("q"))


# Shadow.


def test_shadow_answers_nothing_and_learns_what_it_would_have_answered(make_app: AppFactory) -> None:
    app = make_app(mode="shadow", **COMPARING)
    client = client_of(app)
    ids = client.insert(("q", "The answer."), ("p", "one thing"))["ids"]
    for question in ("q" + NEAR, "p" + NEAR, "unlike"):
        reply = client.query(question)
        assert_miss(reply)
        assert reply["errorCode"] == 0
    client.insert(("q" + NEAR, "  the ANSWER!"), ("p" + NEAR, "another thing"))
    found = {one.answer_id: one for one in wait_for_observations(app, 2)}
    assert {id_: one.correct for id_, one in found.items()} == {ids[0]: True, ids[1]: False}
    assert found[ids[0]].score == pytest.approx(0.958, abs=0.001)
    counts = tallied(app)
    assert sum(count for (outcome, _), count in counts.items() if outcome == "asked") == 3
    assert (counts["asked", 957], counts["right", 957], counts["wrong", 957]) == (2, 1, 1)


def test_an_equal_question_in_shadow_is_compared_and_told_of_its_new_answer(make_app: AppFactory) -> None:
    app = make_app(mode="shadow", **COMPARING)
    client = client_of(app)
    client.insert(("q", "old"))
    reply = client.query("q")
    assert_miss(reply)
    [new] = client.insert(("q", "something else altogether"))["ids"]
    [one] = wait_for_observations(app, 1)
    assert (one.answer_id, one.correct, one.score) == (new, False, 1.0)
    assert tallied(app)["wrong", EXACT] == 1


def test_an_answer_that_is_neither_same_nor_other_is_not_counted(make_app: AppFactory) -> None:
    app = make_app(mode="shadow", answers_same=0.99, answers_different=0.5)
    client = client_of(app)
    client.insert(("q", "an answer"))
    client.query("q" + NEAR)
    client.insert(("q" + NEAR, "an answer" + NEAR))
    wait_until(lambda: ("unclear", 957) in tallied(app), "an unclear comparison")
    assert observed(app) == []


def test_a_lookup_is_awaited_for_some_time_only(make_app: AppFactory) -> None:
    app = make_app(mode="shadow", lookup_seconds=0.001, sweep_interval=0.05)
    client = client_of(app)
    client.insert(("q", "a"))
    client.query("q" + NEAR)
    assert select(app, "SELECT COUNT(*) FROM modelcache_tally") == [(1,)]
    wait_until(lambda: select(app, "SELECT * FROM modelcache_lookup") == [], "the look-up being forgotten")
    client.insert(("q" + NEAR, "a"))
    get_service(app).close()
    with closing(sqlite3.connect(get_service(app).settings.data_dir / "modelcache.db")) as connection:
        tallies = connection.execute("SELECT outcome, bucket, queries FROM modelcache_tally").fetchall()
    assert tallies == [("asked", 957, 1)]


def test_serving_counts_nothing(make_app: AppFactory) -> None:
    app = make_app()
    client = client_of(app)
    client.insert(("q", "a"))
    assert is_hit(client.query("q" + NEAR))
    assert_miss(client.query("unlike"))
    assert tallied(app) == {}
    assert select(app, "SELECT * FROM modelcache_lookup") == []


@pytest.mark.parametrize("method", ["keep_lookups", "add_tallies", "take_lookups", "observe", "answers"])
@pytest.mark.parametrize("mode", ["shadow", "verified"])
def test_a_query_or_insert_does_not_fail_because_nothing_can_be_learned(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch, method: str, mode: str
) -> None:
    app = make_app(mode=mode)
    client = client_of(app)
    client.insert(("q", "a"))
    break_method(monkeypatch, app, f"scalars.{method}")
    assert_miss(client.query("q" + NEAR))
    assert client.insert(("q" + NEAR, "a"))["errorCode"] == 0
    assert get_service(app).cache.writer.flush()
    assert_miss(client.query("unlike"))


# Per model.


def test_register_sets_the_mode_of_one_model(make_app: AppFactory) -> None:
    app = make_app()
    client = client_of(app)
    for model in ("m", "n"):
        client.insert(("q", "a"), model=model)
    assert client.register("m", mode="shadow")["response"] == "already_exists"
    assert_miss(client.query("q"))
    assert client.query("q", model="n")["answer"] == "a"
    client.register("m", error_rate=0.1)
    assert_miss(client.query("q"))
    client.register("m")
    assert_miss(client.query("q"))
    client.register("m", mode="serve")
    assert client.query("q")["answer"] == "a"


def test_the_mode_survives_a_restart_and_a_truncate(make_app: AppFactory) -> None:
    app = make_app()
    client = client_of(app)
    client.register(mode="shadow")
    client.remove("truncate_by_model")
    client.insert(("q", "a"))
    get_service(app).close()
    assert_miss(client_of(make_app()).query("q"))


BAD_POLICIES: list[tuple[str, Any]] = [
    *[("mode", bad) for bad in ("", "Serve", "on", 1, True)],
    *[("error_rate", bad) for bad in (0, 1, -0.1, 2, "0.1", True)],
]


@pytest.mark.parametrize(("field", "value"), BAD_POLICIES)
def test_bad_policies_are_named_and_set_nothing(client: CacheClient, field: str, value: Any) -> None:
    client.insert(("q", "a"))
    reply = client.register(**{"mode": "off", field: value})
    assert_error(reply, 103, "register")
    assert reply["errorDesc"].startswith(f"{field}: expected ")
    assert client.query("q")["answer"] == "a"


def test_a_policy_that_cannot_be_stored_is_told(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(app)
    client.insert(("q", "a"))
    break_method(monkeypatch, app, "scalars.set_policy")
    assert_error(client.register(mode="off"), 502, "register")
    assert client.query("q")["answer"] == "a"


# Several processes on the same stores.


@pytest.fixture
def two_apps(make_app: AppFactory, tmp_path: Path) -> Iterator[tuple[Flask, Flask]]:
    """Two services that share nothing but their stores."""
    servers = StoreServers(tmp_path)
    try:
        settings = servers.settings("sqlite", "redis") | COMPARING
        yield make_app(**settings), make_app(**settings)
    finally:
        servers.stop()


@pytest.mark.server
def test_what_one_process_learned_the_other_knows(two_apps: tuple[Flask, Flask]) -> None:
    one, other = map(client_of, two_apps)
    ids = one.insert(("q", "a"), ("p", "b"))["ids"]
    assert other.query("q" + NEAR)["hit_id"] == ids[0]
    one.feedback(ids[0], "q" + NEAR, False)
    assert other.query("q" + NEAR)["veto"] == "feedback", "at once"
    one.register(mode="shadow")
    wait_until(lambda: not is_hit(other.query("p")), "the other process knowing the mode")
    assert_miss(one.query("p" + NEAR))
    assert get_service(two_apps[0]).cache.writer.flush()
    other.insert(("p" + NEAR, "b"))
    found = wait_for_observations(two_apps[0], 2)
    assert [(seen.answer_id, seen.correct) for seen in found if not seen.told] == [(ids[1], True)]


# What is told of it.


@pytest.mark.parametrize(
    ("one", "other"),
    [("Yes.", "yes"), ("a  b\n", "A b"), ("e\u0301!", "é"), ("好的。", "好的"), ("so…", "So")],
)
def test_answers_that_differ_in_form_only_are_equal(one: str, other: str) -> None:
    assert fold_answer(one) == fold_answer(other)


@pytest.mark.parametrize(("one", "other"), [("1.5", "15"), ("yes", "no"), ("a b", "ab"), ("C", "C#")])
def test_answers_that_differ_in_more_are_not(one: str, other: str) -> None:
    assert fold_answer(one) != fold_answer(other)


def rows(report: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines()[4:]]
    return {row[0]: row[1:] for row in cells}


def test_the_report_tells_each_threshold() -> None:
    counts = [("asked", -1, 50), ("asked", 955, 30), ("asked", 995, 15), ("asked", EXACT, 5)]
    counts += [("right", 995, 9), ("wrong", 995, 1), ("wrong", 955, 10), ("unclear", 955, 3)]
    told = rows(shadow_report([Tally("k", *count) for count in counts]))
    assert told["0.95"] == ["50.0%", "50", "20", "3", "55.0%", "34.2% to 74.2%"]
    assert told["0.995"] == ["20.0%", "20", "10", "0", "10.0%", "1.8% to 40.4%"]
    assert told["equal question"] == ["5.0%", "5", "0", "0", "", "0.0% to 100.0%"]


def test_the_report_of_an_unknown_model_is_empty() -> None:
    assert shadow_report([]).startswith("0 queries")


def test_the_report_is_printed_beside_a_running_service(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(mode="shadow")
    client = client_of(app)
    client.insert(("q", "a"))
    for number in range(3):
        client.query(f"unlike {number}")
    client.query("q")
    assert get_service(app).cache.writer.flush()
    monkeypatch.setenv("MODELCACHE_DATA_DIR", str(get_service(app).settings.data_dir))
    assert main(["--profile", "demo", "shadow-report", "--model", "m"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("4 queries\n")
    assert rows(printed)["equal question"][:2] == ["25.0%", "1"]
