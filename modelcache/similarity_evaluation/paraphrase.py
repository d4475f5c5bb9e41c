"""A model that reads both questions at once, and says whether one answer serves both.

Each text goes alone through the lower layers of the embedder, and both together through further ones
(PreTTR, MacAvaney et al. 2020, arXiv 2004.14255). So what the embedder has computed is not computed again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelcache.embedding.e5 import E5Embedder, States
from modelcache.embedding.onnx_session import OnnxSession, threads_of_a_text
from modelcache.embedding.shipped import About, checked, shipped_folder
from modelcache.errors import ConfigError

FOLDER = "reader"
GRAPH = "reader.onnx"
STATES = "states"
AVERAGING = "averaging"
APART = "apart"
LOGIT = "logit"
# What surrounds a difference in two long texts, in tokens on each side: enough to understand it by.
SURROUNDINGS = 24
# A pair that differs in more than this is not read, so that a question never waits long.
MOST_TOKENS = 320
MAX_CHARS = 4096
# For the states of some 1,500 questions.
REMEMBERED_BYTES = 24 << 20
BETWEEN = "\t"
# In log-odds: rounding to 8 bits moves a logit by about a tenth.
FURTHEST_FROM_KEPT = 0.5

Inputs = dict[str, NDArray[np.float32]]


class Parts(NamedTuple):
    """Which tokens of two texts are read."""

    one: slice
    other: slice
    whole: bool
    """Whether all that differs is among them."""


def parts(one: Sequence[int], other: Sequence[int], most: int) -> Parts:
    """Choose the tokens that are read: of long texts what differs, and its surroundings."""
    ours, theirs = slice(0, len(one)), slice(0, len(other))
    if len(one) + len(other) > most:
        ours, theirs = _differing(one, other)
    whole = ours.stop - ours.start + theirs.stop - theirs.start <= most
    if not whole:
        ours, theirs = (
            slice(place.start, min(place.stop, place.start + most // 2)) for place in (ours, theirs)
        )
    return Parts(ours, theirs, whole)


def pair_inputs(one: States, other: States) -> Inputs:
    """Return what the graph takes for the states of two texts."""
    ours, theirs = len(one), len(other)
    averaging = np.zeros((1, 2, ours + theirs), np.float32)
    averaging[0, 0, :ours] = 1 / max(1, ours)
    averaging[0, 1, ours:] = 1 / max(1, theirs)
    side = np.repeat([0.0, 1.0], [ours, theirs]).astype(np.float32)
    apart = np.abs(side[:, None] - side[None, :])
    return {
        STATES: np.concatenate([one, other]).astype(np.float32)[None],
        AVERAGING: averaging,
        APART: apart[None, None],
    }


class ParaphraseReader:
    """Reads pairs of questions; safe to call from many threads."""

    def __init__(self, embedder: E5Embedder, threads: int = 0, folder: Path | None = None) -> None:
        """Take the embedder of which it reads the states, the threads of one pair, 0 for as many as are good,
        and the folder of the graph.
        """
        self._embedder = embedder
        self._threads = threads_of_a_text(threads)
        self._folder = folder or shipped_folder(FOLDER)
        self._session: OnnxSession | None = None
        self.name = ""

    def open(self) -> None:
        """Load the graph, beside an open embedder; ConfigError says in one sentence what is wrong with it."""
        about = checked(self._folder, GRAPH)
        self.name = about.name
        self._embedder.remember_states(REMEMBERED_BYTES)
        self._session = OnnxSession(self._folder / GRAPH, self._threads)
        self._check(about)

    def close(self) -> None:
        """Let the weights go; harmless when repeated."""
        self._session = None

    def log_odds(self, asked: str, cached: str) -> float | None:
        """Return what is to be added to the log-odds by the cosine; None for a pair too long to be read.

        The order of the two does not matter.
        """
        if self._session is None:
            raise ConfigError("the reader is not open")
        if max(len(asked), len(cached)) > MAX_CHARS:
            return None
        # In one order, since sums of rounded numbers depend on it in the last digit.
        first, second = sorted((asked, cached))
        read = parts(self._embedder.ids(first), self._embedder.ids(second), MOST_TOKENS)
        if not read.whole:
            return None
        states = self._embedder.states(first)[read.one], self._embedder.states(second)[read.other]
        return float(self._session.run(pair_inputs(*states), [LOGIT])[0].item())

    def _check(self, about: About) -> None:
        """Read what is kept: a processor on which 8-bit products overflow would give other numbers, and so
        would the states of another embedder.
        """
        for pair, (kept,) in about.kept.items():
            found = self.log_odds(*pair.split(BETWEEN))
            if found is None or abs(found - kept) > FURTHEST_FROM_KEPT:
                raise ConfigError(
                    f"the graph in {self._folder} gives other numbers here: it is of another embedder, or of "
                    "another kind of processor"
                )


def kept_pair(asked: str, cached: str) -> str:
    """Return a pair as ``about.json`` names it."""
    return f"{asked}{BETWEEN}{cached}"


def _differing(one: Sequence[int], other: Sequence[int]) -> tuple[slice, slice]:
    """Choose of two token lists what differs and its surroundings."""
    shorter = min(len(one), len(other))
    same = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    start = max(0, same - SURROUNDINGS)
    left = shorter - same
    ending = next((place for place in range(left) if one[-1 - place] != other[-1 - place]), left)
    cut = max(0, ending - SURROUNDINGS)
    return slice(start, len(one) - cut), slice(start, len(other) - cut)
