"""``python -m modelcache evaluate`` from its file to its exit status."""

import json
from pathlib import Path

import pytest

from modelcache.__main__ import main
from modelcache.testing.hash_embedder import NEAR, HashEmbedder


@pytest.fixture(autouse=True)
def _hashes_for_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelcache.core.get_embedder", lambda settings: HashEmbedder())


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three right hits, one wrong and one miss."""
    lines = [f"q{number}\tq{number}{NEAR}\t1\trephrased" for number in range(3)]
    lines += [f"trap\ttrap{NEAR}\t0\tnearly", "q0\tquite other words\t1\trephrased"]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def evaluate(*arguments: str | Path) -> int:
    return main(["--profile", "demo", "evaluate", "--pairs", *map(str, arguments)])


def test_too_many_wrong_hits_fail(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(pairs) == 1
    output = capsys.readouterr().out
    assert "hits   4: 3 right, 1 wrong" in output
    assert "25.0% (4.6% to 69.9%) of the hits" in output
    assert "found  75.0% (30.1% to 95.4%) of the rephrasings" in output
    assert "all in one cache" not in output
    assert output.splitlines()[-1] == (
        "FAILED: 1 of 4 hits are wrong (25.0%, each pair alone), more than --max-wrong 0.03 allows"
    )


def test_as_many_as_are_allowed_pass(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(pairs, "--max-wrong", "0.25") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("passed: 1 of 4 hits are wrong")


def test_it_shows_wrong_hits_and_misses(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(pairs)
    output = capsys.readouterr().out
    wrong, missed = output.split("wrong hits, the surest 1 of 1:")[1].split("rephrasings missed, the nearest")
    assert f"asked   trap{NEAR}" in wrong
    assert "quite other words" in missed


def test_a_threshold_takes_the_place_of_the_configured_one(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(pairs, "--threshold", "0.99") == 0
    output = capsys.readouterr().out
    assert "each pair alone, at threshold 0.99: 5 questions" in output
    assert "hits   0: 0 right, 0 wrong" in output


def test_all_in_one_cache_is_asked_as_well(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(pairs, "--together") == 1
    output = capsys.readouterr().out
    assert "each pair alone, at the configured threshold: 5 questions, 4 of them rephrasings" in output
    assert "all in one cache, at the configured threshold: 5 questions, 4 of them rephrasings" in output


def test_the_figures_are_written_as_json(pairs: Path, tmp_path: Path) -> None:
    evaluate(pairs, "--together", "--json", tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert set(written["ways"]) == {"each pair alone", "all in one cache"}
    way = written["ways"]["each pair alone"]
    assert (way["hits"], way["right"], way["wrong"], way["wrong_share"]) == (4, 3, 1, 0.25)
    assert way["kinds"]["nearly"]["wrong"] == 1
    assert way["thresholds"]["0.99"]["hits"] == 0
    assert [question["right"] for question in way["questions"]] == [True, True, True, False, None]


def test_what_cannot_be_measured_is_said_in_a_sentence(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_text("a\tb\n", encoding="utf-8")
    assert evaluate(bad) == 2
    assert f"modelcache: {bad}, line 1: expected text A" in capsys.readouterr().err
    assert evaluate(tmp_path / "none") == 2
    assert evaluate(pairs, "--json", tmp_path / "no folder" / "out.json") == 2


@pytest.mark.parametrize("value", ["2", "-0.1", "much"])
def test_a_share_is_between_0_and_1(pairs: Path, value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        evaluate(pairs, "--max-wrong", value)
    assert ended.value.code == 2
