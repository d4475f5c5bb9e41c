"""How the embedded stores (SQLite and FAISS) bear growth: speed, recall, memory, many models, restarts.

With a million entries it takes about ten minutes and 6 GB of disk. Every figure is of
``SSDataManager.search``, rows and all, without the embedding of the question. Vectors are those of
``benchmarks.vectors``.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from uuid import uuid4

import faiss
import httpx
import numpy as np

from benchmarks.stocked import bundled_embedder
from benchmarks.vectors import Ground, chunks, general, near, realistic
from modelcache.hashing import digest
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.manager.vector_data.faiss import FaissStore
from modelcache.processor.pre import make_question
from modelcache.records.dialogue import Message
from modelcache.records.entry import NewAnswer
from modelcache.records.names import model_key
from modelcache.records.vectors import Embeddings, to_bytes
from modelcache.settings import Settings
from tests.support.question_pairs import ROOT

MODEL = "gpt-4"
DIMENSION = 384
BATCH = 5000
QUESTIONS = 400
TOP_K = 5
PARTS = 5
DEPTHS = (1, 5, 10)
ANSWER = "An answer of some length, as a model gives it. " * 4


@dataclass(frozen=True, slots=True)
class Speed:
    """Of searches over so many entries of one model."""

    entries: int
    kind: str
    p50_ms: list[float]
    """Of each fifth of the searches."""
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
    p50_ms: list[float]
    """Of each fifth of the searches."""
    one_model_p50_ms: list[float]
    first_use_p50_ms: float
    """Of a model's first question after a start, which reads its vectors."""


@dataclass(frozen=True, slots=True)
class Start:
    entries: int
    after: str
    ready_seconds: float
    first_answer_seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """What one search found, and how long it took."""

    seconds: float
    ids: list[int]


