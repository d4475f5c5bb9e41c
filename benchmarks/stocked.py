"""A service with entries in it, ready to be asked."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from modelcache.embedding.base import Embedder
from modelcache.embedding.e5 import E5Embedder
from modelcache.manager.factory import data_manager_of
from modelcache.processor.pre import make_question
from modelcache.records.dialogue import Message
from modelcache.records.entry import NewAnswer
from modelcache.records.vectors import Embeddings, normalise_rows, to_bytes
from modelcache.settings import Settings, load_settings
from tests.support.client import user
from tests.support.running import ROOT, RunningService

MODEL = "bench"
BATCH = 1000
SEED = 20261122
ANSWER = "An answer takes a few sentences. This one says nothing, at the length of a short reply. " * 3


@cache
def bundled_embedder() -> E5Embedder:
    """Return the embedder of the services that are measured, open."""
    embedder = E5Embedder()
    embedder.open()
    return embedder


def query_body(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "query", "scope": {"model": MODEL}, "query": user(text)} | more


def insert_body(texts: Sequence[str]) -> dict[str, Any]:
    chat_info = [{"query": user(text), "answer": ANSWER} for text in texts]
    return {"type": "insert", "scope": {"model": MODEL}, "chat_info": chat_info}


def random_vectors(count: int, dimension: int) -> Embeddings:
    """Return unit vectors, for what does not depend on them."""
    made = np.random.default_rng(SEED).normal(size=(count, dimension)).astype(np.float32)
    return normalise_rows(made)


def answers(
    texts: Sequence[str], vectors: Embeddings, embedder: str, settings: Settings, model: str = MODEL
) -> list[NewAnswer]:
    """Make of each text an entry, as an insert request would."""
    made = []
    for text, vector in zip(texts, vectors, strict=True):
        question = make_question(model, {}, [Message("user", text)], settings)
        made.append(
            NewAnswer(
                model=model,
                model_key=question.model_key,
                partition=question.partition,
                fingerprint=question.fingerprint,
                question=question.dialogue,
                answer=ANSWER,
                embedder=embedder,
                embedding=to_bytes(vector),
            )
        )
    return made


def stock(settings: Settings, texts: Sequence[str], vectors: Embeddings, embedder: Embedder) -> None:
    """Write entries into the stores that the settings name; no service may have them open."""
    manager = data_manager_of(settings, embedder.name, embedder.dimension)
    manager.open()
    try:
        for start in range(0, len(texts), BATCH):
            part = slice(start, start + BATCH)
            manager.insert(MODEL, answers(texts[part], vectors[part], embedder.name, settings))
        manager.vectors.save()
    finally:
        manager.close()


def environment(settings: dict[str, Any]) -> dict[str, str]:
    """Return settings as environment variables."""
    return {f"MODELCACHE_{name.upper()}": str(value) for name, value in settings.items()}


@contextmanager
def running(folder: Path, *arguments: str, **settings: Any) -> Iterator[RunningService]:
    """Run ``python ARGUMENTS`` until the end of the block; what it logs goes into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"port": 0, "data_dir": folder} | settings
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment(own), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        service = RunningService.of(process)
        try:
            yield service
        finally:
            service.terminate()


@contextmanager
def serving(script: str, folder: Path, **settings: Any) -> Iterator[RunningService]:
    """Run one of the product's two programs on a data folder until the end of the block."""
    with running(folder, script, **settings) as service:
        yield service.wait_ready()


def demo_settings(folder: Path) -> Settings:
    return load_settings("demo", {}, {"data_dir": folder})
