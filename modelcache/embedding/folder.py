"""A folder of a published model: where it is, what its JSON files say, what tells it from another."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np

from modelcache.errors import ConfigError
from modelcache.records.vectors import Embeddings

PROJECT_ROOT = Path(__file__).resolve().parents[2]

CONFIG_FILE = "config.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
MODULES_FILE = "modules.json"
# sentence-transformers has given the settings of a Transformer module all of these names.
SENTENCE_CONFIG_FILES = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
DEFAULT_POSITIONS = 512
UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Module:
    """One step of a SentenceTransformers model.

    ``kind`` is its class, such as ``Pooling``; of code that is not of sentence-transformers the whole name.
    """

    kind: str
    folder: Path


def resolve_folder(folder: Path, root: Path = PROJECT_ROOT) -> Path:
    """Find a relative folder in the current directory or, where it is not there, in the project's."""
    if folder.is_absolute() or folder.is_dir():
        return folder
    in_project = root / folder
    return in_project if in_project.is_dir() else folder


def read_json(path: Path) -> Any:
    """Return what the file holds; ConfigError names it when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} cannot be read as JSON: download it again") from exc


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file, an empty one where there is no file; ConfigError otherwise."""
    if not path.exists():
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no JSON object: download it again")
    return found


def read_modules(folder: Path) -> list[Module]:
    """Return the modules of ``modules.json`` in their order, none where there is no such file."""
    path = folder / MODULES_FILE
    if not path.exists():
        return []
    listed = read_json(path)
    try:
        return [Module(_kind(str(item["type"])), folder / item["path"]) for item in listed]
    except (TypeError, KeyError) as exc:
        raise ConfigError(f"{path} is no list of modules with a type and a path") from exc


def _kind(name: str) -> str:
    return name.rpartition(".")[2] if name.startswith("sentence_transformers.") else name


def read_sentence_config(folder: Path) -> dict[str, Any]:
    """Return what sentence-transformers wrote about the model in this folder, if it wrote anything."""
    for name in SENTENCE_CONFIG_FILES:
        if (folder / name).is_file():
            return read_object(folder / name)
    return {}


def whole_number(source: Path, values: Mapping[str, Any], name: str) -> int | None:
    """Return a number of what was read from ``source``, None where it is not given; ConfigError otherwise."""
    value = values.get(name)
    if value is None:
        return None
    # A tokenizer that was told no limit says 1e30.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{source} has {value!r} for {name}, which is no number")
    return int(value)


def window_limit(folder: Path, limits: Iterable[int], special_tokens: int) -> int:
    """Return the smallest of the limits: how many tokens, special ones included, one window may have."""
    limit = min(limits)
    if limit <= special_tokens:
        raise ConfigError(f"{folder} allows {limit} tokens a text, which leaves no room for one")
    return limit


def check_vocabulary(folder: Path, known: int, rows: int) -> None:
    """Refuse a tokenizer of another model, or one cut short, which reads every word as unknown."""
    if not rows // 2 < known <= rows:
        raise ConfigError(
            f"{folder} has a tokenizer of {known} tokens but weights for {rows}: they are not of one model"
        )


def check_vectors(folder: Path, vectors: Embeddings) -> None:
    """Refuse weights whose vectors are not of unit length: they were not finite before."""
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=UNIT_TOLERANCE):
        raise ConfigError(f"{folder} has weights that give no finite vectors")


def fingerprint(folder: Path, files: Iterable[str], *settings: str) -> str:
    """Hash the files that shape a vector, those of them that are there, and what else shapes it.

    The weights are read whole: a fine-tuned copy may differ in its middle layers alone.
    """
    digest = sha256()
    for name in files:
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                digest.update(name.encode() + file_digest(file, "sha256").digest())
    for setting in settings:
        digest.update(sha256(setting.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()[:12]
