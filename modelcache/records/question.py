"""A dialogue, prepared for look-up and storage."""

from dataclasses import dataclass
from typing import Any

from modelcache.records.dialogue import Message

ScopeValue = Any
"""A JSON value."""


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
    in_conversation: bool = False
    """Whether it has earlier turns that are compared by themselves."""
    without_context: str = ""
    """The partition of the same question asked without its earlier turns; "" where there are none or no entry
    without them may answer: they are not compared by themselves, or hold more than what was said."""
    is_comparable: bool = True
    """Whether a question in other words may be the same: the last turn is a user's. A tool's result is equal
    or another one."""

    @property
    def context(self) -> tuple[str, ...]:
        """The earlier turns that are embedded, oldest first."""
        return tuple(self.turns[place][1].strip() for place in self.context_places)

    @property
    def texts(self) -> tuple[str, ...]:
        """What is embedded, each by itself: the last turn, then the earlier ones."""
        return (self.text, *self.context)
