"""What the tables list: each text has a value the other lacks, or only one has any."""

from collections.abc import Iterator

from modelcache.slots.pair import Pair

ALIKE_ONE_SIDED = 0.5
# Rules that are not decided by one side's value missing on the other.
SEPARATE = frozenset({"name", "negation"})


def differ(pair: Pair) -> Iterator[str]:
    asked, cached = pair.asked.values, pair.cached.values
    plain = pair.chinese or pair.alike >= ALIKE_ONE_SIDED
    for key in sorted(asked.keys() | cached.keys()):
        rule, _ = key
        if rule in SEPARATE:
            continue
        ours, theirs = asked.get(key, frozenset()), cached.get(key, frozenset())
        if rule == "unit":
            ours = ours.difference(*(one.units for one, _ in pair.same))
            theirs = theirs.difference(*(other.units for _, other in pair.same))
        if ours and theirs:
            differs = bool(ours - theirs) and bool(theirs - ours)
        else:
            differs = plain and rule in pair.tables.one_sided
        if differs:
            yield rule
