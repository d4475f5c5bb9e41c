"""One collection: what it holds, its files, and the upkeep that is done beside the requests."""

import logging
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelcache.errors import VectorStoreError
from modelcache.manager.vector_data.base import VectorHit
from modelcache.manager.vector_data.local.cells import OUTGROWN, Cells
from modelcache.manager.vector_data.local.contents import Contents, partition_key, partition_keys
from modelcache.manager.vector_data.local.lookup import Keys, Slots
from modelcache.manager.vector_data.local.row_file import DamagedFileError, RowFile
from modelcache.manager.vector_data.local.rows import DEAD, pack
from modelcache.records.vectors import Embeddings, Ids

logger = logging.getLogger(__name__)

ROWS_SUFFIX = ".rows"
OLD_SUFFIX = ".npz"
CELLS_SUFFIX = ".cells"
INDEX_SUFFIX = ".index"
# A large partition's new vectors are compared one by one until there are so many of them.
EXTEND_AT = 2000
SAVE_AFTER_CHANGES = 1000
COMPACT_AFTER = 1000
COMPACT_SHARE = 0.25
# An index is written anew when it has grown by this share; what it lacks at a start is indexed then.
SAVE_INDEX_SHARE = 0.1
OBJECT_BYTES = 8000
"""About what a collection takes beside its arrays."""


