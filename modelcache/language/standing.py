"""Tell a question that stands on its own from one that leans on what was said before it.

By the words of ``standing.toml``, in Chinese and English; a text in another language is taken to lean.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from modelcache.language.tokens import SMALL_WORDS, Token, tokens_of
from modelcache.language.trie import Mark, Node, longest

TABLE = Path(__file__).with_name("standing.toml")

IGNORED = "ignored"
# A longer text says so much that one of its words points back, as a rule, and takes long to read.
MAX_CHARS = 256
# What parts two sentences or clauses; a point or colon inside a number or a name does not.
PARTED = re.compile(r"[,，、;；\n。？！]\s*\S|[.?!:：—–]\s+\S")
# "Can you …?" is an order.
TO_ASSISTANT = frozenset({"can", "could", "would", "will", "do", "did", "are", "should"})
# How much a text must say beside the words of its form: a question with a verb and its object.
ENGLISH_WORDS = 4
ENGLISH_CONTENT = 4
CHINESE_CHARACTERS = 6
CHINESE_CONTENT = 7
# A Latin word inside Chinese counts as so many characters, a name in English as so many words.
WORD_IN_CHINESE = 2
NAME_IN_ENGLISH = 3


class Standing:
    """Reads single turns; safe to call from many threads."""

    def __init__(self, lists: Mapping[str, Sequence[str]]) -> None:
        self._anywhere = _spellings({name: lists[name] for name in ("pointing", "asking", "light", IGNORED)})
        self._opening = _spellings({name: lists[name] for name in ("opening", "harmless_opening")})
        self._binding = _spellings({"binding": lists["binding"]})
        self._ending = frozenset(lists["ending"])
        self._behind_the = frozenset(lists["behind_the"])

    @classmethod
    @cache
    def shipped(cls) -> "Standing":
        """Read the shipped tables, once."""
        sections = tomllib.loads(TABLE.read_text(encoding="utf-8"))
        return cls({name: section["words"] for name, section in sections.items()})

    def stands_alone(self, text: str) -> bool:
        """Tell whether a turn can be understood without what was said before; in doubt it cannot."""
        if len(text) > MAX_CHARS:
            return False
        tokens = tokens_of(text)
        if not tokens or tokens[-1].text in self._ending or self._opens_by_pointing(tokens):
            return False
        marks = self._marks(tokens)
        if "pointing" in marks or "asking" not in marks:
            return False
        content = [
            token
            for token, mark in zip(tokens, marks, strict=True)
            if mark in ("", IGNORED) and token.kind != "sign"
        ]
        if any(token.kind == "han" for token in tokens):
            characters = sum(token.kind == "han" for token in tokens)
            return (
                characters >= CHINESE_CHARACTERS
                and sum(1 if token.kind == "han" else WORD_IN_CHINESE for token in content) >= CHINESE_CONTENT
            )
        return self._is_full_english(tokens, marks, content)

    def only_asks(self, text: str) -> bool:
        """Tell whether a turn asks one question that stands alone, and says nothing else.

        A second sentence or clause may state something or say how to answer, and so may a question of what
        the assistant can do.
        """
        if PARTED.search(text.strip()) or not self.stands_alone(text) or self._binds(text):
            return False
        tokens = tokens_of(text)
        if any(token.kind == "han" for token in tokens):
            return True
        opening = "asking" in self._marks(tokens[:1])
        return opening and not (tokens[0].text in TO_ASSISTANT and tokens[1].text == "you")

    def _binds(self, text: str) -> bool:
        """Tell whether a turn says how everything after it is to be answered."""
        tokens = tokens_of(text)
        return any(longest(self._binding, tokens, place)[1] for place in range(len(tokens)))

    def _opens_by_pointing(self, tokens: list[Token]) -> bool:
        marks, _ = longest(self._opening, tokens, 0)
        return any(mark.rule == "opening" for mark in marks)

    def _marks(self, tokens: list[Token]) -> list[str]:
        """Return for each token the list that has the longest spelling over it, "" for none."""
        found: list[str] = []
        while len(found) < len(tokens):
            marks, length = longest(self._anywhere, tokens, len(found))
            rule = marks[0].rule if marks else ""
            # A spelling that hides a pointing word in it still says something.
            found += [rule] * (length or 1)
        return found

    def _is_full_english(self, tokens: list[Token], marks: list[str], content: list[Token]) -> bool:
        if len(tokens) < ENGLISH_WORDS or not all(token.text.isascii() for token in tokens):
            return False
        for place, token in enumerate(tokens):
            # There is one sun, and "the sun" is no sun of before.
            points = token.text == "the" and marks[place] != IGNORED
            if points and not self._says_which(tokens[place + 1 :]):
                return False
        weight = 0
        for token in content:
            if token.text not in SMALL_WORDS:
                weight += NAME_IN_ENGLISH if token is not tokens[0] and token.shown[0].isupper() else 1
        return weight >= ENGLISH_CONTENT

    def _says_which(self, behind: list[Token]) -> bool:
        """Tell "the capital of …" and "the Rhine" from "the file", which was spoken of before."""
        if behind and behind[0].shown[0].isupper():
            return True
        return any(token.text in self._behind_the for token in behind)


def _spellings(lists: Mapping[str, Sequence[str]]) -> Node:
    spellings = Node()
    for name, words in lists.items():
        for word in words:
            spellings.add(word, Mark(name, name, name))
    return spellings
