"""How the embedded stores (SQLite and FAISS) bear growth: speed, recall, memory, many models, restarts.

Run it as ``python -m benchmarks.growth``; with all sizes it takes about ten minutes and 6 GB of disk.
Every figure is of ``SSDataManager.search``, rows and all, without the embedding of the question. Vectors are
those of ``benchmarks.vectors``.
"""

import argparse
import gc
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, sleep

import faiss
import numpy as np

from benchmarks.vectors import Ground, chunks, general, load_ground, near
from modelcache.embedding.base import Embeddings
from modelcache.hashing import digest
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.names import model_key
from modelcache.manager.reconcile import to_bytes
from modelcache.manager.scalar_data.base import NewAnswer
from modelcache.manager.scalar_data.sql_storage import INSERT_COLUMNS
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.manager.vector_data.faiss import FaissStore

EMBEDDER = "bench"
MODEL = "gpt-4"
PARTITION = digest("partition", MODEL)
DIMENSION = 384
BATCH = 5000
QUESTIONS = 400
DEPTHS = (1, 5, 10)
KEPT = Path(tempfile.gettempdir()) / "modelcache_bench" / "questions.npy"
ANSWER = "An answer of some length, as a model gives it. " * 4


@dataclass(frozen=True, slots=True)
class Speed:
    """Of searches over so many entries of one model."""

    entries: int
    kind: str
    p50_ms: float
    p95_ms: float
    recall: dict[int, float]


@dataclass(frozen=True, slots=True)
class Memory:
    entries: int
    resident_bytes: int
    bytes_per_entry: float
    ratio_to_float32: float


@dataclass(frozen=True, slots=True)
class Tenants:
    models: int
    entries_each: int
    p50_ms: float
    one_model_p50_ms: float

    @property
    def ratio(self) -> float:
        return self.p50_ms / self.one_model_p50_ms


@dataclass(frozen=True, slots=True)
class Start:
    entries: int
    after: str
    ready_seconds: float
    first_answer_seconds: float


@dataclass(frozen=True, slots=True)
class Inserting:
    entries: int
    seconds: float
    raw_seconds: float

    @property
    def ratio(self) -> float:
        """How much of the speed of the bare stores is left."""
        return self.raw_seconds / self.seconds


def opened(folder: Path) -> SSDataManager:
    """Open SQLite and FAISS in this folder."""
    manager = SSDataManager(
        SqliteStorage(folder / "modelcache.db"), FaissStore(folder / "faiss", DIMENSION), EMBEDDER
    )
    manager.open()
    return manager


@contextmanager
def manager_in(folder: Path) -> Iterator[SSDataManager]:
    manager = opened(folder)
    try:
        yield manager
    finally:
        manager.close()


def answers(
    vectors: Embeddings, first: int, model: str = MODEL, partition: str = PARTITION
) -> list[NewAnswer]:
    """Make entries of these vectors, the first of which is number ``first``."""
    key = model_key(model)
    return [
        NewAnswer(
            model=model,
            model_key=key,
            partition=partition,
            fingerprint=digest(model, number),
            question=f"question number {number}, of ordinary length",
            answer=ANSWER,
            embedder=EMBEDDER,
            embedding=to_bytes(vector),
        )
        for number, vector in enumerate(vectors, start=first)
    ]


def fill(manager: SSDataManager, vectors: Embeddings, first: int) -> float:
    """Insert these vectors into one model; returns the seconds that the inserts took."""
    seconds = 0.0
    for start in range(0, len(vectors), BATCH):
        batch = answers(vectors[start : start + BATCH], first + start)
        begun = perf_counter()
        manager.insert(MODEL, batch)
        seconds += perf_counter() - begun
    return seconds


def growth(folder: Path, ground: Ground, sizes: Sequence[int], questions: int = QUESTIONS) -> list[Speed]:
    """Grow one model through these sizes and measure speed and recall at each."""
    measured: list[Speed] = []
    kept = np.empty((0, DIMENSION), np.float32)
    source = chunks(max(sizes), ground)
    with manager_in(folder) as manager:
        for size in sizes:
            while len(kept) < size:
                kept = np.concatenate([kept, next(source)])
            grown = manager.scalars.count(model_key(MODEL))
            fill(manager, kept[grown:size], grown)
            wait_until_kept_up(manager)
            for kind, asked in (
                ("near", near(kept[:size], questions, ground)),
                ("general", general(questions, ground)),
            ):
                measured.append(speed(manager, kept[:size], asked, kind))
    return measured


def speed(manager: SSDataManager, vectors: Embeddings, asked: Embeddings, kind: str) -> Speed:
    """Time each question, and compare what is found with an exact search; the id of row n is n + 1."""
    found: list[list[int]] = []
    taken: list[float] = []
    for embedding in asked:
        begun = perf_counter()
        candidates = manager.search(MODEL, PARTITION, embedding, max(DEPTHS))
        taken.append(perf_counter() - begun)
        found.append([candidate.entry.id for candidate in candidates])
    exact = exact_ids(vectors, asked, max(DEPTHS))
    recall = {
        depth: float(
            np.mean(
                [
                    len(set(a[:depth]) & set(b[:depth])) / min(depth, len(vectors))
                    for a, b in zip(found, exact, strict=True)
                ]
            )
        )
        for depth in DEPTHS
    }
    p50, p95 = np.percentile(taken, [50, 95]) * 1000
    return Speed(len(vectors), kind, float(p50), float(p95), recall)


def exact_ids(vectors: Embeddings, asked: Embeddings, depth: int) -> list[list[int]]:
    """Return the ids of the nearest by comparing everything."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    heap = faiss.ResultHeap(len(asked), depth, keep_max=True)
    for start in range(0, len(vectors), 100_000):
        part = vectors[start : start + 100_000]
        index.reset()
        index.add(part)
        similarities, places = index.search(asked, min(depth, len(part)))
        heap.add_result(similarities, places + start)
    heap.finalize()
    nearest: list[list[int]] = (heap.I + 1).tolist()
    return nearest


def memory(folder: Path, entries: int) -> Memory:
    """Start the demo on a folder with so many entries, ask it once, and read what it has resident."""
    with running_demo(folder) as (pid, ask):
        ask()
        taken = resident_bytes(pid)
    return Memory(entries, taken, taken / entries, taken / entries / (4 * DIMENSION))
