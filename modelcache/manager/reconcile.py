"""Make the vectors of a model agree with its rows, which are the truth."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from modelcache.manager.names import collection_name
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.vector_data.base import VectorStore
from modelcache.records.names import model_key
from modelcache.records.vectors import Embeddings, from_bytes, normalise_rows

logger = logging.getLogger(__name__)

CHUNK_ROWS = 5000
# How much all earlier turns together weigh in an index vector; the last turn weighs 1.
CONTEXT_WEIGHT = 1.0

Progress = Callable[[int], object]
"""Called with how many more rows are done."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What had to be done; ``rows`` is how many rows of the model carry a vector."""

    rows: int
    added: int
    removed: int


def reconcile(
    scalars: ScalarStore,
    vectors: VectorStore,
    model: str,
    embedder: str,
    progress: Progress = lambda done: None,
) -> Reconciled:
    """Give every row that is not deleted its vector, and remove vectors without such a row.

    Safe while others insert and remove; may be repeated. Raises StoreError.
    """
    collection = collection_name(model, embedder)
    # In this order: a row is written before its vector, so no vector of a live row looks surplus.
    present = vectors.ids(collection)
    wanted = np.array(scalars.embedded_ids(model_key(model), embedder), np.int64)
    surplus = present[~np.isin(present, wanted)]
    missing = wanted[~np.isin(wanted, present)]
    progress(len(wanted) - len(missing))
    if len(surplus):
        vectors.delete(collection, surplus.tolist())
    for start in range(0, len(missing), CHUNK_ROWS):
        chunk = missing[start : start + CHUNK_ROWS]
        rows = scalars.embeddings(chunk.tolist())
        if rows:
            embeddings = index_vectors([row.embedding for row in rows], vectors.dimension)
            vectors.add(collection, [row.id for row in rows], [row.partition for row in rows], embeddings)
        progress(len(chunk))
    if len(surplus) or len(missing):
        logger.info(
            "collection %s: %d vectors added from the rows, %d without a row removed",
            collection,
            len(missing),
            len(surplus),
        )
    return Reconciled(len(wanted), len(missing), len(surplus))


def index_vectors(packed: Sequence[bytes], dimension: int) -> Embeddings:
    """Return the vectors to search rows by, float32 (rows, dimension), from the embeddings they keep."""
    kept = [from_bytes(row).reshape(-1, dimension) for row in packed]
    return np.stack([row[0] if len(row) == 1 else index_vector(row[0], row[1:]) for row in kept])


def index_vector(last: Embeddings, context: Embeddings) -> Embeddings:
    """Return one unit vector, like another where both the last turns and the earlier ones are alike.

    ``last`` is (dimension,), ``context`` (turns, dimension), at least one; all of unit length.
    """
    earlier = normalise_rows(context.sum(axis=0, keepdims=True))
    combined: Embeddings = normalise_rows(last + CONTEXT_WEIGHT * earlier)[0]
    return combined
