"""Files of a model's folder, each put in place when it is whole."""

import json
import os
from pathlib import Path

from modelcache.embedding.shipped import ABOUT


def write(path: Path, data: bytes) -> None:
    """Put a file in place when it is whole."""
    half = path.with_name(f"{path.name}.half-written")
    half.write_bytes(data)
    os.replace(half, path)


def describe(folder: Path, name: str, sha256: str, kept: dict[str, list[float]]) -> None:
    """Say in ``about.json`` what lies beside it."""
    about = {"name": name, "sha256": sha256, "kept": kept}
    write(folder / ABOUT, (json.dumps(about, ensure_ascii=False) + "\n").encode())
