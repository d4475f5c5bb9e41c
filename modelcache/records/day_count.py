"""What happened to a model on one day, in numbers."""

from typing import NamedTuple


class DayCount(NamedTuple):
    """An amount of something; those of one day, model and name add up."""

    day: int
    """Days since 1970, UTC."""
    model_key: str
    model: str
    name: str
    """Of what, such as ``hit.exact``; 64 characters at most."""
    amount: float
