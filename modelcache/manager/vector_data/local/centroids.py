"""Points that divide vectors into cells of neighbours, found and looked up through groups of points.

Comparing a million vectors with 4,000 points takes a minute; comparing them with 64 groups, and then with
the points of the nearest few groups, takes seconds and seldom names another point.
"""

import numpy as np
from numpy.typing import NDArray

from modelcache.manager.vector_data.local.library import faiss
from modelcache.records.vectors import Embeddings, normalise_rows

ROUNDS = 6
GROUP_ROUNDS = 6
GROUPS_TRIED = 4
CHUNK_ROWS = 20_000

Places = NDArray[np.int64]


class Centroids:
    """Unit vectors; every vector belongs to the one with the greatest inner product."""

    def __init__(self, points: Embeddings) -> None:
        self.points = points
        heads = max(1, round(len(points) ** 0.5))
        self._heads = _plain_means(points, heads)
        group = (points @ self._heads.T).argmax(axis=1)
        self._members = [np.flatnonzero(group == head) for head in range(heads)]

    def assign(self, vectors: Embeddings) -> Places:
        """Return for each vector the number of its point."""
        parts = [
            self._assign_chunk(vectors[start : start + CHUNK_ROWS])
            for start in range(0, len(vectors), CHUNK_ROWS)
        ]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def _assign_chunk(self, vectors: Embeddings) -> Places:
        closeness = vectors @ self._heads.T
        tried = min(GROUPS_TRIED, len(self._heads))
        border = np.partition(closeness, -tried, axis=1)[:, -tried]
        best = np.full(len(vectors), -np.inf, np.float32)
        chosen = np.zeros(len(vectors), np.int64)
        for head, members in enumerate(self._members):
            rows = np.flatnonzero(closeness[:, head] >= border)
            if not len(members) or not len(rows):
                continue
            scores = vectors[rows] @ self.points[members].T
            winner = scores.argmax(axis=1)
            score = scores[np.arange(len(rows)), winner]
            better = score > best[rows]
            best[rows[better]] = score[better]
            chosen[rows[better]] = members[winner[better]]
        return chosen


def train(sample: Embeddings, count: int, chance: "np.random.Generator") -> Centroids:
    """Find ``count`` points by spherical k-means over a sample of at least as many vectors."""
    points = sample[chance.choice(len(sample), count, replace=False)]
    for _ in range(ROUNDS):
        points = _means(sample, Centroids(points).assign(sample), count, chance)
    return Centroids(points)


def _means(vectors: Embeddings, chosen: Places, count: int, chance: "np.random.Generator") -> Embeddings:
    """Return the direction of each cell's sum; a random vector for a cell that is empty."""
    order = np.argsort(chosen, kind="stable")
    present, starts = np.unique(chosen[order], return_index=True)
    points = vectors[chance.choice(len(vectors), count, replace=False)]
    points[present] = np.add.reduceat(vectors[order], starts, axis=0)
    return normalise_rows(points)


def _plain_means(vectors: Embeddings, count: int) -> Embeddings:
    means = faiss().Kmeans(
        vectors.shape[1], count, niter=GROUP_ROUNDS, spherical=True, min_points_per_centroid=1, seed=1
    )
    means.train(vectors)
    assert means.centroids is not None
    centroids: Embeddings = means.centroids
    return centroids
