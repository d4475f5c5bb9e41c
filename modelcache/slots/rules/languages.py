"""The language that a text is written in."""

from collections.abc import Iterator

from modelcache.language.written import Language, best_of
from modelcache.slots.pair import Pair

LEAST_LEAD = 3


def differ(pair: Pair) -> Iterator[str]:
    asked, cached = pair.asked, pair.cached
    # Where both say which language they want, it is the rule of that name that tells.
    wanted = asked.of("language") & cached.of("language")
    if not wanted and _languages_differ(asked.language, cached.language):
        yield "written-in"


def _languages_differ(asked: Language, cached: Language) -> bool:
    """Tell two languages where both texts say plainly which they are in."""
    if asked.script != cached.script:
        return bool(asked.script and cached.script) and not _both_han(asked, cached)
    if not (asked.votes and cached.votes):
        return False
    ours, theirs = best_of(asked.votes), best_of(cached.votes)
    if not ours or not theirs or ours == theirs:
        return False
    leads = (
        asked.votes[ours] - asked.votes.get(theirs, 0),
        cached.votes[theirs] - cached.votes.get(ours, 0),
    )
    return min(leads) > 0 and sum(leads) >= LEAST_LEAD


def _both_han(asked: Language, cached: Language) -> bool:
    return {asked.script, cached.script} in ({"han", "simplified"}, {"han", "traditional"})
