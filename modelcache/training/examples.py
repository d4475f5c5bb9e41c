"""What a model is taught with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """Two questions and whether one answer serves both."""

    asked: str
    cached: str
    same: bool
    kind: str
    language: str
