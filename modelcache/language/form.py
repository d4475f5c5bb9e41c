"""Two texts that say the same in another form: politeness, capitals, punctuation."""

from modelcache.language.tokens import SMALL_WORDS, words_of
from modelcache.language.wording import shipped_wording

LONGEST = 1024


def differ_in_form_only(one: str, other: str) -> bool:
    """Tell two texts that are one when politeness, capitals and punctuation are left out."""
    if max(len(one), len(other)) > LONGEST:
        return False
    wording = shipped_wording()
    folded = wording.fold(one)
    if folded != wording.fold(other):
        return False
    return bool(frozenset(words_of(folded)) - SMALL_WORDS - wording.particles)
