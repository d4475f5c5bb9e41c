"""What stands before and behind words such as ``to`` and 到, which cannot change places."""

from itertools import pairwise

from modelcache.slots.tokens import PLAIN_WORDS, Token

NEIGHBOURS = 4
REVERSED = "reversed"

Link = tuple[frozenset[str], frozenset[str]]
Turn = tuple[int, int, str]


def links_of(tokens: list[Token], turns: list[Turn]) -> tuple[Link, ...]:
    """Return both sides of each direction word, given by place, length and kind.

    A side reaches no further than the next such word.
    """
    ends = [0, *(start + length for start, length, _ in turns)]
    starts = [*(start for start, _, _ in turns), len(tokens)]
    links = []
    for index, (start, length, kind) in enumerate(turns):
        end = start + length
        before = _parts(tokens[max(ends[index], start - NEIGHBOURS) : start])
        behind = _parts(tokens[end : min(starts[index + 1], end + NEIGHBOURS)])
        links.append((behind, before) if kind == REVERSED else (before, behind))
    return tuple(links)


def change_places(asked: tuple[Link, ...], cached: tuple[Link, ...]) -> bool:
    """Tell whether something before a direction word here is behind one there, and the other way round."""
    if asked == cached:
        return False
    return any(
        (before - behind) & (other_behind - other_before)
        and (behind - before) & (other_before - other_behind)
        for before, behind in asked
        for other_before, other_behind in cached
    )


def _parts(tokens: list[Token]) -> frozenset[str]:
    """Return words, numbers and pairs of neighbouring Chinese characters: a single one says too little."""
    parts = [token.text for token in tokens if token.kind != "han" and token.text not in PLAIN_WORDS]
    pairs = [one.text + next_.text for one, next_ in pairwise(tokens) if one.kind == next_.kind == "han"]
    return frozenset(parts + pairs)
