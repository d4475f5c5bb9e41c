"""Labelled questions: what is cached, what is asked, and whether one answer serves both."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelcache.adapter import request
from modelcache.errors import ConfigError, FieldError

Dialogue = list[dict[str, Any]]

LABELS = {"0": False, "1": True}
ESCAPED = re.compile(r"\\([nt\\])")
MEANT = {"n": "\n", "t": "\t", "\\": "\\"}
EXPECTED_TSV = "expected text A, text B, 0 or 1 and perhaps a kind, between tabs"
EXPECTED_JSON = 'expected a JSON object with "a", "b" and "same" (0 or 1)'


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """``same``: the answer to the cached question answers the asked one too."""

    cached: Dialogue
    asked: Dialogue
    same: bool
    kind: str = ""


def user(text: str) -> Dialogue:
    """Return a dialogue of one question."""
    return [{"role": "user", "content": text}]


def read_pairs(path: Path) -> list[LabelledPair]:
    """Read tab-separated lines or, where the first one is a JSON object, a JSON object a line.

    ConfigError names the file and the line that is not so.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc
    read = _of_json if text.lstrip().startswith("{") else _of_tabs
    pairs = []
    # Not splitlines(): a JSON string, and a question, may hold a Unicode line separator.
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if line.strip():
            try:
                pair = read(line)
                for dialogue in (pair.cached, pair.asked):
                    request.parse("query", {"scope": {"model": "m"}, "query": dialogue})
            except (ValueError, FieldError) as exc:
                raise ConfigError(f"{path}, line {number}: {exc}") from exc
            pairs.append(pair)
    if not pairs:
        raise ConfigError(f"{path} holds no pairs")
    return pairs


def _of_tabs(line: str) -> LabelledPair:
    cells = line.split("\t")
    if len(cells) not in (3, 4) or cells[2].strip() not in LABELS:
        raise ValueError(EXPECTED_TSV)
    cached, asked = (ESCAPED.sub(lambda found: MEANT[found[1]], cell) for cell in cells[:2])
    kind = cells[3].strip() if len(cells) == 4 else ""
    return LabelledPair(user(cached), user(asked), LABELS[cells[2].strip()], kind)


def _of_json(line: str) -> LabelledPair:
    try:
        value = json.loads(line)
    except ValueError as exc:
        raise ValueError(EXPECTED_JSON) from exc
    # True and 1.0 are 1 to Python; "1" is a slip that is plain enough.
    label = LABELS.get(str(int(value["same"]))) if _is_labelled(value) else None
    if label is None:
        raise ValueError(EXPECTED_JSON)
    cached, asked = (side if isinstance(side, list) else user(side) for side in (value["a"], value["b"]))
    return LabelledPair(cached, asked, label, str(value.get("group") or value.get("kind") or ""))


def _is_labelled(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and {"a", "b", "same"} <= value.keys()
        and value["same"] in (0, 1, "0", "1")
        and all(isinstance(value[side], str | list) for side in "ab")
    )


def key(dialogue: Dialogue) -> str:
    """Return what equal dialogues share."""
    return json.dumps(dialogue, ensure_ascii=False, sort_keys=True)


def shown(dialogue: Sequence[Mapping[str, Any]]) -> str:
    """Return a dialogue as one line: a single question is its own text."""
    return " | ".join(_lines(dialogue))


def _lines(dialogue: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in dialogue:
        content = message["content"]
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        text = " ".join(text.split())
        yield text if len(dialogue) == 1 else f"{message['role']}: {text}"
