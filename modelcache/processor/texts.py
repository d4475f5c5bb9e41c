"""What every API asks of the texts and values that it takes."""

import unicodedata
from typing import Any

UNREADABLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
MAX_NESTING = 32


def encodable(text: str) -> str:
    """Return the text; ValueError where it has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is no valid Unicode text (it has half of a surrogate pair)") from None
    return text


def not_blank(text: str) -> str:
    """Return a text that is more than space; ValueError otherwise, or where it has no UTF-8."""
    if not text.strip():
        raise ValueError("has no text")
    return encodable(text)


def has_text(text: str) -> bool:
    """Tell whether anything in it can be read; spaces, control and format characters cannot."""
    return any(unicodedata.category(char) not in UNREADABLE for char in text)


def is_deep(value: Any) -> bool:
    """Tell what is nested so deep that reading or hashing it could exhaust the stack."""
    level = [value]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
