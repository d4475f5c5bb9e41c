"""From messages to a question: what must be equal, what is compared by meaning, what is shown."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelcache.hashing import digest
from modelcache.manager.names import model_key

if TYPE_CHECKING:
    from modelcache.settings import Settings

SYSTEM = "system"
BOUNDARY = "|||"
ROLE_END = "###"
TURN = re.compile(r"(?:\A|\|\|\|)[^|#]+###")
NEXT_TURN = re.compile(r"\|\|\|[^|#]+###")

ScopeValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; ``extra`` holds further fields that change its meaning, such as tool calls."""

    role: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A dialogue, prepared for look-up and storage."""

    model: str
    model_key: str
    partition: str
    """Hash of all that must be equal for an answer to be reusable."""
    fingerprint: str
    """Hash of the partition and the whole normalised dialogue: equal questions share it."""
    text: str
    """What is embedded."""
    dialogue: str
    """All messages spliced, as replies show them."""


def make_question(
    model: str, scope: Mapping[str, ScopeValue], messages: Sequence[Message], settings: "Settings"
) -> Question:
    """Prepare a dialogue that has at least one message besides system ones.

    Under the default settings the partition is model, scope, system prompt and all turns before the
    last, and the text is the last turn. ``system_prompt = splice`` and ``conversation = splice``
    move the system prompt and the earlier turns from the partition into the text.
    """
    keys = {name: _plain_number(value) for name, value in scope.items()}
    turns = [message for message in messages if message.role != SYSTEM]
    equal: list[Message] = []
    compared: list[Message] = []
    for message in messages:
        if message.role == SYSTEM:
            spliced = settings.system_prompt == "splice"
        else:
            spliced = settings.conversation == "splice" or message is turns[-1]
        (compared if spliced else equal).append(message)
    last = turns[-1]
    return Question(
        model=model,
        model_key=model_key(model),
        partition=digest(
            "partition", model, keys, [_identity(message) for message in equal], last.role, last.extra
        ),
        fingerprint=digest("question", model, keys, [_identity(message) for message in messages]),
        text=last.content.strip() if compared == [last] else splice(compared),
        dialogue=splice(messages),
    )


def splice(messages: Sequence[Message]) -> str:
    """Render messages as one text: ``role###content|||role###content``."""
    return BOUNDARY.join(f"{message.role}{ROLE_END}{message.content}" for message in messages)


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


def _identity(message: Message) -> tuple[str, str, Mapping[str, Any]]:
    return message.role, normalise(message.content), message.extra


def _plain_number(value: ScopeValue) -> ScopeValue:
    """Hold 1 and 1.0 to be the same number, as JSON does; True stays apart."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
