"""What all embedders do to a text, and to a model's name, before they use it."""

import re
from hashlib import sha256

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS = 64


def clean(text: str, max_chars: int) -> str:
    """Return the text as a tokenizer can take it, at most ``max_chars`` characters long.

    Beyond that the first and the last half of the allowance are kept: a long prompt tends to say
    what it wants at one of its ends. A NUL becomes a space, because C tokenizers stop at it and
    everything behind it would be ignored; a lone surrogate, which UTF-8 cannot hold, becomes U+FFFD.
    """
    if len(text) > max_chars:
        head = max_chars // 2
        text = text[:head] + text[len(text) - (max_chars - head) :]
    return _SURROGATE.sub("\ufffd", text.replace("\0", " "))


def ranges_before_clean(ranges: list[tuple[int, int]], length: int, max_chars: int) -> list[tuple[int, int]]:
    """Return where ranges of what ``clean`` made of a text are in the text, which has this length."""
    head, left_out = max_chars // 2, max(0, length - max_chars)
    return [
        (start + left_out if start >= head else start, end + left_out if end > head else end)
        for start, end in ranges
    ]


def safe_name(name: str) -> str:
    """Return the name in ``[A-Za-z0-9._-]``; one that had to be changed ends in a hash of the original.

    The hash keeps ``a/b`` and ``a:b`` apart, whose vectors must never be compared.
    """
    safe = _UNSAFE.sub("-", name)[:_NAME_CHARS]
    if safe == name:
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe}-{digest[:8]}"
