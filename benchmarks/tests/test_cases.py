"""The cases benchmark is what it says: suites of their sizes, others beside us, honest rows."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.sizes import QUICK
from benchmarks.trust import case_suites, cases_report
from benchmarks.trust.case_peers import beside
from benchmarks.trust.case_suites import ALONE, OWN, TOGETHER, CaseSuite
from benchmarks.trust.cases import as_json, line, measure, totals
from benchmarks.trust.own_cases import frames, in_another_language, in_languages, in_options, statements
from benchmarks.trust.peers import PLAIN_COSINE
from benchmarks.trust.retrieval import ALL, recall
from modelcache.evaluation.asking import opened
from modelcache.evaluation.pairs import LabelledPair, key, user
from modelcache.settings import load_settings
from modelcache.testing.hash_embedder import NEAR, HashEmbedder

pytestmark = pytest.mark.packages

PAIRS = [LabelledPair(user(f"q{number}"), user(f"q{number}{NEAR}"), number % 3 > 0) for number in range(12)]
SUITE = CaseSuite("small", OWN, PAIRS)


def test_frames_fill_a_cache_and_ask_only_what_is_not_in_it() -> None:
    pairs = list(frames())
    cached = {key(pair.cached) for pair in pairs}
    assert len(cached) >= 400
    assert not cached & {key(pair.asked) for pair in pairs}
    kinds = Counter(pair.kind for pair in pairs)
    assert kinds["rephrased instruction"] == len(cached)
    assert min(kinds.values()) >= 200
    # What a prompt must not be answered by is in the cache: its neighbours.
    rephrased = {key(pair.cached) for pair in pairs if pair.same}
    assert cached == rephrased


def test_languages_have_a_question_a_rephrasing_and_a_trap_each() -> None:
    pairs = list(in_languages())
    kinds = Counter(pair.kind for pair in pairs)
    assert len(kinds) == 30
    assert set(kinds.values()) == {8}
    texts = [key(pair.asked) for pair in pairs] + list({key(pair.cached) for pair in pairs})
    assert len(set(texts)) == len(texts) == 360


def test_other_languages_are_asked_only_where_they_are_not_cached() -> None:
    pairs = list(in_another_language())
    assert not {key(pair.cached) for pair in pairs} & {key(pair.asked) for pair in pairs}
    assert len(pairs) == 56
    assert not any(pair.same for pair in pairs)


def test_statements_and_conversations_are_of_both_languages() -> None:
    assert Counter(pair.kind for pair in statements()) == {"English": 60, "Chinese": 40}
    options = list(in_options())
    assert min(Counter(pair.same for pair in options).values()) >= 50
    assert all(key(pair.cached) != key(pair.asked) for pair in options)


def test_a_smaller_suite_still_fills_the_cache() -> None:
    smaller = SUITE.at_most(5)
    assert len(smaller.pairs) == 5
    assert sorted(map(str, (*smaller.pairs, *smaller.unasked))) == sorted(map(str, PAIRS))
    assert SUITE.at_most(0) == SUITE.at_most(100) == SUITE


def test_published_cases_are_read_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cases" / "peers").mkdir(parents=True)
    (tmp_path / "cases" / "peers" / "some.jsonl").write_text('{"a": "a", "b": "b", "same": 1}\n')
    (tmp_path / "cases" / "README.md").write_text("none of them")
    monkeypatch.setenv("MODELCACHE_BENCH_DATA", str(tmp_path))
    suites = case_suites.readers()
    assert suites["some"]() == CaseSuite(
        "some", case_suites.SHARED, [LabelledPair(user("a"), user("b"), True)]
    )
    assert "qqp_dev" not in suites
    assert case_suites.OWN_SUITES.keys() <= suites.keys()


def test_every_suite_of_our_own_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELCACHE_BENCH_DATA", str(tmp_path))
    for name, read in case_suites.readers().items():
        suite = read()
        assert suite.name == name
        assert suite.pairs


def test_each_way_has_its_row_and_others_are_asked_the_same() -> None:
    with opened(load_settings("demo", {}), HashEmbedder()) as asker:
        measured = list(measure(asker, SUITE))
        assert [one.way for one in measured] == [ALONE, TOGETHER]
        for one in measured:
            tally = one.outcomes.at(None)
            assert (tally.asked, tally.answerable, tally.right, tally.wrong) == (12, 8, 8, 4)
            others = beside(asker.cache, one.outcomes, one.way == TOGETHER)
            assert len(others) == 3
            assert others[PLAIN_COSINE].at(None) == tally
            assert "right    8 wrong   4" in line(one)
    [alone, together] = totals([*measured, *measured])
    assert (alone.outcomes.at(None).right, together.outcomes.at(None).right) == (16, 16)
    assert json.loads(json.dumps(as_json(alone)))["default"]["wrong_share"] == pytest.approx(1 / 3)


def test_the_own_question_is_looked_for_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.trust.retrieval.data_folder", lambda: None)
    rows = {one.language: one for one in recall(HashEmbedder().embed, 0)}
    assert len(rows) == 18
    assert rows[ALL].asked == sum(one.asked for name, one in rows.items() if name != ALL) == 220
    assert rows[ALL].among[0] <= rows[ALL].among[-1] < rows[ALL].asked


def test_the_benchmark_yields_its_tables_and_draws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases_report, "readers", lambda: {"small": lambda: SUITE})
    monkeypatch.setattr("modelcache.core.get_embedder", lambda settings: HashEmbedder())
    monkeypatch.setattr("benchmarks.trust.retrieval.data_folder", lambda: None)
    results = list(cases_report.run(QUICK, tmp_path))
    assert [one.name for one in results] == ["cases", "cases-beside", "cases-curves", "cases-retrieval"]
    assert all(len(row) == len(one.columns) for one in results for row in one.lines)
    report.save(results, tmp_path)
    assert (tmp_path / "cases.png").stat().st_size > 10_000
    assert report.load(tmp_path)[0]
