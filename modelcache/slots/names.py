"""Words that are names by their looks: a capital, Latin letters inside Chinese, the marks of a title."""

import re

from modelcache.slots.tokens import Token

TITLE = re.compile(r"《([^《》]{1,40})》")


def names_of(tokens: list[Token], marked: set[int], chinese: bool) -> frozenset[str]:
    """Return the words that look like names, but for those at ``marked``, which the tables know."""
    words = [(place, token) for place, token in enumerate(tokens) if token.kind == "word"]
    if chinese:
        named = [place for place, _ in words]
    elif all(token.shown[0].isupper() for _, token in words):
        # Where every word begins with a capital, a capital says nothing.
        return frozenset()
    else:
        named = [place for place, token in words if token.shown[0].isupper()]
        if named[:1] == [words[0][0]] and not words[0][1].shown.isupper():
            named = named[1:]
    return frozenset(
        tokens[place].text for place in named if place not in marked and len(tokens[place].text) > 1
    )


def titles_of(text: str) -> frozenset[str]:
    """Return what stands in 《》."""
    return frozenset("".join(title.split()).lower() for title in TITLE.findall(text))
