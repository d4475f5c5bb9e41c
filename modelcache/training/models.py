"""Both models from their weights to their files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelcache.embedding.e5 import ENCODER, TAUGHT
from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.embedding.e5_weights import E5Weights, wheel_file
from modelcache.embedding.shipped import shipped_folder
from modelcache.model_building.e5 import encoder_of, write_embedder, write_pieces
from modelcache.model_building.encoder import Encoder, Floats, read_encoder, read_head
from modelcache.model_building.reader import write_reader
from modelcache.similarity_evaluation.paraphrase import FOLDER, GRAPH
from modelcache.training.command import AFTER, BATCH, BEFORE, CURVE, EMBEDDER, HEAD_TIMES, Lessons
from modelcache.training.embedder import EmbedderLesson, teach_embedder
from modelcache.training.examples import Example
from modelcache.training.figures import area_under_curve, draw_curve, found_at
from modelcache.training.loop import Plan, Point, device
from modelcache.training.reader import ReaderLesson, teach_reader

NAME = "e5-small-taught"
MOST_WRONG = 0.05
# The name under which contrasts are measured, apart from the pairs.
CONTRASTS = "contrasts"

Figures = dict[str, dict[str, float]]


class Taught:
    """Teaches into a folder: ``e5`` and ``reader``, and beside them what a stopped run goes on from."""

    def __init__(self, folder: Path, seed: int, anew: bool, rate: float, most_seconds: float) -> None:
        """``anew``: from the published weights; otherwise from those that are shipped."""
        self._folder = folder
        self._seed = seed
        self._anew = anew
        self._rate = rate
        self._most_seconds = most_seconds
        self._weights = E5Weights(wheel_file())
        self._inputs = E5Inputs(self._weights)

    def teach(self, name: str, lessons: Lessons) -> Figures:
        """Teach one of the two, write its files, and return how well it tells the kept pairs apart."""
        plan = Plan(
            folder=self._folder / "progress" / name,
            batch=BATCH,
            rate=self._rate,
            head_rate=HEAD_TIMES * self._rate,
            seed=self._seed,
            most_seconds=self._most_seconds,
        )
        report, points = (self._embedder if name == EMBEDDER else self._reader)(lessons, plan)
        draw_curve(points, plan.folder / CURVE)
        for when, figures in report.items():
            print(f"{name}, {when}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
        return report

    def _embedder(self, lessons: Lessons, plan: Plan) -> tuple[Figures, Sequence[Point]]:
        encoder = self._encoder(shipped_folder(TAUGHT) / ENCODER)
        kept = lessons.kept
        before = _figures(kept, EmbedderLesson(encoder, self._inputs).to(device()).cosines)
        taught, points = teach_embedder(encoder, self._inputs, lessons.pairs, kept, plan)
        folder = self._folder / TAUGHT
        folder.mkdir(parents=True, exist_ok=True)
        write_pieces(self._weights, folder)
        write_embedder(folder, NAME, taught, self._inputs)
        after = _figures(kept, EmbedderLesson(taught, self._inputs).to(device()).cosines)
        return {BEFORE: before, AFTER: after}, points

    def _reader(self, lessons: Lessons, plan: Plan) -> tuple[Figures, Sequence[Point]]:
        encoder, head = self._encoder(shipped_folder(FOLDER) / GRAPH), None
        if not self._anew:
            head = read_head(shipped_folder(FOLDER) / GRAPH)
        kept = [*lessons.kept, *(replace(one, language=CONTRASTS) for one in lessons.kept_contrasts)]
        examples = [*lessons.pairs, *lessons.contrasts]
        before = _figures(kept, ReaderLesson(encoder, self._inputs, head).to(device()).scores)
        taught, taught_head, points = teach_reader(encoder, self._inputs, examples, kept, plan, head)
        write_reader(self._folder / FOLDER, taught, taught_head, self._inputs)
        lesson = ReaderLesson(taught, self._inputs, taught_head).to(device())
        after = _figures(kept, lesson.scores)
        return {BEFORE: before, AFTER: after}, points

    def _encoder(self, shipped: Path) -> Encoder:
        if self._anew:
            return encoder_of(self._weights)
        return read_encoder(shipped, self._weights.heads, self._weights.epsilon)


def _figures(kept: Sequence[Example], score: Callable[[Sequence[Example]], Floats]) -> dict[str, float]:
    import torch

    with torch.inference_mode():
        scores = score(kept)
    areas = {f"AUC {name}": value for name, value in area_under_curve(kept, scores).items()}
    same = np.array([one.same for one in kept])
    return areas | {f"found at {MOST_WRONG:.0%} wrong": found_at(same, scores, MOST_WRONG)}
