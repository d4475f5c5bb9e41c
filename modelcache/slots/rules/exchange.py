"""Two things of one kind that change places in otherwise equal texts."""

from collections import Counter
from collections.abc import Iterable, Sequence

from modelcache.slots.pair import ALIKE
from modelcache.slots.places import NAMES, Role

# Names stand in many places of a text: they need a larger share of common words.
ALIKE_NAMES = 0.8
LONGEST_ORDER = 40


def roles_change(
    asked: Sequence[Role], cached: Sequence[Role], words: Sequence[str], other_words: Sequence[str]
) -> bool:
    """Tell two roles of one kind that follow each other the other way round, in texts alike otherwise."""
    if asked == cached or len(asked) < 2:
        return False
    once = _once(asked) & _once(cached)
    ours, theirs = ([role for role in side if role in once] for side in (asked, cached))
    if ours == theirs:
        return False
    place = {role: number for number, role in enumerate(theirs)}
    kinds = {
        one[0]
        for number, one in enumerate(ours)
        for other in ours[number + 1 :]
        if one[0] == other[0] and place[one] > place[other]
    }
    if not kinds:
        return False
    common = sum((Counter(words) & Counter(other_words)).values())
    alike = common / max(len(words), len(other_words), 1)
    return alike >= (ALIKE if kinds - NAMES else ALIKE_NAMES)


def sides_change(asked: Sequence[str], cached: Sequence[str], turning: frozenset[str] | None = None) -> bool:
    """Tell A … B from B … A in texts of the same words.

    ``turning`` is what between them says which acts on which, and one character more on either side does
    no harm then; None: any word between them may.
    """
    if max(len(asked), len(cached)) > LONGEST_ORDER or asked == cached:
        return False
    common = Counter(asked) & Counter(cached)
    if max(len(asked), len(cached)) - sum(common.values()) > (turning is not None):
        return False
    ours, theirs = _kept(asked, common), _kept(cached, common)
    while ours and ours[0] == theirs[0]:
        ours, theirs = ours[1:], theirs[1:]
    while ours and ours[-1] == theirs[-1]:
        ours, theirs = ours[:-1], theirs[:-1]
    length = len(ours)
    for first in range(1, length - 1):
        if theirs[length - first :] != ours[:first]:
            continue
        for last in range(1, length - first):
            between = ours[first : length - last]
            if ours[length - last :] == theirs[:last] and between == theirs[last : length - first]:
                return turning is None or not turning.isdisjoint(between)
    return False


def _once(roles: Iterable[Role]) -> set[Role]:
    return {role for role, count in Counter(roles).items() if count == 1}


def _kept(words: Sequence[str], common: Counter[str]) -> list[str]:
    left = Counter(common)
    kept = []
    for word in words:
        if left[word] > 0:
            left[word] -= 1
            kept.append(word)
    return kept
