"""Hits only while few enough of all requests are answered wrongly."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from modelcache.app import get_service
from modelcache.learning.verified import (
    LEAST_OBSERVATIONS,
    Budget,
    Curve,
    Evidence,
    Verifier,
    exact_risk,
    offset,
    risk,
)
from modelcache.records.names import model_key
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.store_servers import StoreServers
from tests.support.wire import assert_miss, client_of, is_hit

VERIFIED = {"mode": "verified", "answers_different": 0.8, "error_rate": 0.1}
LEARNED = LEAST_OBSERVATIONS + 20
SCORES = st.floats(0, 1)
EVIDENCE = st.lists(st.builds(Evidence, SCORES, st.booleans(), st.floats(0.01, 1)), max_size=200)


def seen(score: float, right: int, wrong: int) -> list[Evidence]:
    return [Evidence(score, True)] * right + [Evidence(score, False)] * wrong


# The estimates.


def test_of_nothing_observed_all_may_be_wrong() -> None:
    assert Curve.fit([]).at(0.99) == (1.0, 1.0)
    assert risk(0.99, [], Curve.fit([])) > 0.99


@given(EVIDENCE, SCORES, SCORES)
def test_the_risk_falls_as_the_score_grows(pool: list[Evidence], one: float, other: float) -> None:
    curve = Curve.fit(pool)
    low, high = sorted((one, other))
    assert 0 <= risk(high, [], curve) <= risk(low, [], curve) <= 1
    likely, upper = curve.at(one)
    assert likely <= upper


@given(EVIDENCE, EVIDENCE, SCORES)
def test_an_entrys_own_observations_move_its_risk(
    pool: list[Evidence], own: list[Evidence], score: float
) -> None:
    curve = Curve.fit(pool)
    before = risk(score, own, curve)
    assert risk(score, [*own, Evidence(score, True)], curve) <= before + 1e-6
    assert risk(score, [*own, Evidence(score, False)], curve) >= before - 1e-6


def test_more_observations_of_the_same_make_it_surer() -> None:
    few, many = Curve.fit(seen(0.98, 40, 2)), Curve.fit(seen(0.98, 400, 20))
    assert many.at(0.98)[1] < few.at(0.98)[1]
    assert many.at(0.98)[0] == pytest.approx(0.05, abs=0.01)


def test_old_observations_weigh_less() -> None:
    old = [Evidence(0.98, False, 0.01)] * 100
    assert risk(0.98, [], Curve.fit([*old, *seen(0.98, 100, 0)])) < 0.1
    assert offset(old, [0.0] * 100) > offset(seen(0.98, 0, 100), [0.0] * 100)


def test_an_equal_question_is_no_risk_unless_it_was_wrong() -> None:
    assert exact_risk([]) == exact_risk(seen(1.0, 5, 0)) == 0.0
    assert exact_risk(seen(1.0, 5, 1)) < exact_risk(seen(1.0, 1, 1)) < exact_risk(seen(1.0, 0, 1)) < 1


# The budget.


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_what_is_estimated_to_be_wrong_never_exceeds_the_rate(rate: float) -> None:
    chance = random.Random(1)
    budget = Budget()
    spent = 0.0
    for number in range(1, 5000):
        estimate = chance.choice((0.0, 0.001, 0.02, 0.3, 0.9, 1.0))
        if budget.serves(str(chance.randrange(500)), estimate, rate):
            spent += estimate
        assert spent <= rate * number


def test_requests_of_no_risk_are_served_and_pay_for_others() -> None:
    budget = Budget()
    assert all(budget.serves(str(number), 0.0, 0.01) for number in range(100))
    served = sum(budget.serves(f"new {number}", 0.1, 0.01) for number in range(100))
    assert 0 < served <= 0.01 * 200 / 0.1


def test_what_is_likely_wrong_is_explored_whatever_may_be_spent() -> None:
    budget = Budget()
    for number in range(1000):
        budget.serves(str(number), 0.0, 0.5)
    assert not budget.serves("q", 0.9, 0.5)


def test_a_question_that_is_asked_again_and_again_is_verified() -> None:
    budget = Budget()
    for number in range(3000):
        budget.serves(str(number), (0.0, 0.1, 0.2, 0.4)[number % 4], 0.05)
    served = [budget.serves("often asked", 0.05, 0.05) for _ in range(50)]
    assert served[0]
    assert not all(served)


def test_a_model_of_which_little_is_known_explores() -> None:
    verifier = Verifier(Curve.fit(seen(0.98, LEAST_OBSERVATIONS - 1, 0)))
    for number in range(200):
        verifier.serves_exact(str(number), [], 0.05)
    assert not verifier.serves("q", 0.98, [], 0.05)
    verifier.curve = Curve.fit(seen(0.98, 10 * LEAST_OBSERVATIONS, 0))
    assert verifier.serves("q", 0.98, [], 0.05)


def test_an_entry_that_was_wrong_is_riskier_than_others() -> None:
    curve = Curve.fit(seen(0.98, 95, 5))
    other = risk(0.98, [], curve)
    assert risk(0.98, seen(0.98, 0, 1), curve) > 1.5 * other
    assert risk(0.98, seen(0.98, 0, 3), curve) > 3 * other
    assert risk(0.98, seen(0.98, 20, 0), curve) < other


@pytest.mark.parametrize("rate", [0.02, 0.05])
def test_the_bound_holds_on_a_made_up_stream(rate: float) -> None:
    chance = random.Random(2)
    verifier, pool = Verifier(), []
    wrong = hits = 0
    asked = 6000
    for number in range(asked):
        score = chance.random()
        right = chance.random() < score**0.1
        if verifier.serves(str(number), score, [], rate):
            hits += 1
            wrong += not right
        else:
            pool.append(Evidence(score, right))
            if len(pool) % 20 == 0:
                verifier.curve = Curve.fit(pool[-2000:])
    assert wrong <= rate * asked
    assert hits > 0.1 * asked


# The service.


def teach(client: CacheClient, *, right: bool, names: Sequence[str]) -> None:
    """Ask in other words what is cached, and insert what a model answered."""
    client.insert(*((name, f"an answer to {name}") for name in names))
    for name in names:
        assert_miss(client.query(name + NEAR))
        truth = f"an answer to {name}" if right else f"no, {name} is quite different"
        client.insert((name + NEAR, truth))


def learned(app: Flask, count: int) -> bool:
    """Tell whether the app decides by so many observations."""
    return get_service(app).cache.learner.verifier(model_key("m")).curve.weight > count - 1


def serves_something(client: CacheClient) -> bool:
    """Ask questions that are new, in other words than cached, until one is answered by meaning."""
    for number in range(60):
        client.insert((f"new {number}", "a"))
        if client.query(f"new {number}{NEAR}")["hit_type"] == "semantic":
            return True
    return False


NAMES = [f"q{number}" for number in range(LEARNED)]


def test_it_explores_until_it_knows_and_serves_then(make_app: AppFactory) -> None:
    app = make_app(**VERIFIED)
    client = client_of(app)
    teach(client, right=True, names=NAMES)
    wait_until(lambda: learned(app, LEARNED), "the observations being known")
    assert serves_something(client)


def test_it_serves_nothing_that_is_usually_wrong(make_app: AppFactory) -> None:
    app = make_app(**VERIFIED)
    client = client_of(app)
    teach(client, right=False, names=NAMES)
    wait_until(lambda: learned(app, LEARNED), "the observations being known")
    assert not serves_something(client)


def test_equal_questions_are_served_from_the_start(make_app: AppFactory) -> None:
    client = client_of(make_app(**VERIFIED))
    client.insert(("q", "a"))
    reply = client.query("q")
    assert (reply["answer"], reply["hit_type"]) == ("a", "exact")


def test_an_equal_question_whose_answer_changed_is_asked_again(make_app: AppFactory) -> None:
    app = make_app(**VERIFIED | {"mode": "shadow"})
    client = client_of(app)
    client.insert(("what time is it", "nine"))
    client.query("what time is it")
    client.insert(("what time is it", "half past eleven"))
    observations = get_service(app).cache.data_manager.scalars.model_observations
    wait_until(lambda: len(observations(model_key("m"), 9)) == 1, "the comparison")
    client.register(mode="verified")
    assert_miss(client.query("what time is it"))


def test_what_a_user_told_holds_here_too(make_app: AppFactory) -> None:
    client = client_of(make_app(**VERIFIED))
    [hit_id] = client.insert(("q", "a"))["ids"]
    client.feedback(hit_id, "q" + NEAR, True)
    assert client.query("q" + NEAR)["hit_id"] == hit_id
    client.feedback(hit_id, "q" + NEAR, False)
    reply = client.query("q" + NEAR)
    assert_miss(reply)
    assert reply["veto"] == "feedback"


def test_a_threshold_in_the_request_is_kept(make_app: AppFactory) -> None:
    client = client_of(make_app(**VERIFIED))
    [hit_id] = client.insert(("q", "a"))["ids"]
    client.feedback(hit_id, "q" + NEAR, True)
    assert_miss(client.query("q" + NEAR, threshold=0.99))


def test_what_was_learned_survives_a_restart(make_app: AppFactory) -> None:
    app = make_app(**VERIFIED)
    teach(client_of(app), right=True, names=NAMES)
    wait_until(lambda: learned(app, LEARNED), "the observations being known")
    get_service(app).close()
    app = make_app(**VERIFIED)
    wait_until(lambda: learned(app, LEARNED), "the observations being read")
    assert serves_something(client_of(app))


@pytest.mark.server
def test_what_one_process_observed_the_other_serves_by(make_app: AppFactory, tmp_path: Path) -> None:
    servers = StoreServers(tmp_path)
    try:
        settings = servers.settings("sqlite", "redis") | VERIFIED
        one, other = make_app(**settings), make_app(**settings)
        teach(client_of(one), right=True, names=NAMES)
        wait_until(lambda: learned(other, LEARNED), "the other process knowing the observations")
        assert serves_something(client_of(other))
    finally:
        servers.stop()


def test_a_truncated_model_knows_nothing_any_more(make_app: AppFactory) -> None:
    app = make_app(**VERIFIED)
    client = client_of(app)
    teach(client, right=True, names=NAMES)
    wait_until(lambda: learned(app, LEARNED), "the observations being known")
    client.remove("truncate_by_model")
    wait_until(lambda: not learned(app, 1), "the observations being forgotten")
    client.insert(("q", "a"))
    assert_miss(client.query("q" + NEAR))
    assert is_hit(client.query("q"))
