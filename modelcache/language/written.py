"""What language a text is written in: by its script, and by small words where languages share one."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelcache.language.characters import ONLY_SIMPLIFIED, ONLY_TRADITIONAL

# Other scripts are of one language each, or of some that are not told apart.
SCRIPTS = {
    "latin": "[a-zA-Z\u00c0-\u024f\u1e00-\u1eff]",
    "han": "[\u3400-\u9fff]",
    "kana": "[\u3041-\u30fa\u30fc-\u30ff]",
    "hangul": "[\uac00-\ud7a3]",
    "cyrillic": "[\u0400-\u04ff]",
    "arabic": "[\u0620-\u06d3]",
    "hebrew": "[\u05d0-\u05ea]",
    "greek": "[\u0370-\u03ff]",
    "thai": "[\u0e01-\u0e5b]",
    "devanagari": "[\u0900-\u097f]",
    "bengali": "[\u0980-\u09ff]",
    "tamil": "[\u0b80-\u0bff]",
    "georgian": "[\u10a0-\u10ff]",
    "armenian": "[\u0530-\u058f]",
}
LETTERS = re.compile("|".join(f"(?P<{name}>{chars}+)" for name, chars in SCRIPTS.items()))
NOT_LATIN = re.compile("[\u0370-\u1dff\u1f00-\u1fff\u3040-\ud7ff]")
WORD = re.compile(r"[^\W\d_]+")
SHARED = frozenset({"latin", "cyrillic", "arabic"})
QUOTED = re.compile("[\"“「『«'‘`][^\"”」』»'’`]*[\"”」』»'’`]")
# What writes both is a text about the other.
MAIN = 0.6
LEAST_LETTERS = 4
LEAST_VOTES = 2
# What Japanese needs of kana beside its Chinese characters.
KANA_SHARE = 0.2
LEAST_OTHER_HAN = 2


@dataclass(frozen=True, slots=True)
class Language:
    """What a text may be written in."""

    script: str = ""
    """"" where none prevails."""
    votes: Mapping[str, int] = field(default_factory=dict)
    """How many of its words are small words of each language."""


def language_of(text: str, small_words: Mapping[str, Sequence[str]]) -> Language:
    """Find script and small words."""
    if not NOT_LATIN.search(text):
        return _by_votes("latin", text, small_words)
    text = unicodedata.normalize("NFC", QUOTED.sub(" ", text))
    letters: Counter[str] = Counter()
    for match in LETTERS.finditer(text):
        letters[match.lastgroup or ""] += 1 if match.lastgroup == "latin" else len(match[0])
    script = _prevailing(letters)
    if script == "han":
        return Language(_han_script(text))
    return _by_votes(script, text, small_words) if script in SHARED else Language(script)


def _by_votes(script: str, text: str, small_words: Mapping[str, Sequence[str]]) -> Language:
    """Ask the small words, and the letters that few languages have; names in Latin letters are of none."""
    votes: dict[str, int] = {}
    # An abbreviation is no small word, unless all is in capitals.
    words = WORD.findall(text)
    shouts = all(word.isupper() for word in words if len(word) > 1)
    marks = {word.lower() for word in words if shouts or len(word) < 2 or not word.isupper()}
    if not text.isascii():
        marks.update([char for char in text.lower() if not char.isascii()])
    for mark in marks & small_words.keys():
        for language in small_words[mark]:
            votes[language] = votes.get(language, 0) + 1
    if script == "latin" and max(votes.values(), default=0) < LEAST_VOTES:
        return Language()
    return Language(script, votes)


def best_of(votes: Mapping[str, int]) -> str:
    """Return the language with the most votes, "" where two or more have as many or there are too few."""
    most = max(votes.values())
    best = [language for language, count in votes.items() if count == most]
    return best[0] if len(best) == 1 and most >= LEAST_VOTES else ""


def _prevailing(letters: Counter[str]) -> str:
    # Latin names stand in a text of any script, but not the other way round.
    if len(letters) > 1 and letters["latin"] < letters.total() * MAIN:
        letters["latin"] = 0
    total = letters.total()
    if total < LEAST_LETTERS:
        return ""
    if letters["kana"] > KANA_SHARE * (letters["kana"] + letters["han"]):
        letters["kana"] += letters.pop("han", 0)
    script, count = letters.most_common(1)[0]
    return script if count >= MAIN * total else ""


def _han_script(text: str) -> str:
    """Tell simplified from traditional characters, "han" where there are too few of either."""
    used = set(text)
    simplified, traditional = len(used & ONLY_SIMPLIFIED), len(used & ONLY_TRADITIONAL)
    if not min(simplified, traditional) and max(simplified, traditional) >= LEAST_OTHER_HAN:
        return "simplified" if simplified else "traditional"
    return "han"
