"""The words of a text that say something, by their stems, and the capitals that stand by themselves."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from modelcache.language.tokens import FORM_WORDS, SMALL_HAN, Token

# Words that begin alike are taken for forms of one: create and creating.
STEM = 5
STEMS_REMEMBERED = 8192
ENDING = re.compile("(?<=...)(?:ings?|ed|es|e|s)$")
# A capital by itself tells a kind, a size or a plan; of "I" and a leading "A" it is a word.
SIZES = frozenset({"XS", "XL", "XXL", "XXXL"})


@lru_cache(STEMS_REMEMBERED)
def stem_of(word: str) -> str:
    """Return what the forms of a word have in common, roughly."""
    stem = ENDING.sub("", word)
    if len(stem) > 2 and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem[:STEM]


def content_of(tokens: list[Token], skipped: set[int]) -> frozenset[str]:
    """Return the stems of the words that say something, but for those at the places skipped."""
    found = set()
    for place, (text, kind, _) in enumerate(tokens):
        if place in skipped:
            continue
        if kind == "han":
            if text not in SMALL_HAN:
                found.add(text)
        elif text not in FORM_WORDS:
            found.add(stem_of(text))
    return frozenset(found)


def denied_of(tokens: list[Token], negated: set[int]) -> Iterator[str]:
    """Give the stem of the first word with a meaning behind each negation."""
    for place in negated:
        if place + 1 not in negated:
            yield from islice((_stem(token) for token in tokens[place + 1 :] if _says(token)), 1)


def initials_of(tokens: list[Token]) -> str:
    """Return the first letter of each word that is more than a question's form."""
    return "".join([token.text[0] for token in tokens if token.kind == "word" and _says(token)])


def letters_of(tokens: list[Token], chinese: bool) -> set[str]:
    """Return the capitals that stand by themselves, as in vitamin C, size M and A型."""
    if not chinese and all(token.shown.isupper() for token in tokens if token.kind == "word"):
        return set()
    return {
        token.shown
        for place, token in enumerate(tokens)
        if token.shown in SIZES
        or (
            (len(token.shown) == 1 and token.shown.isupper() and token.shown != "I")
            and (chinese if not place else tokens[place - 1].kind != "number")
        )
    }


def _says(token: Token) -> bool:
    return token.text not in (SMALL_HAN if token.kind == "han" else FORM_WORDS)


def _stem(token: Token) -> str:
    return token.text if token.kind == "han" else stem_of(token.text)