class Collection:
    """Searches take no lock. What changes the memory takes one, what changes the files takes another
    before it, and upkeep, which may take minutes, a third before both.
    """

    def __init__(self, folder: Path, name: str, dimension: int, index_from: int) -> None:
        self.users = 0
        """How many calls are using it; the store counts them."""
        self.accounted = 0
        """How many bytes the store holds it to take."""
        self._dimension = dimension
        self._index_from = index_from
        self._cells_folder = folder / f"{name}{CELLS_SUFFIX}"
        self._file = RowFile(folder / f"{name}{ROWS_SUFFIX}", dimension)
        self._contents = Contents(dimension)
        self._write_lock = threading.Lock()
        self._file_lock = threading.Lock()
        self._upkeep_lock = threading.Lock()
        self._is_loaded = False
        self._is_closed = False
        self._was_made = False
        self._unsaved_dead: list[Slots] = []
        self._changes = 0
        self._due: set[int] = set()

    # What the store passes on.

    def add(self, ids: Sequence[int], partitions: Sequence[str], embeddings: Embeddings) -> bool:
        """Add what is not there yet; returns whether upkeep is due."""
        packed = pack(np.array(ids, np.int64), partition_keys(partitions), embeddings)
        with self._write_lock:
            contents = self._contents
            is_first = np.zeros(len(ids), np.bool_)
            is_first[np.unique(packed.ids, return_index=True)[1]] = True
            wanted = np.flatnonzero(is_first & contents.are_absent(packed.ids)).astype(np.int32)
            if len(wanted):
                contents.add(packed if len(wanted) == len(ids) else packed.take(wanted))
                self._changes += len(wanted)
                self._note_due(contents, np.unique(packed.partitions[wanted]))
        return bool(self._due)

    def search(self, partition: str, embedding: Embeddings, k: int) -> list[VectorHit]:
        return self._contents.search(partition_key(partition), embedding, k)

    def delete(self, ids: Sequence[int]) -> bool:
        """Delete what is there; returns whether upkeep is due."""
        with self._write_lock:
            rows = self._contents.rows
            slots = self._contents.live_slots_of(np.array(ids, np.int64))
            rows.kill(slots)
            self._unsaved_dead.append(slots)
            self._changes += len(slots)
        return self._is_compaction_due()

    def ids(self) -> Ids:
        with self._write_lock:
            rows = self._contents.rows
            ids = rows.arrays.ids[: rows.count]
            living: Ids = ids[ids != DEAD]
            return living

    def truncate(self) -> None:
        """Remove everything, in the file too, before this returns."""
        with self._file_lock:
            with self._write_lock:
                self._contents = Contents(self._dimension)
                self._due.clear()
                self._unsaved_dead.clear()
                self._changes = 0
            self._file.write(Contents(self._dimension).rows.arrays)
            shutil.rmtree(self._cells_folder, ignore_errors=True)

    @property
    def nbytes(self) -> int:
        return OBJECT_BYTES + self._contents.nbytes

    # Files.

    def is_upkeep_due(self) -> bool:
        return bool(self._due) or self._is_compaction_due()

    def is_new(self) -> bool:
        """Tell, the first time it is asked, whether the collection did not exist before."""
        with self._file_lock:
            was_made, self._was_made = self._was_made, False
        return was_made

    @property
    def exists(self) -> bool:
        """Whether there is a file of the collection."""
        return self._file.path.exists()

    def load(self) -> bool:
        """Read the files, or write that of an empty collection; returns whether that is done now."""
        with self._file_lock:
            if self._is_loaded:
                return False
            if self.exists:
                self._read()
            else:
                # At once, so that a registered model is still registered after a kill.
                self._file.write(self._contents.rows.arrays)
                self._was_made = True
                # Of the first versions; its vectors come from the scalar store's rows.
                self._file.path.with_suffix(OLD_SUFFIX).unlink(missing_ok=True)
            self._is_loaded = True
        return True

    def _read(self) -> None:
        """Read the files; what is damaged counts as absent, and the scalar store's rows fill the gap."""
        try:
            arrays = self._file.read()
        except DamagedFileError as exc:
            logger.warning("%s is damaged (%s): its vectors are read from the rows", self._file.path, exc)
            return
        if not self._file.generation:
            logger.warning(
                "%s is damaged after %d vectors: the others are read from the rows",
                self._file.path,
                len(arrays.ids),
            )
        self._contents = contents = Contents(self._dimension, arrays)
        for path in self._cells_folder.glob(f"*{INDEX_SUFFIX}"):
            if cells := Cells.load(path, self._file.generation, len(arrays.ids)):
                contents.cells[int(path.stem)] = cells
        if contents.rows.count >= self._index_from:
            self._note_due(contents, contents.by_partition.different())

    def is_worth_saving(self) -> bool:
        return self._changes > SAVE_AFTER_CHANGES

    def save(self) -> None:
        """Write what changed since the last time; searches and changes go on meanwhile."""
        with self._file_lock:
            if self._is_loaded and not self._is_closed:
                self._save_rows()
                self._save_cells()

    def close(self) -> None:
        """Write nothing any more: the files may be another's soon."""
        with self._file_lock:
            self._is_closed = True

    def _save_rows(self) -> None:
        with self._write_lock:
            rows = self._contents.rows
            arrays, count, changes = rows.arrays, rows.count, self._changes
            if not changes and self._file.generation:
                return
            doomed, self._unsaved_dead = self._unsaved_dead, []
        dead = np.concatenate([np.empty(0, np.int32), *doomed])
        try:
            if self._file.generation:
                saved = self._file.saved
                self._file.append(arrays.part(saved, count), dead[dead < saved])
            else:
                self._file.write(arrays.part(0, count))
        except VectorStoreError:
            with self._write_lock:
                self._unsaved_dead = [dead, *self._unsaved_dead]
            raise
        with self._write_lock:
            self._changes -= changes

    def _save_cells(self) -> None:
        for key, cells in list(self._contents.cells.items()):
            has_grown = cells.covered - cells.saved > SAVE_INDEX_SHARE * cells.saved
            # An index of rows that are not in the file would point at others after a kill.
            if has_grown and cells.covered <= self._file.saved:
                cells.save(self._cells_folder / f"{key}{INDEX_SUFFIX}", self._file.generation)

    # Upkeep.

    def keep_up(self) -> None:
        """Compact where many are dead, and index large partitions; searches and changes go on meanwhile."""
        with self._upkeep_lock:
            if is_full := self._is_compaction_due():
                self._compact()
            with self._write_lock:
                due, self._due = self._due, set()
            for key in due:
                self._index(key)
        if due or is_full:
            self.save()

    def _note_due(self, contents: Contents, keys: Keys) -> None:
        """Remember which of these partitions want indexing."""
        counts = contents.by_partition.counts(keys)
        is_large = counts >= self._index_from
        for key, count in zip(keys[is_large].tolist(), counts[is_large].tolist(), strict=True):
            cells = contents.cells.get(key)
            if cells is None or count - cells.count >= EXTEND_AT:
                self._due.add(key)

    def _is_compaction_due(self) -> bool:
        rows = self._contents.rows
        return rows.dead > max(COMPACT_AFTER, COMPACT_SHARE * rows.count)

    def _index(self, key: int) -> None:
        """Index what is new in a partition, or all of it where its index is missing or outgrown."""
        contents = self._contents
        cells = contents.cells.get(key)
        with self._write_lock:
            count = contents.rows.count
            slots = contents.by_partition.find(key, cells.covered if cells else 0)
            arrays = contents.rows.arrays
        slots = slots[slots < count]
        if cells is None:
            contents.cells[key] = Cells.build(arrays, slots, count)
        elif cells.count + len(slots) > OUTGROWN * cells.trained_on:
            every = contents.by_partition.find(key)
            contents.cells[key] = cells.rebuilt(arrays, every[every < count], count)
        else:
            cells.extend(arrays, slots, count)

    def _compact(self) -> None:
        """Number the living anew. What changes while the work is done is done again at the end."""
        old = self._contents
        with self._write_lock:
            kept, end = old.rows.live_slots(), old.rows.count
        new = old.compacted(kept)
        with self._file_lock, self._write_lock:
            if self._contents is not old:
                return  # truncated meanwhile
            ids = old.rows.arrays.ids
            late = np.arange(end, old.rows.count, dtype=np.int32)
            died = (ids[kept] == DEAD) & (new.rows.arrays.ids[: len(kept)] != DEAD)
            new.rows.kill(np.flatnonzero(died).astype(np.int32))
            new.add(old.rows.arrays.take(late[ids[late] != DEAD]))
            self._contents = new
            self._unsaved_dead.clear()
            self._changes += 1
            self._file.generation = ""
            self._note_due(new, np.array(list(new.cells), np.int64))
