"""How sure it is that a cached answer may be reused: a calibrated probability.

A calibration is fitted on labelled question pairs by ``python -m modelcache calibrate --fit``, for one
embedder, since a cosine means nothing across embedders. Half of the questions it is fitted on have their
answer in the cache and half have only one alike: a confidence of 0.9 is right nine times of ten there.
"""

import json
import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from modelcache.decision.features import NAMES, View, differ_in_form_only, features, view
from modelcache.decision.forest import Forest
from modelcache.embedding.base import Embeddings
from modelcache.errors import ConfigError
from modelcache.slots.guard import SlotGuard
from modelcache.slots.reading import LONGEST
from modelcache.slots.tokens import HAN

SHIPPED = Path(__file__).parent / "calibrations"
CHINESE, OTHER = "chinese", "other"
HAN_CHARACTER = re.compile(f"[{HAN}]")
FORMAT = 3
REMEMBERED_TEXTS = 2048
REMEMBERED_CHARS = 256


@dataclass(frozen=True, slots=True)
class Pair:
    """The asked question beside a cached one, and what is known of them."""

    asked: str
    cached: str
    rules: Collection[str]
    """The rules of the slot guard by which they differ."""
    similarity: float
    """Cosine of their embeddings."""
    others: Sequence[float]
    """Cosines of the asked question and other cached ones that have another answer."""
    embeddings: tuple[Embeddings, Embeddings] | None = field(default=None, compare=False)
    """Of the asked question and the cached one, each float32 (dimension,); None: not known."""


class Words:
    """What the words say that only one of two texts has: some change a question, others do not."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self._differing: Mapping[str, float] = tables["differing"]
        self._base = float(tables["base"])

    def score(self, asked: View, cached: View) -> float:
        """Return the log-odds by these words alone."""
        differing = asked.tokens ^ cached.tokens
        found = [self._differing.get(token, 0.0) for token in differing]
        return self._base + sum(found) / math.sqrt(len(differing) or 1)


class Directions:
    """What it says in which directions two embeddings agree or differ: the cosine counts all alike."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self._products = np.array(tables["products"], np.float32)
        self._differences = np.array(tables["differences"], np.float32)
        self._base = float(tables["base"])
        if self._products.shape != self._differences.shape:
            raise ValueError("its directions are of two lengths")

    @property
    def dimension(self) -> int:
        return len(self._products)

    def score(self, embeddings: tuple[Embeddings, Embeddings] | None) -> float:
        """Return the log-odds by these directions alone; 0 where the embeddings are not known."""
        if embeddings is None:
            return 0.0
        asked, cached = embeddings
        differing = np.abs(asked - cached)
        return self._base + float((asked * cached) @ self._products + differing @ self._differences)


class LanguageModel:
    """The confidence for one language."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.words = Words(tables["words"])
        self.directions = Directions(tables["directions"])
        self.forest = Forest(tables["forest"])
        self.slope, self.offset = (float(tables[name]) for name in ("slope", "offset"))
        self.threshold = float(tables["threshold"])
        self._reaching = [(float(share), float(cosine)) for share, cosine in tables["reaching"]]
        """By confidence, the cosine under which hardly any pair is rated so high; both rise."""
        self.form_only = float(tables["form_only"])
        """How many of those that differ in form only are the same: no such pair is rated less."""

    def least(self, threshold: float) -> float:
        """Return the cosine under which hardly any pair reaches the threshold.

        Where that is lower than any share known, it is the one under which pairs are rated 0, which costs
        nothing.
        """
        below = [cosine for share, cosine in self._reaching if share <= threshold]
        return below[-1] if below else self._reaching[0][1]


class Confidence:
    """Rates pairs; safe to call from many threads."""

    def __init__(self, tables: Mapping[str, Any], slot_guard: SlotGuard) -> None:
        """``tables`` is what ``calibration.fit`` writes; KeyError, TypeError or ValueError if it is not."""
        if tables["format"] != FORMAT or tuple(tables["features"]) != NAMES:
            raise ValueError("it is of another version")
        self.embedder = str(tables["embedder"])
        self._floor = float(tables["floor"])
        self._models = {name: LanguageModel(one) for name, one in tables["languages"].items()}
        self._slot_guard = slot_guard
        self._remembering = lru_cache(REMEMBERED_TEXTS)(self._read)
        self.dimension = self._models[OTHER].directions.dimension
        if self._models[CHINESE].directions.dimension != self.dimension:
            raise ValueError("its languages are of two dimensions")

    @classmethod
    def load(cls, path: Path, slot_guard: SlotGuard) -> "Confidence":
        """Read a calibration; ConfigError says in one sentence what is wrong with it."""
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")), slot_guard)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ConfigError(f"the calibration {path} cannot be used ({exc!r}): fit it anew") from exc

    def rate(self, pairs: Sequence[Pair]) -> list[float]:
        """Return the confidence of each pair of one asked question, 0..1."""
        if not pairs:
            return []
        asked = self._view(pairs[0].asked)
        model = self._models[language_of(pairs[0].asked)]
        # Equal texts, as two last turns may be, are beyond what is fitted.
        shares = [1.0 if pair.asked == pair.cached else 0.0 for pair in pairs]
        least = model.least(0.0)
        near = [place for place, pair in enumerate(pairs) if not shares[place] and pair.similarity >= least]
        rows = []
        at_least = []
        for pair in [pairs[place] for place in near]:
            cached = self._view(pair.cached)
            scores = model.words.score(asked, cached), model.directions.score(pair.embeddings)
            rows.append(
                features(asked, cached, pair.rules, pair.similarity, pair.others, self._floor, *scores)
            )
            form_only = not pair.rules and differ_in_form_only(asked, cached)
            at_least.append(model.form_only if form_only else 0.0)
        if rows:
            odds = model.slope * model.forest.predict(np.stack(rows)) + model.offset
            rated = np.maximum(1.0 / (1.0 + np.exp(-odds)), at_least)
            for place, share in zip(near, rated.tolist(), strict=True):
                shares[place] = share
        return shares

    def least(self, asked: str, threshold: float) -> float:
        """Return the cosine under which hardly any other text than this reaches the threshold."""
        return self._models[language_of(asked)].least(threshold)

    def threshold(self, asked: str) -> float:
        """Return from which confidence on an answer to this text is reused, unless a user sets another."""
        return self._models[language_of(asked)].threshold

    def _view(self, text: str) -> View:
        return self._remembering(text) if len(text) <= REMEMBERED_CHARS else self._read(text)

    def _read(self, text: str) -> View:
        return view(text, self._slot_guard.read(text))


def language_of(text: str) -> str:
    """Return which of the fitted languages a text is in."""
    return CHINESE if HAN_CHARACTER.search(unicodedata.normalize("NFKC", text[:LONGEST])) else OTHER
