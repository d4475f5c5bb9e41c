"""What is found at each threshold is what the service replies there, and it is counted honestly."""

from collections.abc import Iterator, Sequence

import pytest

from modelcache.evaluation.asking import Asker, Found, Step, opened
from modelcache.evaluation.counting import Outcome, Outcomes, Tally, alone, together
from modelcache.evaluation.pairs import LabelledPair, user
from modelcache.settings import make_settings
from modelcache.testing.hash_embedder import NEAR, HashEmbedder

THRESHOLDS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0)


@pytest.fixture
def asker() -> Iterator[Asker]:
    # Stores, modes and sizes of the configuration must not count.
    own = {"scalar_store": "mysql", "vector_store": "milvus", "mode": "shadow", "max_size": 1}
    with opened(make_settings(own), HashEmbedder()) as asker:
        yield asker


def pair(cached: str, asked: str, same: bool, kind: str = "") -> LabelledPair:
    return LabelledPair(user(cached), user(asked), same, kind)


def answering(steps: Sequence[tuple[float, int]], answers: frozenset[int], default: int | None) -> Outcome:
    found = Found(tuple(Step(*step) for step in steps), default, None)
    return Outcome(user("q"), [user("a"), user("b")], "", answers, 0, found)


def test_each_pair_alone_sees_no_other(asker: Asker) -> None:
    pairs = [pair("q", "q" + NEAR, True), pair("r", "q" + NEAR, True), pair("s", "s" + NEAR, False)]
    outcomes = alone(asker, "m", pairs)
    assert [one.found.default for one in outcomes.questions] == [0, None, 0]
    assert outcomes.at(None) == Tally(asked=3, answerable=2, right=1, wrong=1)
    assert outcomes.at(0.999).hits == 0


def test_equal_texts_say_nothing_of_the_decision(asker: Asker) -> None:
    pairs = [pair("q", "q", True), pair("s", "s" + NEAR, True)]
    outcomes = alone(asker, "m", pairs)
    assert (outcomes.equal, outcomes.at(None)) == (1, Tally(1, 1, 1, 0))
    outcomes = together(asker, "n", pairs)
    assert (outcomes.equal, outcomes.at(None)) == (1, Tally(1, 1, 1, 0))


def test_in_one_cache_a_hit_on_another_entry_is_wrong_unless_labelled_the_same(asker: Asker) -> None:
    near = [
        # The nearest entry to it is another pair's: wrong.
        pair("unlike", "q" + NEAR, True),
        pair("q", "no such thing", True),
        # Another pair's too, which a label links with it over a third text.
        pair("unlike too", "s" + NEAR, True),
        pair("unlike too", "linked", True),
        pair("s", "linked", True),
        # Asked a second time; it counts once.
        pair("s", "s" + NEAR, False),
    ]
    outcomes = together(asker, "m", near)
    hits = {one.asked[0]["content"]: one.hit(None) in one.answers for one in outcomes.questions}
    assert hits["q" + NEAR] is False
    assert hits["s" + NEAR] is True
    tally = outcomes.at(None)
    assert (tally.asked, tally.right, tally.wrong) == (4, 1, 1)


def test_entries_that_nobody_asks_for_are_in_the_cache(asker: Asker) -> None:
    outcomes = together(asker, "m", [pair("a", "q" + NEAR, True)], [pair("q", "c", True)])
    assert outcomes.at(None).wrong == 1


def test_what_is_found_at_a_threshold_is_what_the_service_replies_there(asker: Asker) -> None:
    texts = [f"question {number}" for number in range(30)]
    asker.insert("m", [user(text) for text in texts])
    asked = [user(text + NEAR) for text in texts] + [user(f"other {number}") for number in range(10)]
    for dialogue, found in zip(asked, asker.together("m", asked), strict=True):
        for threshold in (None, *THRESHOLDS):
            more = {} if threshold is None else {"threshold": threshold}
            reply = asker.post({"type": "query", "scope": {"model": "m"}, "query": dialogue} | more)
            assert found.at(threshold) == reply["hit_id"]


def test_a_higher_threshold_may_let_another_entry_answer() -> None:
    found = Found((Step(0.4, 1), Step(0.8, 0)), 0, 0.8)
    assert [found.at(threshold) for threshold in (0.0, 0.4, 0.5, 0.8, 0.9)] == [1, 1, 0, 0, None]
    assert found.at(None) == 0
    assert (found.surest(1), found.surest(0), found.surest(7)) == (0.4, 0.8, 0.0)


def test_the_most_that_a_higher_threshold_raises_the_wrong_share() -> None:
    own = frozenset({0})
    # Half of the hits are wrong at first, half of those over 0.3, and all of them over 0.6.
    questions = [answering([(0.3, 1)], own, None)] * 120
    questions += [answering([(0.6, 0)], own, None)] * 120
    questions += [answering([(0.9, 1)], own, None)] * 120
    rising = Outcomes(questions, 0)
    assert rising.at(0.5) == Tally(360, 360, 120, 120)
    most = rising.most_rise()
    assert most is not None
    assert most[0] == pytest.approx(0.5)
    assert 0.4 < most[1] < 0.5
    assert Outcomes(questions[:240], 0).most_rise() == (0.0, 0.0)
    # Of a few hits it says little, or nothing.
    assert Outcomes(questions[:29], 0).most_rise() is None
    assert Outcomes(questions[120:240] + questions[-20:], 0).most_rise() == (0.0, 0.0)


def test_thresholds_are_where_hits_are_lost() -> None:
    questions = [answering([(0.001 * number, 0)], frozenset({0}), None) for number in range(1, 1001)]
    thresholds = Outcomes(questions, 0).thresholds(11)
    assert thresholds == pytest.approx([0.001, *(0.1 * number for number in range(1, 11))], abs=0.002)
    assert Outcomes([], 0).thresholds() == []


def test_shares_have_intervals_and_none_of_nothing() -> None:
    tally = Tally(asked=20, answerable=10, right=10, wrong=0)
    assert tally.found_share == 1.0
    assert tally.found_interval == pytest.approx((0.72247, 1.0), abs=1e-4)
    empty = Tally(5, 0, 0, 0)
    assert (empty.wrong_share, empty.found_share, empty.wrong_interval) == (0.0, 0.0, (0.0, 1.0))
