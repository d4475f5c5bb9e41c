"""What stands before and behind words such as ``to`` and 到, which cannot change places."""

from itertools import pairwise

from modelcache.slots.tokens import PLAIN_WORDS, SMALL_HAN, Token

NEIGHBOURS = 5
REVERSED = "reversed"

Link = tuple[frozenset[str], frozenset[str]]
Turn = tuple[int, int, str]


def links_of(tokens: list[Token], turns: list[Turn]) -> tuple[Link, ...]:
    """Return both sides of each direction word, given by place, length and kind.

    A side reaches no further than the next such word. ``from A … to B`` links what follows both.
    """
    turns = _joined(turns)
    ends = [0, *(start + length for start, length, _ in turns)]
    starts = [*(start for start, _, _ in turns), len(tokens)]
    links: list[Link] = []
    origins: list[frozenset[str]] = []
    goals: list[frozenset[str]] = []
    for index, (start, length, kind) in enumerate(turns):
        before = _parts([token for token in tokens[ends[index] : start] if _says(token)][-NEIGHBOURS:])
        behind = _parts(
            [token for token in tokens[start + length : starts[index + 1]] if _says(token)][:NEIGHBOURS]
        )
        links.append((behind, before) if kind == REVERSED else (before, behind))
        (origins if kind == REVERSED else goals).append(behind)
    links += [(origin, goal) for origin in origins for goal in goals]
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


def _joined(turns: list[Turn]) -> list[Turn]:
    """Take words that follow each other, such as 转 and 到, for one."""
    joined: list[Turn] = []
    for start, length, kind in turns:
        if joined and joined[-1][2] == kind and sum(joined[-1][:2]) == start:
            start, length = joined[-1][0], joined.pop()[1] + length
        joined.append((start, length, kind))
    return joined


def _says(token: Token) -> bool:
    # In A公司收购B公司 the A is no article.
    return token.shown == "A" or token.text not in (SMALL_HAN if token.kind == "han" else PLAIN_WORDS)


def _parts(tokens: list[Token]) -> frozenset[str]:
    """Return words, numbers and pairs of neighbouring Chinese characters: a single one says too little."""
    parts = [token.text for token in tokens if token.kind != "han"]
    pairs = [one.text + next_.text for one, next_ in pairwise(tokens) if one.kind == next_.kind == "han"]
    return frozenset(parts + pairs)
