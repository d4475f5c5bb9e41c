"""A collection's rows in a file that is only added to, so that a save writes no more than what changed.

A head of JSON, one line, then records: a kind, how many, a checksum, and the arrays as they are in memory.
``ROWS`` appends rows; ``DEAD`` says which slots died since. A record that is cut or damaged ends the
file: the rows of the scalar store fill the gap.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from modelcache.errors import VectorStoreError
from modelcache.manager.vector_data.local.files import replacing
from modelcache.manager.vector_data.local.lookup import Slots
from modelcache.manager.vector_data.local.rows import DEAD, Arrays

VERSION = 1
RECORD = struct.Struct("<4sII")
ROWS, DEAD_SLOTS = b"rows", b"dead"
RECORD_ROWS = 10_000


class DamagedFileError(Exception):
    """The file's head cannot be read."""


class RowFile:
    """One file; its ``generation`` names a numbering of slots, and changes when they are numbered anew."""

    def __init__(self, path: Path, dimension: int) -> None:
        self.path = path
        self.generation = ""
        self.saved = 0
        """How many slots are in the file."""
        self._dimension = dimension
        self._length = 0

    def write(self, arrays: Arrays) -> None:
        """Replace the file by one of these rows, under a new generation."""
        generation = uuid4().hex
        with replacing(self.path) as file:
            head = {"version": VERSION, "dimension": self._dimension, "generation": generation}
            file.write(json.dumps(head).encode() + b"\n")
            _write_rows(file, arrays)
            length = file.tell()
        self.generation, self.saved, self._length = generation, len(arrays.ids), length

    def append(self, arrays: Arrays, dead: Slots) -> None:
        """Add the rows that follow the saved ones, and the saved slots that died since."""
        try:
            with self.path.open("r+b") as file:
                # What a failed or killed append has left is cut off.
                file.truncate(self._length)
                file.seek(self._length)
                if len(dead):
                    _write_record(file, DEAD_SLOTS, len(dead), [dead])
                _write_rows(file, arrays)
                length = file.tell()
        except OSError as exc:
            raise VectorStoreError(f"cannot write {self.path}: {exc}") from exc
        self.saved += len(arrays.ids)
        self._length = length

    def read(self) -> Arrays:
        """Return all rows up to the first damaged record; DamagedFileError when the head is.

        After damage the generation is empty: slots that were in the file may be given again.
        """
        try:
            with self.path.open("rb") as file:
                generation = self._read_head(file)
                start = file.tell()
                arrays = Arrays.empty(self._count_rows(file), self._dimension)
                file.seek(start)
                count, is_whole = self._read_records(file, arrays)
                self._length = file.tell()
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise DamagedFileError(str(exc)) from exc
        self.generation = generation if is_whole else ""
        self.saved = count
        return arrays.part(0, count)

    def _read_head(self, file: IO[bytes]) -> str:
        head = json.loads(file.readline())
        if head["version"] != VERSION or head["dimension"] != self._dimension:
            raise ValueError("it is of another version or dimension")
        return str(head["generation"])

    def _count_rows(self, file: IO[bytes]) -> int:
        """Hop from record to record, so that the arrays can be made in their full size at once."""
        end = self.path.stat().st_size
        total = 0
        for kind, count, _ in _records(file):
            size = count * (self._row_bytes() if kind == ROWS else 4)
            if kind not in (ROWS, DEAD_SLOTS) or file.tell() + size > end:
                break
            total += count if kind == ROWS else 0
            file.seek(size, 1)
        return total

    def _read_records(self, file: BufferedReader, arrays: Arrays) -> tuple[int, bool]:
        """Fill the arrays; returns how many rows are right, and whether all of the file is."""
        end = self.path.stat().st_size
        filled = 0
        for kind, count, checksum in _records(file):
            if kind == ROWS and filled + count <= len(arrays.ids):
                part = arrays.part(filled, filled + count)
                if _read_into(file, part) != checksum:
                    return filled, False
                filled += count
            elif kind == DEAD_SLOTS and file.tell() + 4 * count <= end:
                dead = np.empty(count, np.int32)
                if _read_into(file, [dead]) != checksum or dead.max(initial=0) >= filled:
                    return filled, False
                arrays.ids[dead] = DEAD
            else:
                return filled, False
        return filled, file.tell() == end

    def _row_bytes(self) -> int:
        return 8 + 8 + 4 + 2 * self._dimension


def _records(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    while len(head := file.read(RECORD.size)) == RECORD.size:
        yield RECORD.unpack(head)


def _write_rows(file: IO[bytes], arrays: Arrays) -> None:
    for start in range(0, len(arrays.ids), RECORD_ROWS):
        part = arrays.part(start, start + RECORD_ROWS)
        # Ids may be marked dead while this is written; the checksum is to be of what is written.
        _write_record(file, ROWS, len(part.ids), [part.ids.copy(), *part[1:]])


def _write_record(file: IO[bytes], kind: bytes, count: int, arrays: list[NDArray[Any]]) -> None:
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(array.data, checksum)
    file.write(RECORD.pack(kind, count, checksum))
    for array in arrays:
        file.write(array.data)


def _read_into(file: BufferedReader, arrays: Iterable[NDArray[Any]]) -> int:
    """Fill the arrays and return the checksum of what was read."""
    checksum = 0
    for array in arrays:
        if file.readinto(array.data) != array.nbytes:
            return -1
        checksum = zlib.crc32(array.data, checksum)
    return checksum
