"""The product itself, in this process, as its clients see it."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from tqdm import tqdm

from benchmarks.trust.hits import Flags, Hits, Tally
from modelcache.app import create_app, get_service
from modelcache.core import Cache
from modelcache.embedding.base import Embedder
from modelcache.records.vectors import Embeddings
from modelcache.settings import load_settings

Json = dict[str, Any]
Dialogue = list[Json]

OURS = "ModelCache, this one"
BATCH = 200
# The product is asked at each of these to learn what it does at any threshold.
THRESHOLDS = (
    *(0.98, 0.96, 0.95, 0.94, 0.935, 0.93, 0.925, 0.92, 0.915, 0.91, 0.905, 0.9, 0.895, 0.89, 0.885, 0.88),
    *(0.875, 0.87, 0.86, 0.85, 0.84, 0.82, 0.8, 0.79, 0.78, 0.77, 0.76, 0.75, 0.74, 0.73, 0.72, 0.71, 0.7),
    *(0.68, 0.65, 0.62, 0.6, 0.58, 0.55, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05),
)
# All that is asked is embedded once, though it is asked of several decisions.
REMEMBERED_MB = 256


class Product:
    """The demo with its default settings."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    @property
    def cache(self) -> Cache:
        return get_service(self._app).cache

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return the vectors that the product compares, float32 (len(texts), dimension)."""
        starts = range(0, len(texts), BATCH)
        progress = tqdm(starts, desc="embedding", leave=False, disable=None)
        parts = [
            self.cache.gathering.embed([text.strip() for text in texts[start : start + BATCH]])
            for start in progress
        ]
        return np.concatenate(parts)

    def insert(self, model: str, dialogues: Sequence[Dialogue]) -> list[int]:
        """Store an entry for each; returns their ids."""
        ids: list[int] = []
        for start in tqdm(range(0, len(dialogues), BATCH), desc="inserting", leave=False, disable=None):
            # Each with an answer of its own: entries that answer alike do not make each other doubtful.
            chat_info = [
                {"query": dialogue, "answer": f"answer {number}"}
                for number, dialogue in enumerate(dialogues[start:][:BATCH], start)
            ]
            ids += self._post({"type": "insert", "scope": {"model": model}, "chat_info": chat_info})["ids"]
        return ids

    def ask(self, model: str, dialogues: Sequence[Dialogue], **more: Any) -> list[Json]:
        """Return the reply to each."""
        bodies = [
            {"type": "query", "scope": {"model": model}, "query": dialogue} | more for dialogue in dialogues
        ]
        with ThreadPoolExecutor(self.cache.embedder.parallel) as pool:
            replies = pool.map(self._post, bodies)
            return list(tqdm(replies, total=len(bodies), desc="asking", leave=False, disable=None))

    def sweep(self, model: str, dialogues: Sequence[Dialogue]) -> list[list[Json]]:
        """Return the replies to each, for each of ``THRESHOLDS``."""
        return [self.ask(model, dialogues, threshold=threshold) for threshold in THRESHOLDS]

    def remove(self, model: str, id_: int) -> None:
        self._post(
            {
                "type": "remove",
                "scope": {"model": model},
                "remove_type": "delete_by_id",
                "id_list": [id_],
            }
        )

    def _post(self, body: Json) -> Json:
        reply: Json = self._app.test_client().post("/modelcache", json=body).get_json()
        if reply["errorCode"]:
            raise RuntimeError(reply["errorDesc"])
        return reply


@contextmanager
def opened(folder: Path, embedder: Embedder, calibration: Path | None = None) -> Iterator[Product]:
    """Open the demo on an empty folder until the end of the block."""
    own = {"data_dir": folder, "embedding_memory_mb": REMEMBERED_MB, "query_log": False}
    if calibration is not None:
        own["calibration"] = calibration
    app = create_app(load_settings("demo", {}, own), embedder=embedder)
    try:
        yield Product(app)
    finally:
        get_service(app).close()


@dataclass(frozen=True, slots=True)
class Truth:
    """What is right: the place of each question's own entry, and whether that answers it."""

    own: Sequence[int]
    same: Flags
    others_are_wrong: bool
    """Whether a hit on any other entry is wrong; otherwise it has no label."""


def hits_of(
    swept: Sequence[Sequence[Json]], default: Sequence[Json], places: Mapping[int, int], truth: Truth
) -> Hits:
    """Count replies; ``places`` tells which entry has had an id.

    ``swept`` are the replies at each of ``THRESHOLDS``.
    """
    counts = [_judged(replies, places, truth) for replies in swept]
    default_right, default_wrong = (int(flags.sum()) for flags in _judged(default, places, truth))
    rephrasings = int(truth.same.sum())
    return Hits(
        OURS,
        np.array(THRESHOLDS),
        np.array([int(right.sum()) for right, _ in counts]),
        np.array([int(wrong.sum()) for _, wrong in counts]),
        rephrasings,
        Tally(default_right, default_wrong, rephrasings - default_right),
        lambda score: f"confidence {score:.4f}",
    )


def _judged(replies: Sequence[Json], places: Mapping[int, int], truth: Truth) -> tuple[Flags, Flags]:
    hit = np.array([reply["cacheHit"] for reply in replies], np.bool_)
    winners = [places.get(reply["hit_id"], -1) for reply in replies]
    of_own = np.array(winners) == np.asarray(truth.own)
    right = hit & of_own & truth.same
    return right, hit & ~right & (of_own | truth.others_are_wrong)
