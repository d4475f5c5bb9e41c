"""A process that adds, deletes and saves vectors until it is killed: ``write_vectors.py FOLDER FIRST_ID``."""

import sys
from pathlib import Path

from modelcache.manager.vector_data.faiss import FaissStore
from modelcache.manager.vector_data.local import collection
from modelcache.testing.vector_store import DIMENSION, A, P, vectors

POOL = 5000
BATCH = 40


def main() -> None:
    collection.EXTEND_AT, collection.COMPACT_AFTER, collection.SAVE_AFTER_CHANGES = 20, 10, 1
    pool = vectors(POOL)
    store = FaissStore(Path(sys.argv[1]), DIMENSION, index_from=100)
    store.open()
    following = int(sys.argv[2])
    while True:
        ids = range(following, following + BATCH)
        store.add(A, ids, [P] * BATCH, pool[[id_ % POOL for id_ in ids]])
        store.delete(A, list(ids)[::3])
        store.save()
        print(following, flush=True)
        following += BATCH


if __name__ == "__main__":
    main()
