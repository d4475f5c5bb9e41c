"""Which of the fitted languages a text is in."""

import re
from functools import lru_cache

from modelcache.language.tokens import HAN
from modelcache.language.written import SHARED, best_of
from modelcache.language.written import language_of as written_in
from modelcache.slots.tables import load_tables

CHINESE, ENGLISH, OTHER = "chinese", "english", "other"
LANGUAGES = (CHINESE, ENGLISH, OTHER)
ENGLISH_CODE = "en"
KANA = "kana"
HAN_CHARACTER = re.compile(f"[{HAN}]")
REMEMBERED_TEXTS = 4096
# The beginning tells as well.
CHARS_READ = 256


@lru_cache(REMEMBERED_TEXTS)
def language_of(text: str) -> str:
    """Return the language; a text that does not say which one counts as English."""
    found = written_in(text[:CHARS_READ], _small_words())
    # Latin names may be most of a Chinese question.
    if found.script != KANA and HAN_CHARACTER.search(text):
        return CHINESE
    if found.script not in SHARED:
        return OTHER if found.script else ENGLISH
    best = best_of(found.votes) if found.votes else ""
    return ENGLISH if found.script == "latin" and best in ("", ENGLISH_CODE) else OTHER


@lru_cache(1)
def _small_words() -> dict[str, tuple[str, ...]]:
    return {word: tuple(languages) for word, languages in load_tables().small_words.items()}
