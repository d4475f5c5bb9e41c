"""The graphs that come with the product, and how a folder of one is checked before it is used."""

from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

from modelcache.embedding.folder import PROJECT_ROOT, read_json
from modelcache.errors import ConfigError

ABOUT = "about.json"


class About(NamedTuple):
    """What ``about.json`` says of the graph beside it."""

    name: str
    sha256: str
    """Of the graph's file: one that was not written whole, or of another build, is not used."""
    kept: dict[str, list[float]]
    """Texts with what the graph gives for them, to see whether this machine computes the same."""


def shipped_folder(name: str) -> Path:
    """Return ``model/<name>``: inside the package where it was installed, beside it in a checkout."""
    inside = PROJECT_ROOT / "modelcache" / "model" / name
    return inside if inside.is_dir() else PROJECT_ROOT / "model" / name


def checked(folder: Path, file: str) -> About:
    """Return what is said of the graph in a folder; ConfigError where it is not that graph."""
    path = folder / ABOUT
    try:
        about = About(**read_json(path))
    except TypeError as exc:
        raise ConfigError(f"{path} does not describe a graph") from exc
    if _digest(folder / file) != about.sha256:
        raise ConfigError(f"{folder / file} is not the file that {ABOUT} describes")
    return about


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
