"""How sure it is that a cached answer may be reused: a calibrated probability.

It comes from the two questions alone: the log-odds of a model that reads both, and the cosine of their
embeddings. Both can only speak for it, so that it never falls when two texts become more alike. A
calibration is fitted by ``python -m modelcache calibrate --fit``, for one embedder and one reader.
"""

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelcache.decision.form import differ_in_form_only
from modelcache.errors import ConfigError
from modelcache.similarity_evaluation.paraphrase import ParaphraseReader
from modelcache.slots.reading import LONGEST
from modelcache.slots.tokens import HAN

SHIPPED = Path(__file__).parent / "calibrations" / "shipped.json"
CHINESE, OTHER = "chinese", "other"
HAN_CHARACTER = re.compile(f"[{HAN}]")
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
        self._read_alone, self._base_alone = (float(tables["alone"][name]) for name in ("read", "base"))
        self._unread_cosine, self._unread_base = (float(value) for value in tables["unread"])
        if min(self._read, self._cosine, self._read_alone, self._unread_cosine) < 0:
            raise ValueError("a weight is negative")
        self.threshold, self.threshold_alone = float(tables["threshold"]), float(tables["alone"]["threshold"])
        self._reaching = [(float(share), float(cosine)) for share, cosine in tables["reaching"]]
        """By confidence, the cosine under which hardly any pair is rated so high; both rise."""

    def confidence(self, log_odds: float, cosine: float | None) -> float:
        """Return the probability that one answer serves both; None: the reader's word alone counts."""
        if cosine is None:
            return _share(self._read_alone * log_odds + self._base_alone)
        return _share(self._read * log_odds + self._cosine * cosine + self._base)

    def unread(self, cosine: float) -> float:
        """Return the same where the pair is not read, by the cosine alone."""
        return _share(self._unread_cosine * cosine + self._unread_base)

    def least(self, threshold: float) -> float:
        """Return the cosine under which hardly any pair reaches the threshold."""
        below = [cosine for share, cosine in self._reaching if share <= threshold]
        return below[-1] if below else LOWEST


class Confidence:
    """Rates pairs; safe to call from many threads.

    Cosines count where they are of the embedder that the calibration was fitted for: those of another mean
    something else.
    """

    def __init__(self, tables: Mapping[str, Any], reader: ParaphraseReader, embedder: str) -> None:
        """``tables`` is what ``calibrate --fit`` writes; KeyError, TypeError or ValueError if it is not.

        ``embedder`` is the name of the one that is in use.
        """
        if tables["format"] != FORMAT:
            raise ValueError("it is of another version")
        self.embedder, self.reader = str(tables["embedder"]), str(tables["reader"])
        self.knows_cosines = self.embedder == embedder
        self._models = {name: LanguageModel(tables["languages"][name]) for name in (CHINESE, OTHER)}
        self._read = reader.log_odds
        self._remembered = lru_cache(REMEMBERED_PAIRS)(reader.log_odds)

    @classmethod
    def load(cls, path: Path, reader: ParaphraseReader, embedder: str) -> "Confidence":
        """Read a calibration; ConfigError says in one sentence what is wrong with it."""
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")), reader, embedder)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ConfigError(f"the calibration {path} cannot be used ({exc!r}): fit it anew") from exc

    def rate(self, asked: str, cached: str, similarity: float | None) -> float:
        """Return the confidence of a pair, 0..1: 0 where it is too long to be read, 1 for equal texts.

        ``similarity`` is the cosine of the two, None where they were not embedded.
        """
        if asked == cached:
            return 1.0
        if differ_in_form_only(asked, cached):
            return FORM_ONLY
        short = max(len(asked), len(cached)) <= REMEMBERED_CHARS
        return self.weigh(asked, (self._remembered if short else self._read)(asked, cached), similarity)

    def weigh(self, asked: str, log_odds: float | None, similarity: float | None) -> float:
        """Return the confidence of a pair that was read, by what the reader says of it."""
        if log_odds is None:
            return 0.0
        return self._model(asked).confidence(log_odds, similarity if self.knows_cosines else None)

    def unread(self, asked: str, similarity: float) -> float:
        """Return the confidence of a pair that is not read, by its cosine."""
        return self._model(asked).unread(similarity) if self.knows_cosines else max(0.0, similarity)

    def least(self, asked: str, threshold: float) -> float:
        """Return the cosine under which hardly any other text than this reaches the threshold."""
        return self._model(asked).least(threshold) if self.knows_cosines else LOWEST

    def threshold(self, asked: str, embedded: bool = True) -> float:
        """Return from which confidence on an answer to this text is reused, unless a user sets another.

        ``embedded``: whether the similarity of the pair is known.
        """
        model = self._model(asked)
        return model.threshold if embedded and self.knows_cosines else model.threshold_alone

    def _model(self, asked: str) -> LanguageModel:
        return self._models[language_of(asked)]


def language_of(text: str) -> str:
    """Return which of the fitted languages a text is in."""
    return CHINESE if HAN_CHARACTER.search(unicodedata.normalize("NFKC", text[:LONGEST])) else OTHER


def _share(log_odds: float) -> float:
    """Return the probability; the exponent is kept where it does not overflow."""
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, log_odds))))
