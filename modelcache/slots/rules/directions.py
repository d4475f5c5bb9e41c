"""Who does it to whom, and from where to where: what changes places though the words stay the same."""

from collections.abc import Iterator

from modelcache.slots.directions import Link
from modelcache.slots.pair import ALIKE, Pair
from modelcache.slots.places import ACTS, NAMES, SUFFERS
from modelcache.slots.rules.exchange import roles_change, sides_change

ALIKE_HAN = 0.5
# So that the cost of a long text is bounded.
FEW_LINKS = 6


def differ(pair: Pair) -> Iterator[str]:
    asked, cached = pair.asked, pair.cached
    near_enough = max(pair.alike, pair.akin) >= (ALIKE_HAN if pair.chinese else ALIKE)
    if (
        (near_enough and _change_places(asked.links, cached.links))
        or _actors_change(pair)
        or (pair.akin == 1 and asked.initials != cached.initials and _other_is_asked_for(pair))
    ):
        yield "direction"


def _change_places(asked: tuple[Link, ...], cached: tuple[Link, ...]) -> bool:
    """Tell whether something before a direction word here is behind one there, and the other way round."""
    if asked == cached:
        return False
    ours, theirs = asked, cached
    if max(len(asked), len(cached)) > FEW_LINKS:
        # What both texts say is no change: one sentence would be compared with others.
        ours, theirs = (tuple(set(one) - set(other)) for one, other in ((asked, cached), (cached, asked)))
    return any(
        (before - behind) & (other_behind - other_before)
        and (behind - before) & (other_before - other_behind)
        for before, behind in ours
        for other_before, other_behind in theirs
    )


def _actors_change(pair: Pair) -> bool:
    """Tell who does it to whom, unless two are on one footing or one text only is in the passive voice."""
    asked, cached = pair.asked.places, pair.cached.places
    if asked.mutual or cached.mutual or asked.passive != cached.passive:
        return False
    clauses = asked.clauses or cached.clauses
    if not pair.chinese:
        # Where there are direction words between things in both texts, these tell.
        linked = _has_sides(pair.asked.links) and _has_sides(pair.cached.links)
        return not (clauses or linked) and (
            roles_change(asked.roles, cached.roles, asked.order, cached.order)
            or sides_change(asked.order, cached.order)
        )
    # Places and brands stand where they like in Chinese, and clauses as well.
    people, others = ([role for role in places.roles if role[0] not in NAMES] for places in (asked, cached))
    return roles_change(people, others, asked.order, cached.order) or (
        not clauses and sides_change(asked.order, cached.order, asked.turning & cached.turning)
    )


def _has_sides(links: tuple[Link, ...]) -> bool:
    """Tell whether something stands on both sides of a direction word: one at the end says nothing."""
    return any(before and behind for before, behind in links)


def _other_is_asked_for(pair: Pair) -> bool:
    """Tell the one who acts from the one who suffers, in texts of the same words."""
    return {pair.asked.places.asked_for, pair.cached.places.asked_for} == {ACTS, SUFFERS}
