"""The confidence: what a calibration rates, and how one is fitted to labelled pairs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcache.__main__ import main
from modelcache.calibration.curve import Rated, recommended
from modelcache.calibration.pairs import read_pairs
from modelcache.decision.confidence import FORM_ONLY, Confidence, LanguageModel, differing_lines
from modelcache.decision.factory import SHIPPED, open_confidence
from modelcache.decision.languages import language_of
from modelcache.embedding.e5 import E5Embedder
from modelcache.errors import ConfigError
from modelcache.language.form import differ_in_form_only
from modelcache.language.wording import shipped_wording
from modelcache.manager.factory import get_scalar_store
from modelcache.records.names import model_key
from modelcache.records.observation import Tally
from modelcache.settings import load_settings, make_settings
from modelcache.testing.hash_embedder import HashEmbedder


@pytest.fixture(scope="module")
def e5() -> Iterator[E5Embedder]:
    embedder = E5Embedder()
    embedder.open()
    yield embedder
    embedder.close()


@pytest.fixture(scope="module", params=["its own embedder", "another one"])
def shipped(request: pytest.FixtureRequest, e5: E5Embedder) -> Iterator[Confidence]:
    embedder = e5 if request.param == "its own embedder" else Searching()
    confidence = open_confidence(make_settings({}), embedder)
    assert confidence is not None
    yield confidence
    confidence.close()


class Searching(HashEmbedder):
    """One whose cosines say nothing of meaning, beside which the shipped models decide."""

    is_read = True


def tables(**changes: Any) -> dict[str, Any]:
    """Return a small calibration of one language."""
    return {
        "read": 1.0,
        "ceiling": 2.0,
        "cosine": 10.0,
        "base": -9.0,
        "unread": [20.0, -18.0],
        "threshold": 0.8,
        "reaching": [[0.1, 0.5], [0.9, 0.8]],
    } | changes


@given(
    log_odds=st.floats(-30, 30),
    more=st.floats(0, 30),
    cosine=st.floats(-1, 1),
    nearer=st.floats(0, 1),
    read=st.floats(0, 5),
    weight=st.floats(0, 50),
)
def test_likeness_never_speaks_against_a_pair(
    log_odds: float, more: float, cosine: float, nearer: float, read: float, weight: float
) -> None:
    model = LanguageModel(tables(read=read, cosine=weight, unread=[weight, 0.0]))
    own = model.confidence(log_odds, cosine)
    assert 0.0 <= own <= 1.0
    assert own <= model.confidence(log_odds + more, cosine)
    assert own <= model.confidence(log_odds, cosine + nearer)
    assert model.unread(cosine) <= model.unread(cosine + nearer)
    assert model.least(0.0) <= model.least(0.5) <= model.least(1.0)


@given(log_odds=st.floats(-30, 30), cosine=st.floats(-1, 1), ceiling=st.floats(0, 10))
def test_no_pair_is_rated_over_the_most_that_its_cosine_allows(
    log_odds: float, cosine: float, ceiling: float
) -> None:
    model = LanguageModel(tables(ceiling=ceiling))
    assert model.confidence(log_odds, cosine) <= model.most(cosine)


def test_what_cannot_be_near_is_not_read(e5: E5Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    confidence = open_confidence(make_settings({}), e5)
    assert confidence is not None
    read: list[str] = []
    reader = confidence._reader
    log_odds = reader.log_odds

    def seen(asked: str, cached: str) -> float | None:
        read.append(asked)
        return log_odds(asked, cached)

    monkeypatch.setattr(reader, "log_odds", seen)
    asked, cached = "How do I reset my password?", "What is the weather like in Paris?"
    assert confidence.rate(asked, cached, 0.75, 0.1) == 0.0
    assert read == []
    assert 0 < confidence.rate(asked, cached, 0.75) < 0.1
    assert confidence.rate(asked, "How can I reset my password?", 0.97, 0.1) > 0.1
    assert len(read) == 2
    confidence.close()


@pytest.mark.parametrize("changes", [{"read": -0.1}, {"cosine": -0.1}, {"unread": [-1.0, 0.0]}])
def test_a_weight_by_which_likeness_speaks_against_a_pair_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="negative"):
        LanguageModel(tables(**changes))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "how do i reset my password"),
        ("Please, where are the shops?", "Where are the shops? Thank you!"),
        ("怎么重置密码？", "请问怎么重置密码"),
        ("为什么登录不了", "为什么登录不了…"),
        ("ＡＢＣ怎么用", "abc怎么用"),
        ("请介绍一下天文学哈", "请介绍天文学"),
    ],
)
def test_wording_that_changes_nothing_is_folded(one: str, other: str) -> None:
    assert shipped_wording().fold(one) == shipped_wording().fold(other)
    assert differ_in_form_only(one, other)


def test_wording_with_a_meaning_is_kept() -> None:
    fold = shipped_wording().fold
    assert fold("open an account") != fold("close an account")
    assert fold("C++ 教程") != fold("C 教程")
    assert fold("cookie please") == "cookie"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I reset it?", "english"),
        ("reset password", "english"),
        ("怎么重置", "chinese"),
        ("什么是RESTful API", "chinese"),
        ("¿Cómo cambio mi nombre?", "other"),
        ("パスワードを変更する方法", "other"),
        ("Wie ändere ich mein Passwort?", "other"),
        ("как изменить пароль", "other"),
        ("", "english"),
        ("12:30", "english"),
    ],
)
def test_the_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language


def test_texts_that_say_nothing_do_not_differ_in_form_only() -> None:
    assert not differ_in_form_only("How can I?", "how can I")
    assert not differ_in_form_only("?", "!")


@pytest.mark.parametrize(
    ("asked", "same", "other"),
    [
        ("How can I get my password changed?", "How do I reset my password?", "How do I reset my router?"),
        ("密码忘了怎么办？", "怎么重置密码", "怎么重置路由器"),
        (
            "Is aspirin safe with alcohol?",
            "Can I drink alcohol when I take aspirin?",
            "Is aspirin safe for dogs?",
        ),
    ],
)
def test_more_than_the_cosine_counts(shipped: Confidence, asked: str, same: str, other: str) -> None:
    assert shipped.rate(asked, same, 0.9) > shipped.rate(asked, other, 0.9)


@pytest.mark.parametrize(
    ("asked", "cached"),
    [
        ("请问你是谁？", "你是谁?"),
        ("请问怎么重置密码", "怎么重置密码？"),
        ("HOW DO I SELL A CAR???", "How do I sell a car? Thanks!"),
    ],
)
def test_politeness_and_form_alone_make_no_other_question(
    shipped: Confidence, asked: str, cached: str
) -> None:
    assert shipped.rate(asked, cached, 0.9) == FORM_ONLY > shipped.threshold(asked)


@pytest.mark.parametrize(
    "asked", ["", "?", "a", "ε" * 3000, "😀", "a\0b", "\ud800", "你" * 3000, "a b " * 2000]
)
def test_any_text_is_rated(shipped: Confidence, asked: str) -> None:
    assert 0.0 <= shipped.rate(asked, "How are you?", 0.9) <= 1.0
    assert 0.0 <= shipped.rate("How are you?", asked, -1.0) <= 1.0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 0}', '{"format": 4, "embedder": "e"}'])
def test_a_file_that_is_no_calibration_is_said(tmp_path: Path, e5: E5Embedder, content: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"calibration\.json cannot be used"):
        open_confidence(make_settings({"calibration": path}), e5)


@pytest.mark.parametrize("kind", ["embedder", "reader"])
def test_a_calibration_of_other_models_is_refused(tmp_path: Path, e5: E5Embedder, kind: str) -> None:
    path = tmp_path / "calibration.json"
    fitted = json.loads(SHIPPED.read_text(encoding="utf-8"))
    path.write_text(json.dumps(fitted | {kind: "another"}))
    with pytest.raises(ConfigError, match=f"fitted for the {kind} 'another'"):
        open_confidence(make_settings({"calibration": path}), e5)


def test_whoever_searches_the_cosine_of_the_taught_embedder_counts(e5: E5Embedder) -> None:
    asked, cached = "How do I open it?", "How can this be opened?"
    own = open_confidence(make_settings({}), e5)
    beside = open_confidence(make_settings({}), Searching())
    assert own is not None
    assert beside is not None
    one, other = e5.embed([asked, cached])
    cosine = float(one @ other)
    assert own.rate(asked, cached, cosine) == pytest.approx(beside.rate(asked, cached, 0.1), abs=1e-6)
    assert own.rate(asked, cached, cosine + 0.02) > own.rate(asked, cached, cosine)
    assert own.rate(asked, cached, None) == pytest.approx(own.rate(asked, cached, cosine), abs=1e-6)
    beside.close()
    assert len(e5.embed(["still open"])) == 1
    own.close()
    assert len(e5.embed(["still open"])) == 1


def test_of_texts_that_hand_on_the_same_only_the_rest_is_compared(shipped: Confidence) -> None:
    review = "The kettle boils fast, but the lid came loose after a week and the handle gets hot."
    asked, other = "How many words has this review?", "Translate this review into French."
    alone = shipped.rate(asked, other, None)
    assert shipped.rate(f"{asked}\n\n{review}", f"{other}\n\n{review}", 0.99) == pytest.approx(alone)
    assert shipped.rate(f"{review}\n{asked}", f"{review}\n{other}", 0.99) == pytest.approx(alone)
    assert differing_lines("a\nb", "a\nb\nc") == ("a\nb", "a\nb\nc")
    assert differing_lines("a", "b") == ("a", "b")


def test_without_an_embedder_that_is_read_the_cosine_decides() -> None:
    assert open_confidence(make_settings({}), HashEmbedder()) is None
    assert open_confidence(make_settings({"evaluation": "cosine"}), Searching()) is None


@pytest.mark.parametrize("line", ["one\ttwo", "one\ttwo\t2", "\ttwo\t1"])
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(f"a\tb\t1\n{line}\n")
    with pytest.raises(ConfigError, match="line 2"):
        read_pairs(path)


def test_equal_texts_and_conversations_are_not_calibrated_on(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    lines = [
        {"a": "one", "b": " two ", "same": 1},
        {"a": "one", "b": "one", "same": 1},
        {"a": [*turns, {"role": "user", "content": "c"}], "b": "c", "same": 0},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert [(pair.cached, pair.asked, pair.same) for pair in read_pairs(path)] == [("one", "two", True)]


def test_a_refused_pair_is_no_hit() -> None:
    rated = Rated.of([0.9, 0.3, -1.0], [True, False, True], ["a", "a", "b"])
    point = rated.at(0.2)
    assert (point.right, point.wrong, point.same) == (1, 1, 2)
    assert (rated.at(0.2, "b").right, rated.at(0.2, "b").wrong) == (0, 0)


def levels(*counts: tuple[float, int, int], suites: Sequence[str] = ("a", "a")) -> Rated:
    """So many right and wrong hits at each confidence."""
    of = [
        (share, same, suites[number])
        for number, (share, right, wrong) in enumerate(counts)
        for same, count in ((True, right), (False, wrong))
        for _ in range(count)
    ]
    return Rated.of([share for share, *_ in of], [same for _, same, _ in of], [suite for *_, suite in of])


def test_the_lowest_threshold_that_leaves_few_wrong_in_all_and_in_each_suite() -> None:
    def threshold(most_wrong: float, in_one: float, suites: tuple[str, str] = ("a", "a")) -> float:
        rated = levels((0.8, 96, 4), (0.6, 30, 3), suites=suites)
        return recommended({"english": rated}, most_wrong, in_one)["english"].threshold

    assert threshold(0.06, 0.06) == pytest.approx(0.6)
    assert threshold(0.045, 0.06) == pytest.approx(0.8)
    # Where none leaves so few, the one that leaves fewest.
    assert threshold(0.01, 0.02) == pytest.approx(0.8)


def test_no_suite_is_over_its_limit_and_traps_count_for_nothing() -> None:
    rated = levels((0.8, 900, 9), (0.6, 100, 9), suites=("a", "b"))
    assert recommended({"english": rated}, 0.06, 0.06)["english"].threshold == pytest.approx(0.8)
    assert recommended({"english": rated}, 0.06, 0.09)["english"].threshold == pytest.approx(0.6)
    trapped = replace(rated, traps=rated.suites == "b")
    assert recommended({"english": trapped}, 0.06, 0.06)["english"].right == 900
    # Of the wrong ones in b most are right after all.
    doubted = replace(rated, mislabelled=np.where(rated.suites == "b", 0.8, 0.0))
    point = recommended({"english": doubted}, 0.06, 0.06)["english"]
    assert point.threshold == pytest.approx(0.6)
    assert point.wrong == 18


def test_a_language_with_few_wrong_hits_leaves_room_for_another() -> None:
    noisy, clean = levels((0.8, 96, 4), (0.6, 30, 2)), levels((0.9, 100, 0), (0.5, 40, 1))
    chosen = recommended({"english": noisy, "chinese": clean}, 0.03, 0.06)
    assert {name: point.threshold for name, point in chosen.items()} == {"english": 0.6, "chinese": 0.5}
    assert sum(point.wrong for point in chosen.values()) <= 0.03 * sum(
        point.right + point.wrong for point in chosen.values()
    )
    alone = recommended({"english": noisy}, 0.03, 0.06)
    assert alone["english"].threshold == pytest.approx(0.8)


def made_up_pairs(path: Path, box: str = "box", count: int = 150) -> None:
    """Rephrasings, and others that differ in the thing asked about."""
    lines = []
    for thing in [f"thing{number}" for number in range(count)]:
        lines += [
            f"how do I open the {thing} {box}\thow to get the {thing} {box} open\t1",
            f"how do I open the {thing} {box}\thow do I open the other {box} of Tom\t0",
            f"怎么打开{thing}的{box}\t{thing}的{box}该怎么打开\t1",
            f"怎么打开{thing}的{box}\t怎么关上别人的{box}\t0",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.packages
def test_calibrate_fits_recommends_and_draws(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    e5: E5Embedder,
) -> None:
    pairs, others, fitted, ini, png = (
        tmp_path / name for name in ("p.tsv", "o.tsv", "c.json", "s.ini", "c.png")
    )
    made_up_pairs(pairs)
    made_up_pairs(others, "lid")
    arguments = ["--profile", "demo", "calibrate", "--pairs", str(pairs), "--pairs", str(others)]
    assert main([*arguments, "--fit", str(fitted), "--settings", str(ini), "--plot", str(png)]) == 0
    printed = capsys.readouterr().out
    assert "chinese" in printed
    assert "wrong share of hits" in printed
    assert png.read_bytes().startswith(b"\x89PNG")
    assert f"calibration = {fitted}" in ini.read_text()
    assert "left out" in printed
    confidence = open_confidence(make_settings({"calibration": fitted}), e5)
    assert confidence is not None
    same = confidence.rate("how can I get the thing7 box open", "how do I open the thing7 box", 0.9)
    other = confidence.rate("how do I open the other box of Tom", "how do I open the thing7 box", 0.8)
    assert same > other
    assert 0 < confidence.threshold("how") <= 1

    monkeypatch.setenv("MODELCACHE_CONFIG", str(ini))
    assert main([*arguments, "--settings", str(ini)]) == 0
    assert "similarity_threshold = " in ini.read_text()


@pytest.mark.packages
def test_calibrate_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "few.tsv"
    path.write_text("a\tb\t1\nc\td\t0\n")
    for arguments in (
        ["--pairs", str(path), "--fit", str(tmp_path / "c.json")],
        ["--pairs", str(tmp_path / "absent.tsv")],
    ):
        assert main(["--profile", "demo", "calibrate", *arguments]) == 1
    assert main(["--profile", "demo", "calibrate", "--pairs", str(path), "--wrong-share", "2"]) == 1
    said = capsys.readouterr().err
    assert "--fit needs at least" in said
    assert "absent.tsv cannot be read" in said
    assert "--wrong-share" in said


def test_calibrate_recommends_by_what_shadow_mode_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELCACHE_DATA_DIR", str(tmp_path))
    store = get_scalar_store(load_settings("demo"))
    store.open()
    key = model_key("m")
    seen = [("right", 950, 60), ("wrong", 950, 1), ("right", 900, 30), ("wrong", 900, 20), ("wrong", 1001, 9)]
    store.add_tallies([Tally(key, outcome, bucket, count) for outcome, bucket, count in seen])
    store.close()
    ini = tmp_path / "s.ini"
    arguments = ["--profile", "demo", "calibrate", "--from-log", "--model", "m"]
    assert main([*arguments, "--settings", str(ini)]) == 0
    assert "similarity_threshold = 0.95" in ini.read_text()
    assert "| 0.9 | 90 | 21 | 18.9%" in capsys.readouterr().out
    assert main([*arguments[:-1], "other"]) == 1
    assert "nothing was compared" in capsys.readouterr().err
    assert main(["--profile", "demo", "calibrate"]) == 1