def opened(folder: Path) -> SSDataManager:
    """Open SQLite and FAISS in this folder."""
    manager = SSDataManager(
        SqliteStorage(folder / "modelcache.db"),
        FaissStore(folder / "faiss", DIMENSION),
        bundled_embedder().name,
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


def partition_of(model: str) -> str:
    """Return the partition of questions to this model with nothing else in their scope."""
    return make_question(model, {}, [Message("user", "")], Settings()).partition


def answers(vectors: Embeddings, first: int, model: str = MODEL) -> list[NewAnswer]:
    """Make entries of these vectors, the first of which is number ``first``."""
    key, partition, embedder = model_key(model), partition_of(model), bundled_embedder().name
    return [
        NewAnswer(
            model=model,
            model_key=key,
            partition=partition,
            fingerprint=digest(model, number),
            question=f"user###question number {number}, of ordinary length",
            answer=ANSWER,
            embedder=embedder,
            embedding=to_bytes(vector),
        )
        for number, vector in enumerate(vectors, start=first)
    ]


def fill(manager: SSDataManager, vectors: Embeddings) -> float:
    """Insert these vectors into one model; returns the seconds that the inserts took."""
    seconds = 0.0
    for start in range(0, len(vectors), BATCH):
        batch = answers(vectors[start : start + BATCH], start)
        begun = perf_counter()
        manager.insert(MODEL, batch)
        seconds += perf_counter() - begun
    return seconds


def growth(folder: Path, ground: Ground, sizes: Sequence[int], questions: int = QUESTIONS) -> list[Speed]:
    """Fill a model of each size, and measure the speed of all, in turns, and the recall."""
    vectors = realistic(max(sizes), ground)
    asked = {(size, "near"): near(vectors[:size], questions, ground) for size in sizes}
    asked |= {(size, "general"): general(questions, ground) for size in sizes}
    with ExitStack() as stack:
        managers = {size: stack.enter_context(manager_in(folder / str(size))) for size in sizes}
        for size, manager in managers.items():
            fill(manager, vectors[:size])
            wait_until_kept_up(manager)
            search(manager, MODEL, vectors[0])
        found: dict[tuple[int, str], list[Found]] = {key: [] for key in asked}
        for part in np.array_split(np.arange(questions), PARTS):
            # Some questions in a row, as a service that has this model meets them.
            for (size, kind), embeddings in asked.items():
                found[size, kind] += [search(managers[size], MODEL, embeddings[number]) for number in part]
        # Apart from the speed, which is that of as many candidates as a query looks at.
        deep = {
            (size, kind): [search(managers[size], MODEL, each, max(DEPTHS)) for each in embeddings]
            for (size, kind), embeddings in asked.items()
        }
    return [
        Speed(
            size,
            kind,
            _medians(found[size, kind]),
            _percentile(found[size, kind], 95),
            _recall(size, deep[size, kind], exact_ids(vectors[:size], asked[size, kind], max(DEPTHS))),
        )
        for size, kind in asked
    ]


def search(manager: SSDataManager, model: str, embedding: Embeddings, depth: int = TOP_K) -> Found:
    """Ask one question, with the model's partition given."""
    partition = partition_of(model)
    begun = perf_counter()
    candidates = manager.search(model, partition, embedding, depth)
    return Found(perf_counter() - begun, [candidate.entry.id for candidate in candidates])


def _recall(size: int, found: Sequence[Found], exact: Sequence[Sequence[int]]) -> dict[int, float]:
    """Return, for each depth, the share of the nearest that was found."""
    recall = {}
    for depth in DEPTHS:
        right = [len({*one.ids[:depth]} & {*ids[:depth]}) for one, ids in zip(found, exact, strict=True)]
        recall[depth] = float(np.mean(right)) / min(depth, size)
    return recall


def _medians(found: Sequence[Found]) -> list[float]:
    """Return the median milliseconds of each fifth of the searches."""
    parts = np.array_split([one.seconds * 1000 for one in found], PARTS)
    return [float(np.median(part)) for part in parts]


def _percentile(found: Sequence[Found], percent: float) -> float:
    return float(np.percentile([one.seconds * 1000 for one in found], percent))


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
    """Start the demo on a folder with so many entries, ask it some questions, and read what is resident."""
    with running_demo(folder) as demo:
        for number in range(20):
            demo.ask(f"what is number {number}?")
        taken = demo.resident_bytes()
    return Memory(entries, taken, taken / entries, taken / entries / (4 * DIMENSION))


def start(folder: Path, entries: int, after: str) -> Start:
    """Time a start on a folder that a service left "stopped" or "killed", just after an insert."""
    with running_demo(folder) as demo:
        demo.insert(f"the last before being {after} {uuid4()}")
        if after == "killed":
            demo.process.kill()
    begun = perf_counter()
    with running_demo(folder) as demo:
        ready = perf_counter() - begun
        begun = perf_counter()
        demo.ask("who is the first to ask?")
        return Start(entries, after, ready, perf_counter() - begun)


def tenants(folder: Path, ground: Ground, models: int, each: int, questions: int = QUESTIONS) -> Tenants:
    """Time searches spread over many small models, in turns with one model of that size alone."""
    for name, count in (("one", 1), ("many", models)):
        _fill_models(folder / name, ground, count, each)
    asked = general(questions, ground)
    chance = np.random.default_rng(5)
    with manager_in(folder / "one") as one, manager_in(folder / "many") as many:
        order = chance.permutation(models).tolist()
        first = [search(many, f"model-{number}", asked[number % questions]) for number in order]
        search(one, "model-0", asked[0])
        in_one: list[Found] = []
        in_many: list[Found] = []
        for number in chance.integers(models, size=4 * questions).tolist():
            embedding = asked[number % questions]
            in_one.append(search(one, "model-0", embedding))
            in_many.append(search(many, f"model-{number}", embedding))
    return Tenants(models, each, _medians(in_many), _medians(in_one), _percentile(first, 50))


def _fill_models(folder: Path, ground: Ground, models: int, each: int) -> None:
    source = chunks(models * each, ground)
    vectors = next(source)
    with manager_in(folder) as manager:
        for number in range(models):
            if len(vectors) < each:
                vectors = np.concatenate([vectors, next(source)])
            batch, vectors = vectors[:each], vectors[each:]
            manager.insert(f"model-{number}", answers(batch, number * each, f"model-{number}"))


def wait_until_kept_up(manager: SSDataManager) -> float:
    """Wait until the index holds what was inserted; returns the seconds that took."""
    vectors = manager.vectors
    assert isinstance(vectors, FaissStore)
    begun = perf_counter()
    while not vectors.is_kept_up:
        sleep(0.05)
    return perf_counter() - begun


class Demo:
    """The demo service in a process of its own."""

    def __init__(self, folder: Path) -> None:
        environ = {"MODELCACHE_DATA_DIR": str(folder), "MODELCACHE_PORT": "0", "MODELCACHE_EMBEDDER": "e5"}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "flask4modelcache_demo.py")],
            env=os.environ | environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        url = self.process.stdout.readline().rpartition(" ")[2].strip()
        self._http = httpx.Client(base_url=url, timeout=600)

    def wait_ready(self) -> None:
        while self._http.get("/ready").status_code != 200:
            sleep(0.01)

    def ask(self, text: str) -> None:
        query = [{"role": "user", "content": text}]
        self._post({"type": "query", "scope": {"model": MODEL}, "query": query})

    def insert(self, text: str) -> None:
        entry = {"query": [{"role": "user", "content": text}], "answer": "a"}
        self._post({"type": "insert", "scope": {"model": MODEL}, "chat_info": [entry]})

    def resident_bytes(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in text.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) * 1024

    def _post(self, body: dict[str, object]) -> None:
        reply = self._http.post("/modelcache", json=body).json()
        if reply["errorCode"]:
            raise RuntimeError(reply["errorDesc"])

    def close(self) -> None:
        self._http.close()
        self.process.terminate()
        self.process.communicate()


@contextmanager
def running_demo(folder: Path) -> Iterator[Demo]:
    demo = Demo(folder)
    try:
        demo.wait_ready()
        yield demo
    finally:
        demo.close()
