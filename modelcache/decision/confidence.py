"""How sure it is that a cached answer may be reused: a calibrated probability.

It comes from the two questions alone: the log-odds of a model that reads both, and the cosine of their
embeddings. Both can only speak for it, so that it never falls when two texts become more alike. A
calibration is fitted by ``python -m modelcache calibrate --fit``, for one embedder and one reader.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from modelcache.decision.languages import LANGUAGES, language_of
from modelcache.embedding.base import Embedder
from modelcache.language.form import differ_in_form_only
from modelcache.similarity_evaluation.paraphrase import ParaphraseReader

FORMAT = 4
# Popular questions are read with the same entries again and again.
REMEMBERED_PAIRS = 4096
REMEMBERED_CHARS = 256
# Texts that differ in form only need no reading. Not 1, which equal texts have.
FORM_ONLY = 0.99
LOWEST = -1.0


class LanguageModel:
    """The confidence for one language."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        """ValueError where a weight would let likeness speak against a pair."""
        self._read, self._cosine, self._base = (float(tables[name]) for name in ("read", "cosine", "base"))
        self._unread_cosine, self._unread_base = (float(value) for value in tables["unread"])
        if min(self._read, self._cosine, self._unread_cosine) < 0:
            raise ValueError("a weight is negative")
        self.threshold = float(tables["threshold"])
        self._ceiling = float(tables["ceiling"])
        """The most that the reader may say for a pair: it knows better what differs than what is the same."""
        self._reaching = [(float(share), float(cosine)) for share, cosine in tables["reaching"]]
        """By confidence, the cosine under which hardly any pair is rated so high; both rise."""

    def confidence(self, read: float, cosine: float) -> float:
        """Return the probability that one answer serves both, by what the reader adds and by the cosine."""
        return _share(self._read * min(read, self._ceiling) + self._cosine * cosine + self._base)

    def most(self, cosine: float) -> float:
        """Return the confidence that no pair of this cosine exceeds, whatever the reader says."""
        return self.confidence(self._ceiling, cosine)

    def unread(self, cosine: float) -> float:
        """Return the same where the pair is not read, by the cosine alone."""
        return _share(self._unread_cosine * cosine + self._unread_base)

    def least(self, threshold: float) -> float:
        """Return the cosine under which hardly any pair reaches the threshold."""
        below = [cosine for share, cosine in self._reaching if share <= threshold]
        return below[-1] if below else LOWEST


class Confidence:
    """Rates pairs; safe to call from many threads.

    The cosine that counts is that of the taught embedder. Where the service searches with another one, whose
    cosines mean something else, the texts are embedded once more.
    """

    def __init__(
        self, tables: Mapping[str, Any], reader: ParaphraseReader, embedder: Embedder, shared: bool = True
    ) -> None:
        """``tables`` is what ``calibrate --fit`` writes; KeyError, TypeError or ValueError if it is not.

        Takes an open reader and the open embedder that it was taught beside; ``shared``: the service
        searches with that one.
        """
        if tables["format"] != FORMAT:
            raise ValueError("it is of another version")
        self._models = {name: LanguageModel(tables["languages"][name]) for name in LANGUAGES}
        self._shared = shared
        self._embedder = embedder
        self._reader = reader
        self._remembered = lru_cache(REMEMBERED_PAIRS)(self._look)

    def close(self) -> None:
        """Release the models that no one else uses; harmless when repeated."""
        self._reader.close()
        if not self._shared:
            self._embedder.close()

    def rate(self, asked: str, cached: str, similarity: float | None, at_least: float = 0.0) -> float:
        """Return the confidence of a pair, 0..1: 0 where it is too long to be read, 1 for equal texts.

        ``similarity`` is the cosine by which the pair was found, None where it was not searched for. A pair
        that cannot reach ``at_least``, whatever the reader says, is rated 0: reading takes longer than all
        else.
        """
        if asked == cached:
            return 1.0
        if differ_in_form_only(asked, cached):
            return FORM_ONLY
        parts = differing_lines(asked, cached)
        if parts != (asked, cached):
            # A long text that both hand on makes any two instructions look alike.
            (asked, cached), similarity = parts, None
        known = similarity if self._shared else None
        if known is not None and self._model(asked).most(known) < at_least:
            return 0.0
        short = max(len(asked), len(cached)) <= REMEMBERED_CHARS
        read, cosine = (self._remembered if short else self._look)(asked, cached, known)
        return self.weigh(asked, read, cosine)

    def weigh(self, asked: str, read: float | None, cosine: float) -> float:
        """Return the confidence of a pair by what the reader says of it, None: it was too long to be read."""
        return 0.0 if read is None else self._model(asked).confidence(read, cosine)

    def unread(self, asked: str, similarity: float) -> float:
        """Return the confidence of a pair that is not read, by its cosine."""
        return self._model(asked).unread(similarity) if self._shared else max(0.0, similarity)

    def least(self, asked: str, threshold: float) -> float:
        """Return the cosine under which hardly any other text than this reaches the threshold."""
        return self._model(asked).least(threshold) if self._shared else LOWEST

    def threshold(self, asked: str) -> float:
        """Return from which confidence on an answer to this text is reused, unless a user sets another."""
        return self._model(asked).threshold

    def _look(self, asked: str, cached: str, known: float | None) -> tuple[float | None, float]:
        """Return what the reader adds, and the cosine."""
        read = self._reader.log_odds(asked, cached)
        if known is not None or read is None:
            return read, known or 0.0
        one, other = self._embedder.embed([asked, cached])
        return read, float(one @ other)

    def _model(self, asked: str) -> LanguageModel:
        return self._models[language_of(asked)]


def differing_lines(asked: str, cached: str) -> tuple[str, str]:
    """Return two texts without the lines that both begin and end with, unless one of them has no others."""
    ours, theirs = asked.splitlines(), cached.splitlines()
    start = 0
    while start < min(len(ours), len(theirs)) and ours[start] == theirs[start]:
        start += 1
    end = 0
    while end < min(len(ours), len(theirs)) - start and ours[-1 - end] == theirs[-1 - end]:
        end += 1
    one, other = ("\n".join(lines[start : len(lines) - end]).strip() for lines in (ours, theirs))
    return (one, other) if one and other and (start or end) else (asked, cached)


def odds_times(factor: float, share: float) -> float:
    """Return the share whose odds are so many times those of this one."""
    return factor * share / (1.0 + (factor - 1.0) * share)


def _share(log_odds: float) -> float:
    """Return the probability; the exponent is kept where it does not overflow."""
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, log_odds))))
