"""Both models from their weights to their files."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from modelcache.embedding.e5 import ENCODER, TAUGHT, E5Embedder
from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.embedding.e5_weights import E5Weights, wheel_file
from modelcache.embedding.shipped import shipped_folder
from modelcache.model_building.e5 import encoder_of, write_embedder, write_pieces
from modelcache.model_building.encoder import Encoder, Floats, read_encoder, read_pair_encoder
from modelcache.model_building.reader import write_reader
from modelcache.similarity_evaluation.paraphrase import FOLDER, GRAPH, REMEMBERED_BYTES
from modelcache.training.command import (
    AFTER,
    ANEW,
    BATCH,
    BEFORE,
    CURVE,
    EMBEDDER,
    FURTHER,
    HEAD_TIMES,
    Lessons,
)
from modelcache.training.embedder import EmbedderLesson, teach_embedder
from modelcache.training.examples import Example
from modelcache.training.figures import area_under_curve, draw_curve, found_at
from modelcache.training.loop import Plan, Point, device
from modelcache.training.reader import ReaderLesson, Text, teach_reader, untaught_reader

NAME = "e5-small-taught"
MOST_WRONG = 0.05
# The name under which contrasts are measured, apart from the pairs.
CONTRASTS = "contrasts"

Figures = dict[str, dict[str, float]]


class Taught:
    """Teaches into a folder: ``e5`` and ``reader``, and beside them what a stopped run goes on from."""

    def __init__(self, folder: Path, seed: int, anew: bool) -> None:
        """``anew``: from the published weights; otherwise from those that are shipped."""
        self._folder = folder
        self._seed = seed
        self._anew = anew
        self._weights = E5Weights(wheel_file())
        self._inputs = E5Inputs(self._weights)

    def teach(self, name: str, lessons: Lessons) -> Figures:
        """Teach one of the two, write its files, and return how well it tells the kept pairs apart."""
        plan = Plan(
            folder=self._folder / "progress" / name,
            batch=BATCH,
            rate=ANEW if self._anew else FURTHER,
            head_rate=HEAD_TIMES * (ANEW if self._anew else FURTHER),
            seed=self._seed,
        )
        report, points = (self._embedder if name == EMBEDDER else self._reader)(lessons, plan)
        draw_curve(points, plan.folder / CURVE)
        for when, figures in report.items():
            print(f"{name}, {when}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
        return report

    def _embedder(self, lessons: Lessons, plan: Plan) -> tuple[Figures, Sequence[Point]]:
        shipped = shipped_folder(TAUGHT) / ENCODER
        encoder = encoder_of(self._weights) if self._anew else self._encoder(shipped)
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
        kept = [*lessons.kept, *(replace(one, language=CONTRASTS) for one in lessons.kept_contrasts)]
        examples = [*lessons.pairs, *lessons.contrasts]
        taught = self._folder / TAUGHT
        folder = taught if (taught / ENCODER).is_file() else shipped_folder(TAUGHT)
        embedder = E5Embedder(threads=1, folder=folder)
        embedder.open()
        texts = _texts(embedder, [*examples, *kept])
        if self._anew:
            encoder, head = untaught_reader(self._encoder(folder / ENCODER)), None
        else:
            encoder, head = read_pair_encoder(shipped_folder(FOLDER) / GRAPH, self._weights.epsilon)
        before = _figures(kept, ReaderLesson(encoder, texts, head).to(device()).scores)
        encoder, head, points = teach_reader(encoder, examples, kept, texts, plan, head)
        write_reader(self._folder / FOLDER, encoder, head, embedder)
        embedder.close()
        after = _figures(kept, ReaderLesson(encoder, texts, head).to(device()).scores)
        return {BEFORE: before, AFTER: after}, points

    def _encoder(self, graph: Path) -> Encoder:
        return read_encoder(graph, self._weights.heads, self._weights.epsilon)


def _texts(embedder: E5Embedder, examples: Sequence[Example]) -> dict[str, Text]:
    """Return what an open embedder gives for the texts of all pairs."""
    texts = list(dict.fromkeys(text for one in examples for text in (one.asked, one.cached)))

    def look(text: str) -> Text:
        vector = embedder.embed([text])[0]
        return Text(embedder.ids(text), embedder.states(text), vector)

    # The states are remembered as a text is embedded: it is computed once.
    embedder.remember_states(REMEMBERED_BYTES)
    with ThreadPoolExecutor(embedder.parallel) as pool:
        found = tqdm(pool.map(look, texts), total=len(texts), desc="embedding", disable=None)
        return dict(zip(texts, found, strict=True))


def _figures(kept: Sequence[Example], score: Callable[[Sequence[Example]], Floats]) -> dict[str, float]:
    import torch

    with torch.inference_mode():
        scores = score(kept)
    areas = {f"AUC {name}": value for name, value in area_under_curve(kept, scores).items()}
    same = np.array([one.same for one in kept])
    return areas | {f"found at {MOST_WRONG:.0%} wrong": found_at(same, scores, MOST_WRONG)}
