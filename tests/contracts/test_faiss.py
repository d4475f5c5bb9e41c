"""The vector contract on FAISS, and what is special about its snapshots."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.vector_data.base import VectorStore
from modelcache.manager.vector_data.faiss import FaissStore
from modelcache.manager.vector_data.local import row_file
from modelcache.manager.vector_data.local.collection import SAVE_AFTER_CHANGES
from modelcache.testing.vector_store import DIMENSION, A, B, P, Q, VectorStoreContract, found, vectors


class TestFaiss(VectorStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[VectorStore]:
        store = opened(tmp_path)
        yield store
        store.close()


def full_disk(*_: object) -> None:
    raise OSError("no space left on device")


def opened(folder: Path, dimension: int = DIMENSION) -> FaissStore:
    store = FaissStore(folder / "faiss", dimension)
    store.open()
    return store


def test_a_closed_store_keeps_everything(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.add(A, [1, 2, 3], [P, Q, P], vectors(3))
    store.delete(A, [3])
    store.close()
    again = opened(tmp_path)
    assert found(again, A, P, vectors(1)[0]) == [1]
    assert found(again, A, Q, vectors(1)[0]) == [2]
    assert sorted(again.ids(A).tolist()) == [1, 2]
    again.close()


def test_a_created_collection_is_there_after_a_kill(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.create(A)
    store._folder_lock.release()  # as the end of the process would, with nothing saved
    again = opened(tmp_path)
    assert not again.create(A)
    again.close()


def test_a_truncate_is_kept_through_a_kill(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.add(A, [1], [P], vectors(1))
    store.close()
    store = opened(tmp_path)
    store.truncate(A)
    store._folder_lock.release()
    again = opened(tmp_path)
    assert again.ids(A).tolist() == []
    again.close()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage", "other dimension"])
def test_a_damaged_snapshot_counts_as_empty(tmp_path: Path, damage: str) -> None:
    dimension = DIMENSION + 1 if damage == "other dimension" else DIMENSION
    store = opened(tmp_path, dimension)
    store.add(A, range(1, 101), [P] * 100, np.ones((100, dimension), np.float32))
    store.close()
    [path] = (tmp_path / "faiss").glob("*.rows")
    data = path.read_bytes()
    flipped = data[:-3000] + bytes([data[-3000] ^ 0xFF]) + data[-2999:]
    damaged = {"cut": data[: len(data) // 2], "flipped": flipped, "empty": b"", "garbage": b"x" * 5000}
    path.write_bytes(damaged.get(damage, data))
    again = opened(tmp_path)
    assert again.ids(A).tolist() == []
    again.add(A, [5], [P], vectors(1))
    assert found(again, A, P, vectors(1)[0]) == [5]
    again.close()


def test_a_second_service_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(ConfigError, match="another service is using"):
        opened(tmp_path)
    store.close()
    opened(tmp_path).close()


def test_only_what_changed_enough_is_saved_meanwhile(tmp_path: Path) -> None:
    store = opened(tmp_path)
    many = SAVE_AFTER_CHANGES + 1
    store.add(A, range(1, many + 1), [P] * many, vectors(many))
    store.add(B, [1], [P], vectors(1))
    store.save()
    store._folder_lock.release()
    again = opened(tmp_path)
    assert len(again.ids(A)) == many
    assert len(again.ids(B)) == 0
    again.close()


def test_a_failed_save_loses_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    many = SAVE_AFTER_CHANGES + 1
    store.add(A, range(1, many + 1), [P] * many, vectors(many))
    with monkeypatch.context() as patch:
        patch.setattr(row_file, "_write_record", full_disk)
        with pytest.raises(VectorStoreError):
            store.save()
    assert len(store.ids(A)) == many
    store.save()
    store._folder_lock.release()
    again = opened(tmp_path)
    assert len(again.ids(A)) == many
    again.close()


def test_a_full_disk_does_not_keep_the_store_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    store.add(A, [1], [P], vectors(1))
    with monkeypatch.context() as patch:
        patch.setattr(row_file, "_write_record", full_disk)
        store.close()
    opened(tmp_path).close()
