"""The confidence: what a calibration rates, and how one is fitted to labelled pairs."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from modelcache.__main__ import main
from modelcache.calibration import command
from modelcache.calibration.curve import Outcomes
from modelcache.calibration.fit import _forest_tables
from modelcache.calibration.pairs import LabelledPair, folds, read_pairs
from modelcache.decision.confidence import SHIPPED, Confidence, Pair
from modelcache.decision.factory import load_confidence
from modelcache.decision.forest import Forest
from modelcache.decision.wording import shipped_wording
from modelcache.embedding.e5 import E5Embedder
from modelcache.errors import ConfigError
from modelcache.manager.factory import get_scalar_store
from modelcache.manager.names import model_key
from modelcache.manager.scalar_data.base import Tally
from modelcache.settings import load_settings, make_settings
from modelcache.slots.guard import SlotGuard
from tests.hash_embedder import HashEmbedder

GUARD = SlotGuard.from_settings(make_settings({}))


@pytest.fixture(scope="module")
def shipped() -> Confidence:
    return Confidence.load(SHIPPED / "e5.json", GUARD)


@pytest.fixture(scope="module")
def e5() -> Iterator[E5Embedder]:
    embedder = E5Embedder()
    embedder.open()
    yield embedder
    embedder.close()


def rated(confidence: Confidence, asked: str, cached: str, similarity: float, *others: float) -> float:
    [share] = confidence.rate([Pair(asked, cached, GUARD.differences(asked, cached), similarity, others)])
    return share


def test_a_forest_sums_the_trees_that_lightgbm_grew() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(2000, 6)).astype(np.float32)
    labels = (rows[:, 0] * rows[:, 1] + rows[:, 2] > 0.3).astype(float)
    grown = lightgbm.train(
        {"objective": "binary", "num_leaves": 9, "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(rows, labels),
        num_boost_round=30,
    )
    tables = _forest_tables(grown.dump_model()["tree_info"])
    forest = Forest(json.loads(json.dumps(tables)))
    expected = np.asarray(grown.predict(rows, raw_score=True))
    assert forest.predict(rows) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "how can I reset my password"),
        ("Please tell me the opening hours", "What are the opening hours?"),
        ("怎么重置密码？", "请问如何重置密码"),
        ("为什么登录不了", "为何登录不了？"),
        ("ＡＢＣ怎么用", "abc如何用"),
    ],
)
def test_wording_that_changes_nothing_is_folded(one: str, other: str) -> None:
    assert shipped_wording().fold(one) == shipped_wording().fold(other)


def test_wording_with_a_meaning_is_kept() -> None:
    fold = shipped_wording().fold
    assert fold("open an account") != fold("close an account")
    assert fold("C++ 教程") != fold("C 教程")
    assert fold("cookie please") == "cookie"


@pytest.mark.parametrize(
    ("asked", "same", "other"),
    [
        ("How can I reset my password?", "How do I reset my password?", "How do I reset my router?"),
        ("如何重置密码？", "怎么重置密码", "怎么重置路由器"),
    ],
)
def test_more_than_the_cosine_counts(
    shipped: Confidence, e5: E5Embedder, asked: str, same: str, other: str
) -> None:
    vector, *cached = e5.embed([asked, same, other])
    shares = [
        shipped.rate([Pair(asked, text, GUARD.differences(asked, text), 0.975, (), (vector, own))])
        for text, own in zip((same, other), cached, strict=True)
    ]
    assert shares[0] > shares[1]


@pytest.mark.parametrize(
    ("asked", "cached"),
    [
        ("请问你是谁？", "你是谁?"),
        ("请问如何重置密码", "怎么重置密码？"),
        ("How can I sell a car?", "How do I sell a car?"),
    ],
)
def test_politeness_and_form_alone_make_no_other_question(
    shipped: Confidence, asked: str, cached: str
) -> None:
    assert rated(shipped, asked, cached, 0.96) > 0.9
    [share] = shipped.rate([Pair(asked, cached, ("negation",), 0.96, ())])
    assert share < 0.9


@pytest.mark.parametrize("asked", ["", "?", "a", "ε" * 3000, "😀", "a\0b", "\ud800", "你" * 3000])
def test_any_text_is_rated(shipped: Confidence, asked: str) -> None:
    assert 0.0 <= rated(shipped, asked, "How are you?", 0.9) <= 1.0
    assert 0.0 <= rated(shipped, "How are you?", asked, 1.0, -1.0) <= 1.0


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 0}', '{"format": 1, "features": ["similarity"]}']
)
def test_a_file_that_is_no_calibration_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"calibration\.json cannot be used"):
        Confidence.load(path, GUARD)


@pytest.mark.parametrize("line", ["one\ttwo", "one\ttwo\t2", "one\ttwo\t1\t1", "\ttwo\t1"])
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(f"a\tb\t1\n{line}\n")
    with pytest.raises(ConfigError, match="line 2"):
        read_pairs(path)


def test_pairs_with_a_question_in_common_share_a_fold() -> None:
    pairs = [LabelledPair(f"q{n}", f"q{n + 1}", True) for n in range(50)]
    apart = [LabelledPair(f"a{n}", f"b{n}", True) for n in range(200)]
    found = folds([*pairs, *apart], 8)
    assert len(set(found[:50])) == 1
    assert set(found[50:]) == set(range(8))
    assert folds(list(reversed(apart)), 8) == found[:49:-1]


def test_only_the_nearest_over_the_threshold_answers() -> None:
    outcomes = Outcomes(
        shares=[np.array([0.9, 0.8]), np.array([0.3, 0.8]), np.array([0.9, 0.1]), np.array([-1.0, 0.2])],
        own=[0, 1, 1, 0],
        same=[True, False, True, True],
    )
    point = outcomes.at(0.5)
    assert (point.right, point.wrong, point.duplicates) == (1, 1, 3)
    assert outcomes.recommended(0.4).threshold == pytest.approx(0.9)


@pytest.mark.parametrize(("wrong_share", "threshold"), [(0.04, 0.8), (0.06, 0.8), (0.2, 0.7), (0.0, 0.8)])
def test_a_few_hits_at_the_top_recommend_no_threshold(wrong_share: float, threshold: float) -> None:
    """One right at 0.99, then 96 right and 4 wrong, then 10 right and 10 wrong."""
    levels = [(0.99, True), *[(0.8, True)] * 96, *[(0.8, False)] * 4, *[(0.7, True), (0.7, False)] * 10]
    outcomes = Outcomes(
        shares=[np.array([share]) for share, _ in levels],
        own=[0] * len(levels),
        same=[same for _, same in levels],
    )
    assert outcomes.recommended(wrong_share).threshold == pytest.approx(threshold)


def made_up_pairs(path: Path, count: int = 600) -> None:
    """Duplicates that differ in politeness, and others that differ in the thing asked about."""
    things = [f"thing{number}" for number in range(count)]
    lines = []
    for number, thing in enumerate(things):
        lines += [
            f"how do I open the {thing} box\tplease, how can I open the {thing} box\t1",
            f"how do I open the {thing} box\thow do I open the other{number} box\t0",
            f"怎么打开{thing}的盒子\t请问如何打开{thing}的盒子\t1",
            f"怎么打开{thing}的盒子\t怎么打开别的{number}的盒子\t0",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_calibrate_fits_recommends_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "get_embedder", lambda settings: HashEmbedder())
    pairs, fitted, ini, png = (tmp_path / name for name in ("p.tsv", "c.json", "s.ini", "c.png"))
    made_up_pairs(pairs)
    arguments = ["--profile", "demo", "calibrate", "--pairs", str(pairs)]
    assert main([*arguments, "--fit", str(fitted), "--settings", str(ini), "--plot", str(png)]) == 0
    printed = capsys.readouterr().out
    assert "chinese" in printed
    assert "wrong share of hits" in printed
    assert png.read_bytes().startswith(b"\x89PNG")
    assert f"calibration = {fitted}" in ini.read_text()
    confidence = Confidence.load(fitted, GUARD)
    assert confidence.embedder == HashEmbedder.name
    same = rated(confidence, "how can I open the thing7 box", "how do I open the thing7 box", 0.5)
    other = rated(confidence, "how do I open the other7 box", "how do I open the thing7 box", 0.5)
    assert same > 0.9 > 0.1 > other
    assert not math.isnan(confidence.threshold("how"))

    monkeypatch.setenv("MODELCACHE_CONFIG", str(ini))
    assert main([*arguments, "--settings", str(ini)]) == 0
    assert "similarity_threshold = " in ini.read_text()


def test_a_calibration_of_another_dimension_is_refused(tmp_path: Path) -> None:
    tables = json.loads((SHIPPED / "e5.json").read_text(encoding="utf-8"))
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(tables | {"embedder": HashEmbedder.name}))
    with pytest.raises(ConfigError, match=f"384 dimensions, but the embedder makes {HashEmbedder.dimension}"):
        load_confidence(make_settings({"calibration": path}), HashEmbedder(), GUARD)
    for name in ("chinese", "other"):
        tables["languages"][name]["directions"]["products"].pop()
        path.write_text(json.dumps(tables))
        with pytest.raises(ConfigError, match="cannot be used"):
            Confidence.load(path, GUARD)


def test_calibrate_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "get_embedder", lambda settings: HashEmbedder())
    path = tmp_path / "few.tsv"
    path.write_text("a\tb\t1\nc\td\t0\n")
    for arguments in (["--pairs", str(path)], ["--pairs", str(tmp_path / "absent.tsv")]):
        assert main(["--profile", "demo", "calibrate", *arguments]) == 1
    assert main(["--profile", "demo", "calibrate", "--pairs", str(path), "--wrong-share", "2"]) == 1
    said = capsys.readouterr().err
    assert "too few labelled pairs" in said
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
