"""Cuts texts into the pieces of a Unigram vocabulary.

``tokenizers`` and ``sentencepiece`` do the same, but keep the 250,000 pieces of XLM-RoBERTa in 280 and 56 MB
of memory that each process has to itself. Here they lie in a trie of 0.8 MB that processes share.
"""

import re
from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from marisa_trie import Trie
from numpy.typing import NDArray

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
CACHED_WORDS = 8192
CACHED_CHARS = 24
# A character that is in no piece is this much less likely than the rarest piece.
PENALTY = 10.0
_SPACES = re.compile(" +")


class Unigram:
    """Finds the pieces whose probabilities have the largest product (Kudo 2018, arXiv 1804.10959).

    Safe to use from many threads.
    """

    def __init__(
        self,
        trie: Trie,
        ids: NDArray[np.int32],
        scores: NDArray[np.float32],
        replaced: Mapping[int, str],
        unknown: int,
        longest: int,
    ) -> None:
        """Take the pieces in a trie and, by the trie's keys, their ids and the logarithms of their
        probabilities; ``replaced`` is what stands for a character before a text is cut, ``longest`` the
        characters of the longest piece.
        """
        self._trie = trie
        # An array gives a single number sooner than NumPy does, and is as small.
        self._ids = array("i", ids.tobytes())
        self._scores = array("f", scores.tobytes())
        self._replaced = replaced
        self._unknown = unknown
        self._unknown_score = float(scores.min()) - PENALTY
        self._longest = longest
        self._cut_often = lru_cache(CACHED_WORDS)(self._ids_of)

    def ids(self, text: str) -> list[int]:
        """Return the ids of the text's pieces; an unknown character has the unknown id."""
        found: list[int] = []
        for word in _words(self._marked(text)):
            found += self._cut_often(word) if len(word) <= CACHED_CHARS else self._ids_of(word)
        return found

    def unknown(self, text: str) -> list[tuple[int, int]]:
        """Return which characters of the text are in no piece, as ranges (start, end)."""
        return _ranges([place for place, one in enumerate(text) if not self._knows(one)])

    def _knows(self, character: str) -> bool:
        replacement = self._replaced.get(ord(character), character).replace(" ", SPACE)
        return all(one in self._trie for one in replacement)

    def _marked(self, text: str) -> str:
        """Return the text with a mark for each run of spaces, and one at its start."""
        text = _SPACES.sub(SPACE, text.translate(self._replaced))
        return text if text.startswith(SPACE) else SPACE + text

    def _ids_of(self, word: str) -> tuple[int, ...]:
        """Cut a word: the best way to each place is the best way to an earlier one, and a piece."""
        end = len(word)
        best = [0.0] + [float("-inf")] * end
        came_from = [0] * (end + 1)
        piece = [self._unknown] * (end + 1)
        prefixes, key_of, scores = self._trie.prefixes, self._trie.__getitem__, self._scores
        for place in range(end):
            here = best[place]
            for found in prefixes(word[place : place + self._longest]):
                key, after = key_of(found), place + len(found)
                score = here + scores[key]
                if score > best[after]:
                    best[after], came_from[after], piece[after] = score, place, self._ids[key]
            if here + self._unknown_score > best[place + 1]:
                best[place + 1], came_from[place + 1] = here + self._unknown_score, place
                piece[place + 1] = self._unknown
        ids = []
        while end:
            ids.append(piece[end])
            end = came_from[end]
        return tuple(reversed(ids))


def _words(text: str) -> list[str]:
    """Cut before each mark of a space: no piece has one but at its start."""
    return [SPACE + word for word in text.split(SPACE)[1:]]


def _ranges(places: Sequence[int]) -> list[tuple[int, int]]:
    """Join neighbours: [3, 4, 7] are (3, 5) and (7, 8)."""
    ranges: list[tuple[int, int]] = []
    for place in places:
        if ranges and ranges[-1][1] == place:
            ranges[-1] = (ranges[-1][0], place + 1)
        else:
            ranges.append((place, place + 1))
    return ranges
