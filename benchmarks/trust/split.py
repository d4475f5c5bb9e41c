"""Which pairs are taught, which may be fitted on, and which are asked: no question is in two of these.

Pairs share questions, so a random split of pairs would ask what was fitted on. Here all questions that
are linked by pairs, of either label, stay together.
"""

from collections.abc import Iterable, Mapping

from benchmarks.slots import is_tuned
from modelcache.evaluation.linked import components, share_of
from modelcache.records.dialogue import normalise
from modelcache.training.sources import TAUGHT_SHARE
from tests.support.question_pairs import Pair

CHINESE = "Chinese"
ASKED_SHARE = 0.25


class Split:
    """Parts of the components of questions; made once of all pairs of a language."""

    def __init__(self, components: Mapping[str, str], tuned: frozenset[str], taught: float) -> None:
        self._components = components
        self._tuned = tuned
        self._taught = taught

    @classmethod
    def of(cls, pairs: Iterable[Pair], language: str) -> "Split":
        """Split all pairs; leaving some of them out may move others."""
        pairs = list(pairs)
        linked = components((normalise(pair.cached), normalise(pair.asked)) for pair in pairs)
        tuned = frozenset(linked[normalise(pair.cached)] for pair in pairs if is_tuned(pair))
        # The weights that are shipped were taught with a part of the Chinese ones.
        return cls(linked, tuned, TAUGHT_SHARE if language == CHINESE else 0.0)

    def is_fitted(self, pair: Pair) -> bool:
        """Tell what a decision may be fitted on: neither taught nor asked."""
        return not self.is_asked(pair) and share_of(self.component(pair)) >= self._taught

    def is_unseen_and_fitted(self, pair: Pair) -> bool:
        """Tell the part of it that the slot tables were not made on, so that the rules flatter no figure."""
        return self.is_fitted(pair) and self.component(pair) not in self._tuned

    def is_asked(self, pair: Pair) -> bool:
        """Tell what is only asked; what the slot tables were made on has been seen already, and never is."""
        component = self.component(pair)
        return component not in self._tuned and share_of(component) >= 1 - ASKED_SHARE

    def component(self, pair: Pair) -> str:
        """Return the smallest text of all questions that are linked with these two."""
        return self._components[normalise(pair.cached)]
