"""What a look-up found."""

from dataclasses import dataclass
from typing import NamedTuple

from modelcache.records.entry import CachedAnswer
from modelcache.records.observation import Observation


class Likeness(NamedTuple):
    """How like the question an entry is: cosine, and the confidence that its answer may be reused.

    Both 0..1; None where nothing was compared.
    """

    similarity: float | None
    confidence: float | None


EQUAL = Likeness(1.0, 1.0)
NOTHING_COMPARED = Likeness(None, None)


@dataclass(frozen=True, slots=True)
class Found:
    """The entry that answers a question, or would, if the model's mode lets it; or none."""

    entry: CachedAnswer | None = None
    exact: bool = False
    """Whether the questions are equal."""
    score: float = 1.0
    """The confidence in the entry, 0..1, not rounded."""
    likeness: Likeness = NOTHING_COMPARED
    """Of the entry or, where there is none, of the nearest one."""
    veto: str = ""
    """The rule that refused the nearest entry which would or might have answered; "" if none did."""
    nearest_id: int | None = None
    """Of the nearest entry, where none answers."""
    skipped: str = ""
    """Why nothing was looked for, in a word; "" if it was."""
    observations: tuple[Observation, ...] = ()
    """What was observed of an entry that was found by meaning."""
