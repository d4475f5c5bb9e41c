"""Which of a text's tokens a tokenizer does not know; what the fast tokenizers of all embedders share."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

Range = tuple[int, int]


def unknown_ranges(text: str, tokens: Iterable[tuple[int, Range]], unknown: int | None) -> list[Range]:
    """Return where the tokens with the id ``unknown`` are; each token comes with its start and end.

    A space that a tokenizer counts to the word behind it is left out.
    """
    ranges = []
    for token, (start, end) in tokens:
        if token != unknown:
            continue
        start += len(text[start:end]) - len(text[start:end].lstrip())
        if start < end:
            ranges.append((start, end))
    return ranges


def add_lower_case(tokenizer: Any) -> None:
    """Have a tokenizer of the library ``tokenizers`` lower each text first, as sentence-transformers does."""
    normalizers: Any = import_module("tokenizers.normalizers")
    own = tokenizer.normalizer
    steps = [normalizers.Lowercase()] + ([own] if own is not None else [])
    tokenizer.normalizer = normalizers.Sequence(steps)
