"""An entry on its way from one store to another."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modelcache.processor.pre import make_question
from modelcache.processor.texts import has_text
from modelcache.records.dialogue import SYSTEM_ROLES, Message
from modelcache.settings import Settings


class Line(BaseModel):
    """An entry, as a line of the file that ``export`` writes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: int = 0
    """In the store that it came from."""
    model: str = Field(min_length=1)
    partition: str = Field(pattern="^[0-9a-f]{40}$")
    fingerprint: str = Field(pattern="^[0-9a-f]{40}$")
    question: str
    answer: str = Field(min_length=1)
    created_at: float | None = None
    """Seconds since the epoch."""
    expires_at: float | None = None
    hit_count: int = Field(0, ge=0)
    last_used_at: float = 0.0
    tags: list[str] = []
    sources: list[str] = []
    scope: dict[str, Any] | None = None
    """The keys of the scope besides the model."""
    scope_keys: list[str] = []
    """Hashes of them and their values, where only these are known."""
    metadata: dict[str, Any] | None = None
    envelope: str = ""
    """What an API keeps beside the answer, as it reads it."""
    embedder: str = ""
    embedding: str = ""
    """float32, little-endian, in Base64."""


def line_of(
    model: str, messages: Sequence[Message], answer: str, settings: Settings, **more: Any
) -> Line | None:
    """Return an entry that another cache kept, as this one would; None for what cannot be asked here."""
    is_asked = bool(messages) and messages[-1].role not in SYSTEM_ROLES and has_text(messages[-1].content)
    if not (is_asked and answer and model):
        return None
    question = make_question(model, {}, messages, settings)
    return Line(
        model=model,
        partition=question.partition,
        fingerprint=question.fingerprint,
        question=question.dialogue,
        answer=answer,
        **more,
    )
