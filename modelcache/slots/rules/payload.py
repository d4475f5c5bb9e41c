"""The text that a prompt hands on to be worked on."""

from collections.abc import Iterator

from modelcache.slots.pair import Pair

# Of the longer payload so many words are in the other, where the same text was put a little differently.
ALIKE = 0.6


def differ(pair: Pair) -> Iterator[str]:
    """Tell payloads that have little in common."""
    asked, cached = pair.asked.payload, pair.cached.payload
    if asked and cached and len(asked & cached) < ALIKE * max(len(asked), len(cached)):
        yield "payload"
