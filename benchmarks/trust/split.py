"""Which pairs may be fitted on, and which are asked: no question is in both.

Pairs share questions, so a random split of pairs would ask what was fitted on. Here all questions that
are linked by pairs, of either label, stay together.
"""

import hashlib
from collections.abc import Iterable, Mapping

from benchmarks.question_pairs import Pair
from benchmarks.slots import is_tuned
from modelcache.processor.pre import normalise


class Split:
    """Halves of the components of questions; made once of all pairs of a language."""

    def __init__(self, components: Mapping[str, str], tuned: frozenset[str]) -> None:
        self._components = components
        self._tuned = tuned

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> "Split":
        """Split all pairs; leaving some of them out may move others."""
        pairs = list(pairs)
        linked = components((normalise(pair.cached), normalise(pair.asked)) for pair in pairs)
        tuned = frozenset(linked[normalise(pair.cached)] for pair in pairs if is_tuned(pair))
        return cls(linked, tuned)

    def is_fitted(self, pair: Pair) -> bool:
        """Tell the half that a decision may be fitted on; the other one is asked.

        What the slot tables were made on has been seen already, and is never asked.
        """
        component = self.component(pair)
        return component in self._tuned or hashlib.sha256(component.encode()).digest()[0] < 128

    def component(self, pair: Pair) -> str:
        """Return the smallest text of all questions that are linked with these two."""
        return self._components[normalise(pair.cached)]


def components(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map each text to the smallest one that it is linked with, over any number of links."""
    above: dict[str, str] = {}

    def root(text: str) -> str:
        above.setdefault(text, text)
        while above[text] != text:
            above[text] = above[above[text]]
            text = above[text]
        return text

    for one, other in links:
        smaller, larger = sorted((root(one), root(other)))
        above[larger] = smaller
    return {text: root(text) for text in above}
