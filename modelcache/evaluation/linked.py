"""Texts that labels link, over any number of others."""

import hashlib
from collections.abc import Iterable


def components(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map each text to the smallest one that it is linked with."""
    above: dict[str, str] = {}

    def root(text: str) -> str:
        above.setdefault(text, text)
        while above[text] != text:
            above[text] = above[above[text]]
            text = above[text]
        return text

    for one, other in links:
        smaller, larger = sorted((root(one), root(other)))
        above[larger] = smaller
    return {text: root(text) for text in above}


def share_of(component: str) -> float:
    """Return a number from 0 to 1 by which components are divided: by chance, but always alike."""
    return hashlib.sha256(component.encode(errors="surrogatepass")).digest()[0] / 256
