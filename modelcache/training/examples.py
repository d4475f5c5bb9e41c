"""A labelled pair of questions, as the training takes it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """Two questions, and whether one answer serves both."""

    asked: str
    cached: str
    same: bool
    kind: str
    """Where it comes from, or by what the two differ."""
    language: str
    """``zh``, or ``en``, as which all other languages count."""
