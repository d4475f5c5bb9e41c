"""What a text says, for each rule: what is found when it is read, and compared with what another says."""

from collections.abc import Mapping
from dataclasses import dataclass

from modelcache.language.clock import Clock
from modelcache.language.durations import Duration
from modelcache.language.written import Language
from modelcache.slots.asking import Voice
from modelcache.slots.directions import Link
from modelcache.slots.identifiers import Identifiers
from modelcache.slots.places import Places
from modelcache.slots.signs import Signs

Axis = tuple[str, str]
Measure = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Slots:
    """What a text says, for each rule."""

    values: dict[Axis, frozenset[str]]
    """Values by rule and axis: ("language", "language") has {"french"}."""
    numbers: dict[str, str]
    """Rule by number: a version or a date differs by its own name."""
    vague: frozenset[str]
    """Numbers that agree with an absence."""
    counts: Mapping[str, int]
    """How often each number is said, vague or not."""
    clocks: frozenset[Clock]
    """Times of day."""
    durations: tuple[Duration, ...]
    measures: dict[Measure, frozenset[str]]
    """Units by rule and number: ("currency", "100") has {"usd"}; ``ASKED`` is the amount asked for."""
    names: frozenset[str]
    """Words that look like names."""
    titles: frozenset[str]
    persons: frozenset[str]
    """Chinese names before a form of address, as in 王老师."""
    initials: str
    """The first letter of each word that is more than a question's form."""
    links: tuple[Link, ...]
    """What is before and behind each direction word."""
    places: Places
    words: frozenset[str]
    content: frozenset[str]
    """Stems of the words that are more than a question's form, but for listed names and negations."""
    denied: frozenset[str]
    """Stems of what stands behind a negation."""
    han: str
    """The Chinese characters, in order."""
    signs: Signs
    identifiers: Identifiers
    mentioned: frozenset[str]
    """What is said of a word that is asked about."""
    voice: Voice
    language: Language
    parts: frozenset[str]
    """Parts of a saying whose meaning is asked for by itself."""
    payload: frozenset[str]
    """The words of what the text hands on to be worked on."""

    def of(self, rule: str, axis: str = "") -> frozenset[str]:
        """Return the values of an axis, or of a rule that has but one; empty where nothing is said."""
        return self.values.get((rule, axis or rule), frozenset())
