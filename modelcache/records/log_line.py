"""A line of the query log."""

from dataclasses import dataclass


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
