"""Teaching both models on a tiny share: it learns, goes on where it stopped, and its files agree with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelcache.__main__ import main
from modelcache.embedding.e5 import ENCODER, E5Embedder
from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.embedding.e5_weights import E5Weights, wheel_file
from modelcache.model_building.e5 import encoder_of, write_embedder
from modelcache.model_building.encoder import read_encoder, read_head
from modelcache.model_building.reader import write_reader
from modelcache.similarity_evaluation.paraphrase import GRAPH, ParaphraseReader
from modelcache.training import loop
from modelcache.training.contrasts import contrasts
from modelcache.training.embedder import EmbedderLesson, teach_embedder
from modelcache.training.examples import Example
from modelcache.training.figures import area_under_curve, found_at
from modelcache.training.loop import CHECKPOINT, PROGRESS, Plan
from modelcache.training.reader import LEAST_NOISE, NOISE, ReaderLesson, teach_reader

pytestmark = pytest.mark.packages

QUESTIONS = ["How do I reset my password?", "Where is my order?", "怎么重置密码？", "我的订单到哪了？"]
PAIRS = 320
STEPS_MEASURED = 5


def plan(folder: Path, **changes: Any) -> Plan:
    return Plan(folder, batch=16, rate=8e-5, head_rate=4e-4, seed=1, measure_steps=STEPS_MEASURED, **changes)


@pytest.fixture(scope="module")
def weights() -> E5Weights:
    return E5Weights(wheel_file())


@pytest.fixture(scope="module")
def inputs(weights: E5Weights) -> E5Inputs:
    return E5Inputs(weights)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return contrasts(QUESTIONS, PAIRS, seed=3)


def test_the_reader_learns_and_its_files_agree_with_it(
    tmp_path: Path,
    weights: E5Weights,
    inputs: E5Inputs,
    examples: list[Example],
) -> None:
    # A few pairs, seen again and again.
    kept, taught = examples[:40], examples[40:72] * 10
    encoder, head, points = teach_reader(encoder_of(weights), inputs, taught, kept, plan(tmp_path))
    assert points[-1].loss < points[0].loss
    lesson = ReaderLesson(encoder, inputs, head).eval()
    # As it is read in the service: what sorts first comes first.
    ordered = [
        pair if inputs.tokens(pair.asked) <= inputs.tokens(pair.cached) else _turned(pair) for pair in kept
    ]
    with torch.inference_mode():
        expected = lesson.scores(ordered)
    for float32, tolerance in ((True, 1e-3), (False, 0.5)):
        folder = tmp_path / str(float32)
        name = write_reader(folder, encoder, head, inputs, float32)
        reader = ParaphraseReader(folder=folder)
        reader.open()
        assert reader.name == name
        found = [reader.log_odds(pair.asked, pair.cached) for pair in kept]
        np.testing.assert_allclose(np.array(found, float), expected, atol=tolerance)
        assert np.allclose(read_head(folder / GRAPH).weight, head.weight)


def test_the_embedder_learns_and_its_files_agree_with_it(
    tmp_path: Path, weights: E5Weights, inputs: E5Inputs, examples: list[Example]
) -> None:
    # A few pairs, seen again and again.
    kept, taught = examples[:40], examples[40:104] * 5
    encoder, points = teach_embedder(encoder_of(weights), inputs, taught, kept, plan(tmp_path))
    assert points[-1].loss < points[0].loss
    texts = [text for pair in kept for text in (pair.asked, pair.cached) if len(text) < 80]
    with torch.inference_mode():
        expected = EmbedderLesson(encoder, inputs).eval().vectors(texts).numpy()
    name = write_embedder(tmp_path / "e5", "taught", encoder, inputs)
    embedder = E5Embedder(folder=tmp_path / "e5")
    embedder.open()
    assert embedder.name == name
    assert (embedder.embed(texts) * expected).sum(axis=1).min() > 0.97
    again = read_encoder(tmp_path / "e5" / ENCODER, encoder.heads, encoder.epsilon)
    assert len(again.layers) == len(encoder.layers)
    ours, theirs = (one.layers[-1].widened.weight for one in (encoder, again))
    assert np.abs(ours - theirs).max() < 0.1 * np.abs(ours).max()


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not(
    tmp_path: Path,
    weights: E5Weights,
    inputs: E5Inputs,
    examples: list[Example],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, taught = examples[:16], examples[16:112]
    whole, _, points = teach_reader(encoder_of(weights), inputs, taught, kept, plan(tmp_path / "whole"))

    class StoppedError(Exception):
        pass

    saved = loop._save

    def stop(*arguments: object) -> None:
        saved(*arguments)  # type: ignore[arg-type]
        raise StoppedError

    monkeypatch.setattr(loop, "_save", stop)
    eager = plan(tmp_path / "parts", checkpoint_seconds=0)
    with pytest.raises(StoppedError):
        teach_reader(encoder_of(weights), inputs, taught, kept, eager)
    monkeypatch.undo()
    assert (tmp_path / "parts" / CHECKPOINT).is_file()
    parts, _, points_of_parts = teach_reader(encoder_of(weights), inputs, taught, kept, eager)
    assert [point.step for point in points_of_parts] == [point.step for point in points]
    ours, theirs = (one.layers[0].widened.weight for one in (whole, parts))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    lines = (tmp_path / "whole" / PROGRESS).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [point.step for point in points]


def test_a_run_ends_when_its_time_is_over(
    tmp_path: Path, weights: E5Weights, inputs: E5Inputs, examples: list[Example]
) -> None:
    kept, taught = examples[:16], examples[16:112]
    _, _, points = teach_reader(encoder_of(weights), inputs, taught, kept, plan(tmp_path, most_seconds=1e-9))
    assert [point.step for point in points] == [1]


def test_a_wrong_label_costs_the_less_the_more_labels_of_its_set_are_wrong(
    weights: E5Weights, inputs: E5Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = ReaderLesson(encoder_of(weights), inputs)
    monkeypatch.setattr(lesson, "logits", lambda pairs: torch.full((len(pairs),), 40.0))
    losses = {
        (kind, same): float(lesson.loss([Example("a", "b", same, kind, "en")]))
        for kind in ("qqp", "direction")
        for same in (True, False)
    }
    assert losses["direction", False] == pytest.approx(-np.log(LEAST_NOISE.missed), abs=0.01)
    assert losses["qqp", False] == pytest.approx(-np.log(NOISE["qqp"].missed), abs=0.01)
    assert losses["direction", True] == pytest.approx(-np.log(1 - LEAST_NOISE.missed), abs=0.01)


def test_the_command_teaches_on_ones_own_pairs_and_reports(
    tmp_path: Path, examples: list[Example], capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.tsv"
    short = [
        one for one in examples if "\n" not in one.asked + one.cached and "\t" not in one.asked + one.cached
    ]
    lines = [f"{one.cached}\t{one.asked}\t{int(one.same)}\n" for one in short[:80]]
    pairs.write_text("".join(lines), encoding="utf-8")
    folder = tmp_path / "taught"
    assert main(["train", "--pairs", str(pairs), "--to", str(folder)]) == 0
    report = json.loads((folder / "report.json").read_text())
    assert set(report) == {"embedder", "reader"}
    assert set(report["reader"]) == {"before", "after"}
    assert "reader, after: AUC" in capsys.readouterr().out
    embedder, reader = E5Embedder(folder=folder / "e5"), ParaphraseReader(folder=folder / "reader")
    embedder.open()
    reader.open()
    for name in ("embedder", "reader"):
        assert (folder / "progress" / name / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = ["--to", str(tmp_path / "taught")]
    assert main(["train", *to]) == 1
    assert main(["train", *to, "--data", str(tmp_path)]) == 1
    (tmp_path / "few.tsv").write_text("a\tb\t1\n")
    assert main(["train", *to, "--pairs", str(tmp_path / "few.tsv")]) == 1
    said = capsys.readouterr().err
    assert "either --data or --pairs" in said
    assert "qqp.tsv is not there" in said
    assert "too few pairs" in said


def test_figures() -> None:
    def pair(same: bool, language: str) -> Example:
        return Example("a", "b", same, "k", language)

    pairs = [pair(True, "en"), pair(False, "en"), pair(True, "en"), pair(True, "zh")]
    scores = np.array([0.9, 0.8, 0.7, 0.1], np.float32)
    assert area_under_curve(pairs, scores) == {"en": 0.5}
    same = np.array([True, True, False, True])
    assert found_at(same, scores, 0.0) == pytest.approx(2 / 3)
    assert found_at(same, scores, 0.25) == pytest.approx(1.0)


def _turned(pair: Example) -> Example:
    return Example(pair.cached, pair.asked, pair.same, pair.kind, pair.language)
