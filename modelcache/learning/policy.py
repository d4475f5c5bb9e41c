"""How queries to a model are answered: not at all, looked up only, served, or served once verified."""

from dataclasses import dataclass

OFF, SHADOW, SERVE, VERIFIED = "off", "shadow", "serve", "verified"


@dataclass(frozen=True, slots=True)
class Policy:
    """How queries to a model are answered."""

    mode: str
    error_rate: float
    ttl: float | None = None
    """Seconds that an entry without a time to live of its own answers; None: for ever."""
