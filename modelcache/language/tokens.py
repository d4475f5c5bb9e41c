"""A text as tokens: words, numbers and single Chinese characters, folded so that spelling does not matter."""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
TOKEN = re.compile(
    rf"(?P<han>[{HAN}]+)"
    rf"|(?P<number>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?(?!\d)|\d+(?:[.:]\d+)*)"
    rf"|(?P<word>(?:[^\W\d_{HAN}]\.){{2,}}|[^\W\d_{HAN}]+(?:'[^\W\d_{HAN}]+)*(?:\+\+|#)?)"
    r"|(?P<sign>[$€£¥₹%]|->|→)"
)
# Words that are no name of anything.
PLAIN_WORDS = frozenset(
    {"a", "about", "an", "and", "are", "at", "be", "between", "by", "do", "for", "from", "get", "go", "has"}
    | {"have", "how", "i", "in", "is", "it", "me", "my", "no", "of", "on", "or", "over", "than", "the", "to"}
    | {"under", "up", "was", "what", "which", "with", "you"}
)
# Those, and the words of a question's form: which of them it uses is a matter of style.
SMALL_WORDS = PLAIN_WORDS | frozenset(
    {
        "can",
        "cannot",
        "could",
        "did",
        "does",
        "n't",
        "not",
        "never",
        "should",
        "were",
        "will",
        "without",
        "would",
    }
    | {"am", "any", "if", "one", "so", "some", "that", "there", "this", "we", "when", "where", "who", "why"}
)
# Further ones that lead up to what is asked.
FORM_WORDS = SMALL_WORDS | frozenset(
    {"able", "allowed", "as", "been", "being", "every", "help", "just", "know", "let", "like", "may", "might"}
    | {"must", "need", "ok", "okay", "our", "out", "please", "possible", "really", "tell", "them", "then"}
    | {"they", "thing", "us", "want", "way", "ways", "while", "yes", "your", "s", "t", "its", "had", "by"}
)
# Characters of a question's form.
SMALL_HAN = frozenset(
    "的了着过吗呢啊吧呀嘛么怎样如何什哪些请问谁我你您咱们这那它个下要想需能可以会该应把将从由在是有"
    "与跟就也还再才给让为啥咋几时候办法做弄想到去"
)
# As many as are in common use.
HAN_REMEMBERED = 4096
# Endings behind an apostrophe that say nothing here; "n't" does.
SILENT = frozenset({"s", "re", "m", "d", "ll", "ve"})
ACCENTED = re.compile("[\u00c0-\u024f\u0300-\u036f\u1e00-\u1eff]")
ACCENTS = re.compile("[\u0300-\u036f]")


class Token(NamedTuple):
    """One token; ``shown`` is its spelling before case was folded."""

    text: str
    kind: str
    shown: str


def tokens_of(text: str) -> list[Token]:
    """Split a text; width, case, space and punctuation between tokens are gone."""
    found: list[Token] = []
    folded = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'")
    if ACCENTED.search(folded):
        # Pokémon is Pokemon to whoever types it.
        folded = unicodedata.normalize("NFC", ACCENTS.sub("", unicodedata.normalize("NFD", folded)))
    for match in TOKEN.finditer(folded):
        shown, kind = match[0], match.lastgroup or ""
        if kind == "han":
            found.extend(map(_han, shown))
        elif kind != "word":
            found.append(Token(shown, kind, shown))
        elif "." in shown:
            found.append(_word(shown.replace(".", "")))
        elif "'" not in shown:
            found.append(_word(shown))
        else:
            found.extend(_split_apostrophes(shown))
    return found


@lru_cache(HAN_REMEMBERED)
def _han(character: str) -> Token:
    return Token(character, "han", character)


def _word(shown: str) -> Token:
    # Small "us" is a pronoun.
    return Token("usa" if shown == "US" else shown.lower(), "word", shown)


def text_at(tokens: list[Token], place: int) -> str:
    """Return the token's text, and a space, which no token is, where there is none."""
    return tokens[place].text if 0 <= place < len(tokens) else " "


def words_of(text: str) -> list[str]:
    """Return the folded tokens only."""
    return [token.text for token in tokens_of(text)]


def _split_apostrophes(shown: str) -> list[Token]:
    lowered = shown.lower()
    if lowered.endswith("n't"):
        stem = "can" if lowered == "can't" else "will" if lowered == "won't" else lowered[:-3]
        return [*([Token(stem, "word", stem)] if stem else []), Token("n't", "word", "n't")]
    head, *endings = shown.split("'")
    kept = [head, *(ending for ending in endings if ending.lower() not in SILENT)]
    return [Token(part.lower(), "word", part) for part in kept]
