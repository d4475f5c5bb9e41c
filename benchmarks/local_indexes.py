"""The index of the local store beside what libraries offer ready made, at the same recall.

The vectors are those of ``benchmarks.vectors``, once in one partition and once in partitions of a hundred,
which take turns. Faiss's ``index_factory`` and usearch have no partitions, so they get an index for each.
Each library looks as far as it must to find 99 % of the five nearest. Ours also writes its files meanwhile.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.growth import DIMENSION, QUESTIONS, exact_ids
from benchmarks.index_process import TOP_K
from benchmarks.measure import Report
from benchmarks.peers import PEERS_VENV
from benchmarks.scale import load_vectors_ground
from benchmarks.sizes import Sizes
from benchmarks.vectors import Ground, general, near, realistic
from modelcache.records.vectors import Embeddings
from tests.support.question_pairs import ROOT

PARTITION_ENTRIES = 100
OURS = "modelcache"
NAMES = {OURS: "ModelCache's", "faiss": "faiss, index_factory", "usearch": "usearch, HNSW"}
COLUMNS = ("entries", "partitions", "index", "recall@5", "p50 ms", "bytes an entry", "entries/s")

Figures = dict[str, float]


def run(sizes: Sizes, folder: Path) -> Iterator[Report]:
    """Fill each index with each number of entries, and ask all of them in turns."""
    ground = load_vectors_ground(sizes)
    cases = [
        (entries, partitions) for entries in sizes.indexed for partitions in (1, entries // PARTITION_ENTRIES)
    ]
    lines: list[tuple[str, ...]] = []
    for entries, partitions in tqdm(cases, desc="indexes", leave=False):
        case = folder / f"{entries}-{partitions}"
        _write_case(case, ground, entries, partitions)
        with ExitStack() as stack:
            indexes = {name: stack.enter_context(_Index(name, case)) for name in NAMES}
            found: dict[str, list[Figures]] = {name: [] for name in NAMES}
            for part in np.array_split(np.arange(QUESTIONS), sizes.rounds):
                for name, index in indexes.items():
                    found[name].append(index.ask(int(part[0]), int(part[-1]) + 1))
            lines += [
                (f"{entries:,}", f"{partitions:,}", *_line(indexes[name], found[name])) for name in NAMES
            ]
    yield Report("local-indexes", COLUMNS, lines)


class _Index:
    """An index in a process of its own; what is no part of the product, in the peers' environment."""

    def __init__(self, name: str, case: Path) -> None:
        peers = Path(os.environ.get("MODELCACHE_BENCH_PEERS", PEERS_VENV)) / "bin" / "python"
        python = sys.executable if name == OURS else peers
        self.shown_name = NAMES[name]
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("index_process.py"), name, case],
            # On busy cores the threads of BLAS wait for each other for ten milliseconds, and hide all else.
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.filled = self._read()
        self._read()

    def ask(self, first: int, last: int) -> Figures:
        """Ask some of the questions; returns the recall, and the median of the milliseconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{first} {last}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Figures:
        assert self._process.stdout is not None
        figures: Figures = json.loads(self._process.stdout.readline())
        return figures

    def __enter__(self) -> "_Index":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


def _line(index: _Index, found: list[Figures]) -> tuple[str, ...]:
    recall = float(np.mean([part["recall"] for part in found]))
    milliseconds = [part["p50_ms"] for part in found]
    return (
        index.shown_name,
        f"{recall:.4f}",
        f"{np.median(milliseconds):.2f} ({min(milliseconds):.2f} to {max(milliseconds):.2f})",
        f"{index.filled['bytes_per_entry']:,.0f}",
        f"{index.filled['entries_per_second']:,.0f}",
    )


def _write_case(folder: Path, ground: Ground, entries: int, partitions: int) -> None:
    """Write vectors, questions, and for each question its partition and the nearest there."""
    folder.mkdir(parents=True)
    vectors = realistic(entries, ground)
    vectors.tofile(folder / "vectors.f32")
    asked = np.concatenate([near(vectors, QUESTIONS, ground), general(QUESTIONS, ground)])
    asked = np.random.default_rng(3).permutation(asked)
    np.save(folder / "asked.npy", asked)
    nearest = [ids[0] - 1 for ids in exact_ids(vectors, asked, 1)]
    places = [number % partitions for number in nearest]
    case = {
        "entries": entries,
        "dimension": DIMENSION,
        "partitions": partitions,
        "asked_in": places,
        "exact": _exact(vectors, asked, places, partitions),
    }
    (folder / "case.json").write_text(json.dumps(case), encoding="utf-8")


def _exact(vectors: Embeddings, asked: Embeddings, places: list[int], partitions: int) -> list[list[int]]:
    """Return the numbers of the vectors nearest to each question in its partition."""
    if partitions == 1:
        return [[id_ - 1 for id_ in ids] for ids in exact_ids(vectors, asked, TOP_K)]
    found = []
    for question, place in zip(asked, places, strict=True):
        order = np.argsort(-(vectors[place::partitions] @ question))[:TOP_K]
        found.append((place + partitions * order).tolist())
    return found
