"""Messages, and all of them spliced into one text, as rows keep them."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SYSTEM = "system"
# OpenAI's later models call it so.
SYSTEM_ROLES = frozenset({SYSTEM, "developer"})
USER, ASSISTANT = "user", "assistant"
BOUNDARY = "|||"
ROLE_END = "###"
TURN = re.compile(r"(?:\A|\|\|\|)[^|#]+###")
NEXT_TURN = re.compile(r"\|\|\|[^|#]+###")
# What is said in these roles may be put differently; a tool's result may not.
SPOKEN_ROLES = frozenset({USER, ASSISTANT})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; ``extra`` holds all further fields that may change its meaning, such as tool calls."""

    role: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def splice(messages: Sequence[Message]) -> str:
    """Render messages as one text: ``role###content|||role###content``."""
    return BOUNDARY.join(f"{message.role}{ROLE_END}{message.content}" for message in messages)


def turns_in(dialogue: str) -> list[tuple[str, str]]:
    """Cut a spliced dialogue into roles and contents; none of a text that is not spliced.

    A content that looks like a boundary is cut as well: whoever knows how many there should be can tell.
    """
    starts = list(TURN.finditer(dialogue))
    if not starts:
        return []
    ends = [start.start() for start in starts[1:]] + [len(dialogue)]
    return [
        (start[0].removeprefix(BOUNDARY).removesuffix(ROLE_END), dialogue[start.end() : end])
        for start, end in zip(starts, ends, strict=True)
    ]


def last_turn(dialogue: str) -> str:
    """Return the content of a spliced dialogue's last turn, or its end where that looks like a turn."""
    contents = [content for role, content in turns_in(dialogue) if role != SYSTEM]
    return contents[-1] if contents else dialogue


def differing_part(asked: str, cached: str) -> tuple[str, str]:
    """Cut two spliced dialogues down to the turns from the first that differs to the last that does.

    A content may look like a boundary itself; what is cut is equal on both sides all the same.
    """
    heads = list(TURN.finditer(asked, 0, _common_length(asked, cached)))
    start = heads[-1].end() if heads else 0
    asked, cached = asked[start:], cached[start:]
    tail = NEXT_TURN.search(asked, len(asked) - _common_length(asked[::-1], cached[::-1]))
    kept = len(asked) - tail.start() if tail else 0
    return asked[: len(asked) - kept], cached[: len(cached) - kept]


def _common_length(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike, by halving: dialogues may be long."""
    known, limit = 0, min(len(one), len(other))
    while known < limit:
        middle = (known + limit + 1) // 2
        if one[known:middle] == other[known:middle]:
            known = middle
        else:
            limit = middle - 1
    return known


def normalise(text: str) -> str:
    """Fold what never changes a question: Unicode composition, line endings, surrounding space.

    Case, width and inner space are kept: in code, in names and in exponents they carry meaning.
    """
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()
