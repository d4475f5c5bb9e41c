"""Any number of vectors that lie as a cache's vectors do.

Random directions in 384 dimensions are all equally far apart, which no index and no cache ever sees. Here
the real questions of ``question_pairs`` are embedded with the bundled embedder (about 33,000 different
texts; kept in a file, since that takes minutes), and each further vector is made near one of them: the
real vector, moved by a random mixture of the differences between its real nearest neighbours and it. So a
new vector strays in the directions, and about as far, in which real questions of that neighbourhood
differ. A little noise with the covariance of all questions is added, since a mixture of a few differences
alone would lie in a plane. Questions to ask come in two kinds: ``near``, a small step from a cached vector,
as another wording is; and ``general``, made the same way from real questions that no cached vector is
made from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from tqdm import tqdm

from modelcache.embedding.e5 import E5Embedder
from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.records.vectors import Embeddings, normalise_rows
from tests.support.question_pairs import FILES, HOW_TO_GET, data_folder, read_pairs

SEED = 20261122
NEIGHBOURS = 8
HELD_OUT = 2000
CHUNK = 20_000
# Another wording of a question has a cosine of about 0.99 to it under e5, a neighbour about 0.95.
STRAY = 0.7
NEAR_STRAY = 0.25
NOISE = 0.15


@dataclass(frozen=True, slots=True)
class Ground:
    """Real vectors and, for each, the real vectors next to it."""

    vectors: Embeddings
    neighbours: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"
    spread: Embeddings
    """(dimension, dimension): turns white noise into noise with the covariance of all vectors."""


def realistic(count: int, ground: Ground, seed: int = SEED) -> Embeddings:
    """Return ``count`` different vectors to cache, float32 (count, dimension), normalised."""
    return np.concatenate(list(chunks(count, ground, seed)))


def chunks(count: int, ground: Ground, seed: int = SEED) -> Iterator[Embeddings]:
    """Yield the same, some thousands at a time."""
    chance = np.random.default_rng(seed)
    cached = len(ground.vectors) - HELD_OUT
    for start in range(0, count, CHUNK):
        chosen = chance.integers(cached, size=min(CHUNK, count - start))
        yield _moved(ground, ground.vectors[chosen], chosen, STRAY, chance)


def near(vectors: Embeddings, count: int, ground: Ground, seed: int = SEED + 1) -> Embeddings:
    """Return questions that are each a small step from one of these cached vectors."""
    chance = np.random.default_rng(seed)
    chosen = vectors[chance.integers(len(vectors), size=count)]
    index = faiss.IndexFlatIP(ground.vectors.shape[1])
    index.add(ground.vectors)
    return _moved(ground, chosen, index.search(chosen, 1)[1][:, 0], NEAR_STRAY, chance)


def general(count: int, ground: Ground, seed: int = SEED + 2) -> Embeddings:
    """Return questions that were made from no text that a cached vector was made from."""
    chance = np.random.default_rng(seed)
    chosen = len(ground.vectors) - 1 - chance.integers(HELD_OUT, size=count)
    return _moved(ground, ground.vectors[chosen], chosen, STRAY, chance)


def load_ground(kept: Path) -> Ground:
    """Return the real vectors, read from this file or embedded now and written to it."""
    if not kept.exists():
        folder = data_folder()
        if folder is None:
            raise FileNotFoundError(HOW_TO_GET)
        _embed_questions(folder, kept)
    vectors: Embeddings = np.load(kept)
    # Shuffled, so that what is held out is of both languages.
    return ground_of(np.random.default_rng(SEED).permutation(vectors))


def ground_of(vectors: Embeddings) -> Ground:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    found = [
        index.search(vectors[start : start + 1000], NEIGHBOURS + 1)[1]
        for start in range(0, len(vectors), 1000)
    ]
    # The nearest is the vector itself.
    neighbours = np.concatenate(found)[:, 1:]
    values, directions = np.linalg.eigh(np.cov(vectors.T))
    spread = (directions * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
    return Ground(vectors, neighbours, spread)


def _moved(
    ground: Ground,
    start: Embeddings,
    origin: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]",
    stray: float,
    chance: np.random.Generator,
) -> Embeddings:
    """Move each vector by a mixture of the differences around the real vector it comes from."""
    count, dimension = start.shape
    weights = chance.standard_normal((count, NEIGHBOURS), np.float32) * (stray / NEIGHBOURS**0.5)
    differences = ground.vectors[ground.neighbours[origin]] - ground.vectors[origin][:, None, :]
    noise = chance.standard_normal((count, dimension), np.float32) @ ground.spread
    moved = start + np.einsum("ij,ijk->ik", weights, differences) + stray * NOISE * noise
    return normalise_rows(moved)


def _embed_questions(folder: Path, kept: Path) -> None:
    pairs = [pair for language in FILES for pair in read_pairs(folder, language)]
    texts = sorted({text for pair in pairs for text in (pair.cached, pair.asked)})
    embedder = GatheringEmbedder(E5Embedder())
    embedder.open()
    starts = range(0, len(texts), 256)
    vectors = [embedder.embed(texts[start : start + 256]) for start in tqdm(starts, desc="embedding")]
    embedder.close()
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".part").open("wb") as file:
        np.save(file, np.concatenate(vectors))
    kept.with_suffix(".part").replace(kept)
