"""What a number is part of."""

from collections.abc import Iterator

from modelcache.slots.pair import Pair


def differ(pair: Pair) -> Iterator[str]:
    if _identifiers_differ(pair):
        yield "identifier"


def _identifiers_differ(pair: Pair) -> bool:
    """Tell one number that is part of different names."""
    asked, cached = pair.asked.identifiers, pair.cached.identifiers
    common = asked.forms.keys() & cached.forms.keys()
    if any(
        not _agree(asked.forms[number], cached.forms[number])
        for number in common & (asked.mixed | cached.mixed)
    ):
        return True
    # iPhone 15 and iPhone 15 Pro, in texts that are the same otherwise.
    changed = pair.asked.words ^ pair.cached.words
    named = {places[number] for places in (asked.behind, cached.behind) for number in common & places.keys()}
    return bool(changed) and len(changed) <= 2 and changed <= named


def _agree(forms: frozenset[str], other_forms: frozenset[str]) -> bool:
    """Tell that one may be the other, with more of a name before it: Rs500 and 500, A92s and OppoA92s."""
    return any(one.endswith(other) or other.endswith(one) for one in forms for other in other_forms)
