"""What a service learns from being told that a hit was right or wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask

from modelcache.__main__ import main
from modelcache.app import get_service
from modelcache.core import Cache
from modelcache.evaluation.pairs import read_pairs
from modelcache.learning.feedback import RETIRE_WRONG
from modelcache.learning.verified import Evidence, own_threshold
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.conftest import AppFactory
from tests.support.client import CacheClient, Json, user
from tests.support.wire import assert_error, assert_miss, break_method, client_of, is_hit, select

ASKED = "q" + NEAR


class AngleEmbedder(HashEmbedder):
    """Reads a text such as ``7 degrees`` as that direction in a plane; others as the hash embedder does."""

    name = "angle-v1"

    def _direction(self, text: str) -> np.ndarray:
        degrees = text.split()[0]
        if not degrees.isdecimal():
            return super()._direction(text)
        row = np.zeros(self.dimension)
        row[:2] = np.cos(np.radians(int(degrees))), np.sin(np.radians(int(degrees)))
        return row


@pytest.fixture
def plane(make_app: AppFactory, monkeypatch: pytest.MonkeyPatch) -> CacheClient:
    """A client of an app whose questions are directions; 25 degrees apart is the threshold, 0.9."""
    monkeypatch.setattr("tests.conftest.HashEmbedder", AngleEmbedder)
    return client_of(make_app(slot_guard=False))


def status(reply: Json) -> str:
    assert (reply["errorCode"], reply["errorDesc"], reply["writeStatus"]) == (0, "", "success")
    assert set(reply["response"]) == {"status"}
    told: str = reply["response"]["status"]
    return told


def inserted(client: CacheClient, question: str, answer: str = "a", **more: Any) -> int:
    [id_] = client.insert((question, answer), **more)["ids"]
    assert isinstance(id_, int)
    return id_


def test_a_wrong_pair_never_hits_again(client: CacheClient) -> None:
    hit_id = inserted(client, "q")
    assert client.query(ASKED)["hit_id"] == hit_id
    assert status(client.feedback(hit_id, ASKED, False)) == "recorded"
    reply = client.query(ASKED)
    assert_miss(reply)
    assert reply["veto"] == "feedback"
    assert_miss(client.query(ASKED, threshold=0))
    assert client.query("q")["hit_id"] == hit_id, "an equal question is still answered"


def test_a_near_copy_of_a_wrong_question_does_not_hit_either(plane: CacheClient) -> None:
    hit_id = inserted(plane, "0 degrees")
    plane.feedback(hit_id, "20 degrees", False)
    for copy in ("19 degrees", "24 degrees"):
        reply = plane.query(copy, threshold=0)
        assert_miss(reply)
        assert reply["veto"] == "feedback", copy


def test_what_is_nearer_to_the_entry_than_to_the_wrong_question_may_hit(plane: CacheClient) -> None:
    hit_id = inserted(plane, "0 degrees")
    plane.feedback(hit_id, "60 degrees", False)
    assert plane.query("20 degrees")["hit_id"] == hit_id
    assert plane.query("40 degrees", threshold=0)["veto"] == "feedback"


def test_the_entry_has_a_threshold_of_its_own_then(plane: CacheClient) -> None:
    hit_id = inserted(plane, "0 degrees")
    assert plane.query("340 degrees")["hit_id"] == hit_id
    plane.feedback(hit_id, "20 degrees", False)
    reply = plane.query("340 degrees")
    assert_miss(reply)
    assert reply["veto"] == "own-threshold"
    assert plane.query("359 degrees")["hit_id"] == hit_id


def test_being_right_for_its_own_question_does_not_lower_it(plane: CacheClient) -> None:
    hit_id = inserted(plane, "0 degrees")
    plane.feedback(hit_id, "20 degrees", False)
    plane.feedback(hit_id, "0 degrees", True)
    assert plane.query("340 degrees")["veto"] == "own-threshold"
    assert plane.query("0 degrees")["hit_id"] == hit_id


def test_other_entries_answer_in_place_of_the_wrong_one(plane: CacheClient) -> None:
    wrong, other = inserted(plane, "0 degrees", "wrong"), inserted(plane, "22 degrees", "right")
    assert plane.query("10 degrees")["hit_id"] == wrong
    plane.feedback(wrong, "10 degrees", False)
    assert plane.query("10 degrees")["hit_id"] == other


def test_being_told_right_overrules_being_told_wrong_before(client: CacheClient) -> None:
    hit_id = inserted(client, "q")
    client.feedback(hit_id, ASKED, False)
    assert status(client.feedback(hit_id, ASKED, True)) == "recorded"
    assert client.query(ASKED)["hit_id"] == hit_id
    client.feedback(hit_id, ASKED, False)
    assert_miss(client.query(ASKED))


def test_an_entry_that_is_wrong_for_its_own_question_is_retired(client: CacheClient) -> None:
    hit_id = inserted(client, "q")
    assert client.query("q")["hit_id"] == hit_id
    assert status(client.feedback(hit_id, "q", False)) == "retired"
    for question in ("q", ASKED):
        assert_miss(client.query(question))
    assert status(client.feedback(hit_id, "q", False)) == "unknown"


def test_an_entry_that_is_often_wrong_is_retired(plane: CacheClient) -> None:
    hit_id = inserted(plane, "0 degrees")
    told = [status(plane.feedback(hit_id, f"{20 + n} degrees", False)) for n in range(RETIRE_WRONG)]
    assert told == ["recorded"] * (RETIRE_WRONG - 1) + ["retired"]
    assert_miss(plane.query("0 degrees"))


def test_an_entry_that_is_mostly_right_stays(plane: CacheClient) -> None:
    hit_id = inserted(plane, "0 degrees")
    for number in range(1, 6):
        plane.feedback(hit_id, f"{number} degrees", True)
    for number in range(RETIRE_WRONG):
        assert status(plane.feedback(hit_id, f"{20 + number} degrees", False)) == "recorded"
    assert plane.query("0 degrees")["hit_id"] == hit_id


@pytest.mark.parametrize(("share", "told"), [(1.0, "recorded"), (0.7, "retired")])
def test_the_share_of_wrong_ones_is_a_setting(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch, share: float, told: str
) -> None:
    monkeypatch.setattr("tests.conftest.HashEmbedder", AngleEmbedder)
    client = client_of(make_app(feedback_retire_share=share))
    hit_id = inserted(client, "0 degrees")
    client.feedback(hit_id, "1 degrees", True)
    replies = [status(client.feedback(hit_id, f"{20 + n} degrees", False)) for n in range(RETIRE_WRONG)]
    assert replies[-1] == told


# Whose entry it is.


def test_feedback_touches_no_entry_of_another_model_or_scope(client: CacheClient) -> None:
    hit_id = inserted(client, "q")
    scoped = inserted(client, "q", scope={"version": 2})
    prompted = client.insert(([{"role": "system", "content": "s"}, *user("q")], "a"))["ids"][0]
    for other in (hit_id, scoped, prompted):
        assert status(client.feedback(other, "q", False, model="n")) == "unknown"
        assert status(client.feedback(other, ASKED, False, model="n")) == "unknown"
    for other in (scoped, prompted):
        assert status(client.feedback(other, ASKED, False)) == "unknown"
    assert client.query(ASKED)["hit_id"] == hit_id
    assert client.query(ASKED, scope={"version": 2})["hit_id"] == scoped


@pytest.mark.parametrize("hit_id", [0, -1, 999, 2**63, 10**30])
def test_feedback_on_what_is_not_there_changes_nothing(client: CacheClient, hit_id: int) -> None:
    assert status(client.feedback(hit_id, "q", False)) == "unknown"


def test_feedback_on_a_question_too_long_to_be_compared_is_unknown(make_app: AppFactory) -> None:
    client = client_of(make_app(max_embed_chars=10))
    hit_id = inserted(client, "q")
    assert status(client.feedback(hit_id, "long " * 10, False)) == "unknown"


def test_a_replaced_entry_starts_anew(client: CacheClient) -> None:
    hit_id = inserted(client, "q")
    client.feedback(hit_id, ASKED, False)
    again = inserted(client, "q", "another answer")
    assert client.query(ASKED)["hit_id"] == again


# What is kept.


def test_feedback_survives_a_restart(make_app: AppFactory) -> None:
    app = make_app()
    hit_id = inserted(client_of(app), "q")
    client_of(app).feedback(hit_id, ASKED, False)
    get_service(app).close()
    reply = client_of(make_app()).query(ASKED)
    assert_miss(reply)
    assert reply["veto"] == "feedback"


@pytest.mark.parametrize("how", ["removed", "truncated"])
def test_what_was_told_of_an_entry_goes_with_it(app: Flask, cache: Cache, how: str) -> None:
    client = client_of(app)
    hit_id, kept = inserted(client, "q"), inserted(client, "q", model="n")
    client.feedback(hit_id, ASKED, False)
    client.feedback(kept, ASKED, False, model="n")
    if how == "truncated":
        client.remove("truncate_by_model")
    else:
        client.remove("delete_by_id", id_list=[hit_id])
        cache.data_manager.sweep(everything=True)
    assert select(app, "SELECT answer_id FROM modelcache_observation") == [(kept,)]


# What is refused, and what fails.


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hit_id": None}, "hit_id"),
        ({"hit_id": "1"}, "hit_id"),
        ({"hit_id": 1.5}, "hit_id"),
        ({"hit_id": True}, "hit_id"),
        ({"correct": None}, "correct"),
        ({"correct": 1}, "correct"),
        ({"correct": "false"}, "correct"),
        ({"query": []}, "query"),
        ({"query": "q"}, "query"),
        ({"scope": {}}, "scope.model"),
    ],
)
def test_bad_fields_are_named(client: CacheClient, change: Json, named: str) -> None:
    hit_id = inserted(client, "q")
    body = {"type": "feedback", "scope": {"model": "m"}, "query": user("q")}
    reply = client.post(body | {"hit_id": hit_id, "correct": False} | change)
    assert_error(reply, 103, "feedback")
    assert reply["errorDesc"].startswith(named)
    assert is_hit(client.query("q"))


def test_missing_fields_are_named(client: CacheClient) -> None:
    body = {"type": "feedback", "scope": {"model": "m"}, "query": user("q"), "hit_id": 1, "correct": True}
    for name in ("hit_id", "correct", "query", "scope"):
        reply = client.post({key: value for key, value in body.items() if key != name})
        assert_error(reply, 103, "feedback")
        assert reply["errorDesc"].startswith(f"{name} is missing")


@pytest.mark.parametrize(("target", "code"), [("embedder.embed", 601), ("scalars.observe", 602)])
def test_a_failure_has_its_code_and_changes_nothing(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch, target: str, code: int
) -> None:
    app = make_app(embedding_memory_mb=0)
    hit_id = inserted(client_of(app), "q")
    with monkeypatch.context() as patch:
        break_method(patch, app, target)
        assert_error(client_of(app).feedback(hit_id, ASKED, False), code, "feedback")
    assert client_of(app).query(ASKED)["hit_id"] == hit_id


# The own threshold.


def test_nothing_observed_leaves_the_threshold() -> None:
    assert own_threshold([], 0.97) == 0.97


def test_right_answers_do_not_lower_it() -> None:
    assert own_threshold([Evidence(0.98, True)] * 9, 0.97) == 0.97


def test_it_lies_over_a_wrong_answer() -> None:
    assert 0.98 < own_threshold([Evidence(0.98, False)], 0.97) < 1


def test_more_wrong_answers_raise_it_and_right_ones_over_them_lower_it() -> None:
    once = own_threshold([Evidence(0.98, False)], 0.97)
    thrice = own_threshold([Evidence(0.98, False)] * 3, 0.97)
    assert once < thrice < 1
    assert own_threshold([Evidence(0.98, False)] + [Evidence(0.985, True)] * 5, 0.97) < once


def test_what_was_told_becomes_labelled_pairs(
    app: Flask, client: CacheClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hit_id = inserted(client, "q")
    client.query(ASKED)
    client.query(ASKED + NEAR)
    client.query("q")
    assert status(client.feedback(hit_id, ASKED, False)) == "recorded"
    assert status(client.feedback(hit_id, ASKED + NEAR, True)) == "recorded"
    assert status(client.feedback(hit_id, "q", True)) == "recorded"
    assert get_service(app).cache.writer.flush()
    monkeypatch.setenv("MODELCACHE_DATA_DIR", str(get_service(app).settings.data_dir))
    path = tmp_path / "told.jsonl"
    assert main(["--profile", "demo", "observed-pairs", "--to", str(path)]) == 0
    # The same question says nothing of other words.
    assert {(pair.asked[0]["content"], pair.same, pair.kind) for pair in read_pairs(path)} == {
        (ASKED, False, "feedback"),
        (ASKED + NEAR, True, "feedback"),
    }
    assert all(pair.cached == user("q") for pair in read_pairs(path))


def test_where_nothing_was_observed_no_file_is_written(
    app: Flask,
    client: CacheClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inserted(client, "q")
    monkeypatch.setenv("MODELCACHE_DATA_DIR", str(get_service(app).settings.data_dir))
    path = tmp_path / "told.jsonl"
    assert main(["--profile", "demo", "observed-pairs", "--to", str(path)]) == 1
    assert "nothing was observed yet" in capsys.readouterr().err
    assert not path.exists()
