"""From messages to a question: what must be equal, what is compared by meaning, what is shown."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelcache.hashing import digest
from modelcache.manager.names import model_key
from modelcache.processor.small_talk import telling_places, without_small_talk

if TYPE_CHECKING:
    from modelcache.settings import Settings

SYSTEM = "system"
BOUNDARY = "|||"
ROLE_END = "###"
TURN = re.compile(r"(?:\A|\|\|\|)[^|#]+###")
NEXT_TURN = re.compile(r"\|\|\|[^|#]+###")
# What is said in these roles may be put differently; a tool's result may not.
SPOKEN_ROLES = frozenset({"user", "assistant"})
# A row keeps an embedding for each of so many earlier turns at most.
CONTEXT_TURNS = 8

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
    messages: tuple[Message, ...]
    turns: tuple[tuple[str, str], ...] = ()
    """Roles and contents of the turns without greetings and thanks, where the last one alone is embedded as
    ``text``; empty where several are."""
    context_places: tuple[int, ...] = ()
    """Where in ``turns`` the earlier ones that are embedded are."""
    without_context: str = ""
    """The partition of the same question asked without its earlier turns; "" where it has none, and
    where they are not compared by themselves."""

    @property
    def context(self) -> tuple[str, ...]:
        """The earlier turns that are embedded, oldest first."""
        return tuple(self.turns[place][1].strip() for place in self.context_places)

    @property
    def texts(self) -> tuple[str, ...]:
        """What is embedded, each by itself: the last turn, then the earlier ones."""
        return (self.text, *self.context)


def make_question(
    model: str, scope: Mapping[str, ScopeValue], messages: Sequence[Message], settings: "Settings"
) -> Question:
    """Prepare a dialogue that has at least one message besides system ones.

    Under the default settings the partition is model, scope, system prompt, the roles of the turns
    before the last and what tools said; the text is the last turn. Greetings and thanks count for nothing.
    ``conversation = exact`` has all of the earlier turns in the partition.
    ``system_prompt = splice`` and ``conversation = splice`` move the system prompt and the earlier
    turns into the text.
    """
    keys = {name: _plain_number(value) for name, value in scope.items()}
    by_meaning = settings.conversation == "meaning"
    said = [message for message in messages if message.role != SYSTEM]
    turns = _telling(said) if by_meaning else said
    *earlier, last = turns
    places = embedded_places([(turn.role, turn.content) for turn in turns], settings) if by_meaning else ()
    equal: list[object] = []
    system: list[object] = []
    compared: list[Message] = []
    for message in messages:
        if message is last or _is_spliced(message, settings):
            compared.append(message)
        elif by_meaning and message.role in SPOKEN_ROLES:
            # What it says is compared when the entry is judged.
            if any(message is turn for turn in turns):
                equal.append((message.role, message.extra))
        else:
            equal.append(_identity(message))
            if message.role == SYSTEM:
                system.append(equal[-1])

    def partition(of: list[object]) -> str:
        return digest("partition", model, keys, of, last.role, last.extra)

    return Question(
        model=model,
        model_key=model_key(model),
        partition=partition(equal),
        fingerprint=digest("question", model, keys, [_identity(message) for message in messages]),
        text=last.content.strip() if compared == [last] else splice(compared),
        dialogue=splice(messages),
        messages=tuple(messages),
        turns=tuple((turn.role, turn.content) for turn in turns) if compared == [last] else (),
        context_places=places,
        without_context=partition(system) if by_meaning and earlier else "",
    )


def _is_spliced(message: Message, settings: "Settings") -> bool:
    """Tell whether a message before the last turn is part of the text."""
    if message.role == SYSTEM:
        return settings.system_prompt == "splice"
    return settings.conversation == "splice"


def embedded_places(turns: Sequence[tuple[str, str]], settings: "Settings") -> tuple[int, ...]:
    """Return which turns before the last are embedded: the latest short ones, as far as there is room."""
    room = settings.context_chars
    places: list[int] = []
    for place in reversed(range(len(turns) - 1)):
        role, content = turns[place]
        length = len(content.strip())
        if role in SPOKEN_ROLES and 0 < length <= min(room, settings.long_text_chars):
            places.append(place)
            room -= length
            if len(places) == CONTEXT_TURNS:
                break
    return tuple(reversed(places))


def _telling(said: Sequence[Message]) -> list[Message]:
    """Leave out greetings, thanks and what is said back to them; a turn with more than text is kept."""
    turns = [("" if message.extra else message.role, message.content) for message in said]
    return [said[place] for place in telling_places(turns)]


def splice(messages: Sequence[Message]) -> str:
    """Render messages as one text: ``role###content|||role###content``."""
    return BOUNDARY.join(f"{message.role}{ROLE_END}{message.content}" for message in messages)


def turns_in(dialogue: str) -> list[tuple[str, str]]:
    """Cut a spliced dialogue into roles and contents.

    A content that looks like a boundary is cut as well: whoever knows how many there should be can tell.
    """
    starts = list(TURN.finditer(dialogue))
    ends = [start.start() for start in starts[1:]] + [len(dialogue)]
    return [
        (start[0].removeprefix(BOUNDARY).removesuffix(ROLE_END), dialogue[start.end() : end])
        for start, end in zip(starts, ends, strict=True)
    ]


def told_in(dialogue: str) -> list[tuple[str, str]]:
    """Return the turns of a spliced dialogue without system prompts, greetings and thanks."""
    return without_small_talk([turn for turn in turns_in(dialogue) if turn[0] != SYSTEM])


def last_turn(dialogue: str) -> str:
    """Return the content of a spliced dialogue's last turn, or its end where that looks like a turn."""
    contents = [content for role, content in turns_in(dialogue) if role != SYSTEM]
    return contents[-1] if contents else dialogue


def sole_turn(dialogue: str) -> str | None:
    """Return the content of the only turn that says something; None where there are several."""
    turns = told_in(dialogue)
    return turns[0][1] if len(turns) == 1 else None


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
