"""A line of the query log."""

from dataclasses import dataclass

VETOED = "veto: "
"""Before the rule that refused the nearest entry, in ``error_desc``."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One query, for the query log."""

    created_at: float
    error_code: int
    error_desc: str
    cache_hit: bool
    delta_time: float
    model: str
    model_key: str
    query: str
    hit_query: str
    answer: str
    entry_id: int | None = None
    """Of the entry that answered, or of the nearest one; None where nothing was compared."""
    confidence: float | None = None
    """In that entry, 0..1."""
