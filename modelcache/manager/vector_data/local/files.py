"""Files that appear under their name only when they are whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from modelcache.errors import VectorStoreError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes the name at the end; VectorStoreError if it cannot be written.

    Not waiting for the disk is on purpose: what a power cut leaves has checksums, and the rows fill the gap.
    """
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as exc:
        raise VectorStoreError(f"cannot write {path}: {exc}") from exc
