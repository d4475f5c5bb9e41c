"""From accepted candidates to the one that answers."""

import random
from collections.abc import Callable, Mapping, Sequence

from modelcache.records.entry import Candidate


def first(candidates: Sequence[Candidate]) -> Candidate:
    """Choose the nearest of the accepted candidates, which come nearest first."""
    return candidates[0]


def random_one(candidates: Sequence[Candidate]) -> Candidate:
    """Choose any of the accepted candidates, for answers that should vary."""
    return random.choice(candidates)


POST_PROCESSES: Mapping[str, Callable[[Sequence[Candidate]], Candidate]] = {
    "first": first,
    "random_one": random_one,
}
