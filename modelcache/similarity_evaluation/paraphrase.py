"""A model that reads both questions at once, and says whether one answer serves both."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.embedding.e5_weights import E5Weights, wheel_file
from modelcache.embedding.onnx_session import OnnxSession, threads_of_a_text
from modelcache.embedding.shipped import About, checked, shipped_folder
from modelcache.embedding.text import clean
from modelcache.errors import ConfigError

FOLDER = "reader"
GRAPH = "reader.onnx"
INPUT = "states"
AVERAGING = "averaging"
OUTPUT = "logit"
# What surrounds a difference in two long texts, in tokens on each side: enough to understand it by.
SURROUNDINGS = 24
# A pair that differs in more than this is not read, so that a question never waits long.
MOST_TOKENS = 320
MAX_CHARS = 4096
BETWEEN = "\t"
# In log-odds: rounding to 8 bits moves a logit by about a tenth.
FURTHEST_FROM_KEPT = 0.5


class Arranged(NamedTuple):
    """The tokens of a pair as they are read: ``<s> asked </s> </s> cached </s>``."""

    ids: list[int]
    asked: tuple[int, int]
    """Where the asked question's tokens start and end."""
    cached: tuple[int, int]
    whole: bool
    """Whether all that differs is among them."""


def arranged(inputs: E5Inputs, asked: Sequence[int], cached: Sequence[int], most: int) -> Arranged:
    """Arrange two questions' tokens; what long ones begin and end with alike is cut to its surroundings."""
    room = most - 4
    if len(asked) + len(cached) > room:
        asked, cached = _differing(asked, cached)
    whole = len(asked) + len(cached) <= room
    if not whole:
        asked, cached = asked[: room // 2], cached[: room // 2]
    begin, end = inputs.begin, inputs.end
    ids = [begin, *asked, end, end, *cached, end]
    start = len(asked) + 3
    return Arranged(ids, (1, 1 + len(asked)), (start, start + len(cached)), whole)


def averaging(pair: Arranged) -> NDArray[np.float32]:
    """Return the weights that make the two means of the tokens' states, (1, 2, tokens)."""
    weights = np.zeros((1, 2, len(pair.ids)), np.float32)
    for row, (start, end) in enumerate((pair.asked, pair.cached)):
        weights[0, row, start:end] = 1 / max(1, end - start)
    return weights


class ParaphraseReader:
    """Reads pairs of questions; safe to call from many threads."""

    def __init__(self, threads: int = 0, folder: Path | None = None) -> None:
        """Take the threads of one pair, 0 for as many as are good, and the folder of the graph."""
        self._threads = threads_of_a_text(threads)
        self._folder = folder or shipped_folder(FOLDER)
        self._session: OnnxSession | None = None
        self.name = ""

    def open(self) -> None:
        """Load the graph; ConfigError says in one sentence what is wrong with it."""
        about = checked(self._folder, GRAPH)
        self.name = about.name
        self._inputs = E5Inputs(E5Weights(wheel_file()))
        self._session = OnnxSession(self._folder / GRAPH, self._threads)
        self._check(about)

    def close(self) -> None:
        """Let the weights go; harmless when repeated."""
        self._session = None

    def log_odds(self, asked: str, cached: str) -> float | None:
        """Return what is to be added to the log-odds by the cosine; None for a pair too long to be read.

        The order of the two does not matter: the one that sorts first is read first.
        """
        if self._session is None:
            raise ConfigError("the reader is not open")
        if max(len(asked), len(cached)) > MAX_CHARS:
            return None
        first, second = sorted(self._inputs.tokens(clean(text, MAX_CHARS)) for text in (asked, cached))
        pair = arranged(self._inputs, first, second, MOST_TOKENS)
        if not pair.whole:
            return None
        inputs = {INPUT: self._inputs.states(pair.ids), AVERAGING: averaging(pair)}
        return float(self._session.run(inputs, [OUTPUT])[0].item())

    def _check(self, about: About) -> None:
        """Read what is kept: a processor on which 8-bit products overflow would give other numbers."""
        for pair, (kept,) in about.kept.items():
            found = self.log_odds(*pair.split(BETWEEN))
            if found is None or abs(found - kept) > FURTHEST_FROM_KEPT:
                raise ConfigError(f"the graph in {self._folder} gives other numbers on this processor")


def kept_pair(asked: str, cached: str) -> str:
    """Return a pair as ``about.json`` names it."""
    return f"{asked}{BETWEEN}{cached}"


def _differing(one: Sequence[int], other: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Cut two token lists to what differs and its surroundings."""
    shorter = min(len(one), len(other))
    same = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    start = max(0, same - SURROUNDINGS)
    left = shorter - same
    ending = next((place for place in range(left) if one[-1 - place] != other[-1 - place]), left)
    cut = max(0, ending - SURROUNDINGS)
    return one[start : len(one) - cut], other[start : len(other) - cut]
