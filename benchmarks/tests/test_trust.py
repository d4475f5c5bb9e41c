"""The evaluation is what it says: suites of their sizes, halves that share no question, honest counts."""

import json
from collections import Counter
from math import inf
from typing import Any

import numpy as np
import pytest

from benchmarks.slots import is_tuned
from benchmarks.trust.hits import Hits, Tally, at_most
from benchmarks.trust.product import Truth, hits_of
from benchmarks.trust.split import Split
from benchmarks.trust.suites import DATA, Suite, suites
from modelcache.learning.verified import wilson_95
from tests.support.question_pairs import Pair

# Cases that an entry answers and cases that none does; and cases in all.
LEAST = {"slots": (200, 400), "conversations": (50, 100), "system prompts": (40, 100), "long texts": (40, 60)}
SUITES = {suite.name: suite for suite in suites()}


@pytest.fixture(params=LEAST)
def suite(request: pytest.FixtureRequest) -> Suite:
    return SUITES[request.param]


def test_a_suite_is_as_large_as_promised_and_half_chinese(suite: Suite) -> None:
    each_way, all_cases = LEAST[suite.name]
    ways = Counter(case.same for case in suite.cases)
    assert min(ways.values()) >= each_way
    assert len(suite.cases) >= all_cases
    languages = Counter((suite.language(case), case.same) for case in suite.cases)
    assert min(languages.values()) >= 0.4 * each_way
    assert (
        0.45
        < sum(count for (name, _), count in languages.items() if name == "Chinese") / len(suite.cases)
        < 0.55
    )


def test_nothing_asked_is_cached_as_it_is(suite: Suite) -> None:
    entries = {json.dumps(entry) for entry in suite.entries}
    assert len(entries) == len(suite.entries)
    assert not entries & {json.dumps(case.asked) for case in suite.cases}


def test_a_smaller_suite_keeps_each_question_with_its_entry(suite: Suite) -> None:
    smaller = suite.every(3)
    assert [smaller.entries[case.own] for case in smaller.cases] == [
        suite.entries[case.own] for case in suite.cases[::3]
    ]


def test_every_change_to_a_long_text_is_made_once() -> None:
    for line in (DATA / "long_texts.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        assert 300 <= len(entry["text"]) <= 1500
        for asked in entry["asked"]:
            assert all(entry["text"].count(old) == 1 for old, _ in asked.get("edits", []))


@pytest.mark.parametrize("language", ["Chinese", "English"])
def test_linked_questions_are_in_one_part(language: str) -> None:
    # Triples of pairs, the third of which has one question of each of the two before.
    pairs = []
    for number in range(300):
        pairs += [
            Pair(f"a{number}", f"b{number}", True),
            Pair(f"c{number}", f"d{number}", True),
            Pair(f"d{number}", f" a{number}\n", False),
        ]
    split = Split.of(pairs, language)
    parts = [(split.is_fitted(pair), split.is_asked(pair)) for pair in pairs]
    assert parts[0::3] == parts[1::3] == parts[2::3]
    # What is neither was taught: a part of the Chinese pairs.
    assert set(parts) == {(True, False), (False, True)} | (
        {(False, False)} if language == "Chinese" else set()
    )
    assert not any(split.is_asked(pair) for pair in pairs if is_tuned(pair))


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 10, 0.0, 0.27753), (5, 100, 0.02154, 0.11175), (10, 10, 0.72247, 1.0)],
)
def test_wilson_intervals_are_those_of_the_literature(part: int, whole: int, low: float, high: float) -> None:
    assert wilson_95(part, whole) == pytest.approx((low, high), abs=1e-4)


def test_the_best_threshold_finds_most_among_those_that_are_allowed() -> None:
    hits = Hits.of_scores(
        "a decision",
        np.array([0.9, 0.8, 0.8, 0.7, 0.6, -inf]),
        right=np.array([True, True, False, True, False, False]),
        wrong=np.array([False, False, True, False, True, False]),
        rephrasings=4,
        default=Tally(0, 0, 4),
        show=str,
    )
    assert hits.best(at_most(0.0)) == ("0.9", Tally(1, 0, 3))
    assert hits.best(at_most(0.25)) == ("0.7", Tally(3, 1, 1))
    assert hits.best(lambda right, wrong: right + wrong > 5) is None


def test_a_hit_on_another_entry_is_wrong_or_has_no_label() -> None:
    def reply(hit_id: int | None, confidence: float) -> dict[str, Any]:
        return {"cacheHit": hit_id is not None, "hit_id": hit_id, "confidence": confidence}

    replies = [reply(7, 0.9), reply(7, 0.9), reply(8, 0.8), reply(None, 0.7)]
    same = np.array([True, False, True, True])
    counted = {
        strict: hits_of([replies], replies, {7: 0, 8: 1}, Truth([0, 0, 0, 0], same, strict)).default
        for strict in (True, False)
    }
    assert counted == {True: Tally(1, 2, 2), False: Tally(1, 1, 2)}
