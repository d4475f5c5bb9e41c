"""What every vector store must do; a backend's tests subclass this and provide ``store``."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from modelcache.errors import VectorStoreError
from modelcache.manager.names import collection_name
from modelcache.manager.vector_data.base import VectorStore
from modelcache.records.vectors import Embeddings, normalise_rows
from modelcache.testing.waiting import wait_until

DIMENSION = 16
A = collection_name("模型-a", "hash-v1")
B = collection_name("模型-b", "hash-v1")
P, Q = "a" * 40, "0" * 40


def vectors(count: int, seed: int = 0) -> Embeddings:
    return normalise_rows(np.random.default_rng(seed).normal(size=(count, DIMENSION)))


def found(store: VectorStore, collection: str, partition: str, vector: Embeddings, k: int = 10) -> list[int]:
    return [hit.id for hit in store.search(collection, partition, vector, k)]


class VectorStoreContract:
    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        """Provide an open, empty store for vectors of DIMENSION."""
        raise NotImplementedError

    def test_the_nearest_come_first_with_their_cosine(self, store: VectorStore) -> None:
        rows = vectors(50)
        store.add(A, range(1, 51), [P] * 50, rows)
        hits = store.search(A, P, rows[7], 5)
        cosines = rows @ rows[7]
        order = np.argsort(-cosines)[:5]
        assert [hit.id for hit in hits] == (order + 1).tolist()
        assert [hit.similarity for hit in hits] == pytest.approx(cosines[order].tolist(), abs=1e-5)

    def test_fewer_than_k_is_fine(self, store: VectorStore) -> None:
        store.add(A, [3], [P], vectors(1))
        assert found(store, A, P, vectors(1)[0], 100) == [3]

    def test_an_absent_collection_or_partition_holds_nothing(self, store: VectorStore) -> None:
        store.add(A, [1], [P], vectors(1))
        assert found(store, B, P, vectors(1)[0]) == []
        assert found(store, A, Q, vectors(1)[0]) == []
        assert store.ids(B).tolist() == []
        store.delete(B, [1])
        store.truncate(B)

    def test_collections_and_partitions_are_apart(self, store: VectorStore) -> None:
        row = vectors(1)
        store.add(A, [1, 2], [P, Q], np.concatenate([row, row]))
        store.add(B, [3], [P], row)
        assert found(store, A, P, row[0]) == [1]
        assert found(store, A, Q, row[0]) == [2]
        assert found(store, B, P, row[0]) == [3]

    def test_creating_tells_whether_it_was_there(self, store: VectorStore) -> None:
        assert store.create(A)
        assert not store.create(A)
        store.add(B, [1], [P], vectors(1))
        assert not store.create(B)

    def test_adding_again_changes_nothing(self, store: VectorStore) -> None:
        store.add(A, [1, 2], [P, P], vectors(2))
        store.add(A, [2, 3], [P, P], vectors(3)[1:])
        assert sorted(store.ids(A).tolist()) == [1, 2, 3]
        assert sorted(found(store, A, P, vectors(1)[0])) == [1, 2, 3]

    def test_adding_nothing_is_harmless(self, store: VectorStore) -> None:
        store.add(A, [], [], np.empty((0, DIMENSION), np.float32))
        assert store.ids(A).tolist() == []

    def test_deleted_vectors_are_gone(self, store: VectorStore) -> None:
        rows = vectors(20)
        store.add(A, range(1, 21), [P, Q] * 10, rows)
        store.delete(A, [1, 2, 3, 999])
        store.delete(A, [1])
        assert sorted(store.ids(A).tolist()) == list(range(4, 21))
        assert sorted(found(store, A, P, rows[0], 20) + found(store, A, Q, rows[0], 20)) == list(range(4, 21))

    def test_a_deleted_partition_can_be_filled_again(self, store: VectorStore) -> None:
        store.add(A, [1], [P], vectors(1))
        store.delete(A, [1])
        # A search may still find what was deleted a moment ago.
        wait_until(lambda: not found(store, A, P, vectors(1)[0]), "the deletion being seen")
        store.add(A, [2], [P], vectors(1))
        assert found(store, A, P, vectors(1)[0]) == [2]

    def test_truncating_empties_one_collection_which_stays(self, store: VectorStore) -> None:
        store.add(A, [1, 2], [P, Q], vectors(2))
        store.add(B, [3], [P], vectors(1))
        store.truncate(A)
        assert store.ids(A).tolist() == []
        assert found(store, A, P, vectors(1)[0]) == []
        assert store.ids(B).tolist() == [3]
        assert not store.create(A)
        store.add(A, [4], [P], vectors(1))
        assert found(store, A, P, vectors(1)[0]) == [4]

    def test_compacting_changes_nothing_that_can_be_seen(self, store: VectorStore) -> None:
        store.add(A, [1, 2, 3], [P, P, Q], vectors(3))
        store.delete(A, [2])
        store.compact(A)
        store.compact(B)
        assert sorted(store.ids(A).tolist()) == [1, 3]
        assert found(store, A, P, vectors(1)[0]) == [1]

    def test_vectors_of_another_dimension_are_refused(self, store: VectorStore) -> None:
        with pytest.raises(VectorStoreError):
            store.add(A, [1], [P], np.ones((1, DIMENSION + 1), np.float32))
        with pytest.raises(VectorStoreError):
            store.add(A, [1, 2], [P, P], np.ones((1, DIMENSION), np.float32))
        with pytest.raises(VectorStoreError):
            store.search(A, P, np.ones(DIMENSION + 1, np.float32), 1)

    def test_many_threads_add_search_and_delete_at_once(self, store: VectorStore) -> None:
        rows = vectors(400)
        failures: list[Exception] = []

        def work(worker: int) -> None:
            try:
                for start in range(worker * 50, worker * 50 + 50, 10):
                    ids = range(start + 1, start + 11)
                    store.add(A, ids, [P] * 10, rows[start : start + 10])
                    assert start + 1 in found(store, A, P, rows[start], 1)
                    store.delete(A, list(ids)[:5])
            except Exception as exc:  # noqa: BLE001 - a thread's failure is told by the test
                failures.append(exc)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(store.ids(A)) == 200

    def test_a_closed_store_says_so(self, store: VectorStore) -> None:
        store.ping()
        store.close()
        store.close()
        with pytest.raises(VectorStoreError):
            store.ping()
