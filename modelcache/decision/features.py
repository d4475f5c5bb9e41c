"""What a pair of questions looks like to the confidence: numbers on likeness, wording and neighbours.

Beside the cosine of the two embeddings, what was found to tell a rephrasing from another question is in
which directions they differ, how crowded the neighbourhood is, which words one text has and the other
lacks, and which slots differ. How long the texts are is left out: it tells of how the pairs were collected.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelcache.decision.wording import HAN, shipped_wording
from modelcache.slots.reading import Slots
from modelcache.slots.tokens import SMALL_WORDS, words_of

# So many further candidates are looked at.
NEIGHBOURS = 4
RULES = (
    *("number", "version", "date", "time", "relative-day", "unit", "currency", "name", "language"),
    *("opposite", "negation", "question", "direction"),
)
NAMES = (
    *("similarity", "gap", "mean_gap", "next", "second", "third", "fourth", "nearer", "crowd"),
    *("words_alike", "content_alike", "words_within", "content_within", "pairs_alike", "triples_alike"),
    *("own_least", "own_most", "length_ratio", "small_differ"),
    *("same_words", "same_text", "any_rule", "words_score", "directions_score"),
    *RULES,
)
CROWD_WIDTH = 0.02
GRAM_CHARS = 1024


@dataclass(frozen=True, slots=True)
class View:
    """One text, read for comparing; kept with popular texts."""

    slots: Slots
    folded: str
    """The text without what leaves a question what it is."""
    words: frozenset[str]
    content: frozenset[str]
    """Words with a meaning of their own."""
    pairs: frozenset[str]
    """Every two characters in a row."""
    triples: frozenset[str]
    tokens: frozenset[str]
    """Words and, in Chinese, every two characters in a row: what a calibration may have a weight for."""


def view(text: str, slots: Slots) -> View:
    """Prepare a text, with the slots that were read in it."""
    wording = shipped_wording()
    folded = wording.fold(text[:GRAM_CHARS])
    words = frozenset(words_of(folded))
    han = "".join([char for char in folded if HAN.match(char)])
    return View(
        slots=slots,
        folded=folded,
        words=words,
        content=words - SMALL_WORDS - wording.particles,
        pairs=_grams(folded, 2),
        triples=_grams(folded, 3),
        tokens=words | _grams(han, 2) if len(han) > 1 else words,
    )


def differ_in_form_only(one: View, other: View) -> bool:
    """Tell two texts that are one when politeness and forms of asking are left out."""
    return one.folded == other.folded and bool(one.content)


def features(
    asked: View,
    cached: View,
    rules: Collection[str],
    similarity: float,
    others: Sequence[float],
    floor: float,
    words_score: float,
    directions_score: float,
) -> NDArray[np.float32]:
    """Return the values of ``NAMES``, float32 (len(NAMES),).

    ``others`` are the cosines of the other candidates that have another answer; at and under ``floor``
    texts are unrelated, and how far under says nothing.
    """
    near = sorted([max(other, floor) for other in others], reverse=True)[:NEIGHBOURS]
    near += [floor] * (NEIGHBOURS - len(near))
    own = len(asked.content - cached.content), len(cached.content - asked.content)
    lengths = len(asked.words), len(cached.words)
    small = asked.words - asked.content, cached.words - cached.content
    values = [
        similarity,
        similarity - near[0],
        similarity - sum(near) / NEIGHBOURS,
        *near,
        sum(other > similarity for other in near),
        sum(other > similarity - CROWD_WIDTH for other in near),
        _alike(asked.words, cached.words),
        _alike(asked.content, cached.content),
        _within(asked.words, cached.words),
        _within(asked.content, cached.content),
        _alike(asked.pairs, cached.pairs),
        _alike(asked.triples, cached.triples),
        min(own),
        max(own),
        min(lengths) / max(1, *lengths),
        len(small[0] ^ small[1]),
        asked.words == cached.words,
        asked.folded == cached.folded,
        bool(rules),
        words_score,
        directions_score,
        *[rule in rules for rule in RULES],
    ]
    return np.array(values, np.float32)


def _grams(text: str, length: int) -> frozenset[str]:
    if len(text) < length:
        return frozenset([text])
    return frozenset(map("".join, zip(*(text[start:] for start in range(length)), strict=False)))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard index, the share of the common in all."""
    shared = len(one & other)
    return shared / max(1, len(one) + len(other) - shared)


def _within(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of the common in the smaller set."""
    return len(one & other) / max(1, min(len(one), len(other)))
