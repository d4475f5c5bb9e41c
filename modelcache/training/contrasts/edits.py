"""Edits of real questions: one word exchanged for another of its class, or nothing that matters changed."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random

from modelcache.training.contrasts.grammar import Listed
from modelcache.training.contrasts.surface import contracted, roughened
from modelcache.training.contrasts.tables import grammar, lines_of, listed, tables
from modelcache.training.examples import Example

HAN = re.compile(r"[\u4e00-\u9fff]")
NUMBER = re.compile(r"(?<![\d.,:/-])\d{1,5}(?![\d.,:/%]|st|nd|rd|th)")
ATTEMPTS = 40
Edit = tuple[str, str]
Words = Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]]


def language_of(text: str) -> str:
    """Return the language a text is written in."""
    return "zh" if HAN.search(text) else "en"


@cache
def exchangeable(language: str) -> tuple[Words, re.Pattern[str]]:
    """Return the words that may be exchanged: kind, spellings of the same value, words of the others."""
    words: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
    table = tables()[language]
    slots = [grammar(language).slots[name] for name in table["edit"]["names"].split()]
    slots += [listed("opposite", text) for name, text in table["edit"].items() if name.startswith("opposite")]
    slots += [listed("negation", text) for name, text in table["edit"].items() if name.startswith("negation")]
    for slot in slots:
        if not isinstance(slot, Listed):
            continue
        for family in slot.families:
            for value in family:
                others = tuple(spelling for other in family if other != value for spelling in other[:1])
                for spelling in value:
                    # A word in two classes is left alone: what it is exchanged for might mean the same.
                    words[spelling] = (slot.kind, value, () if spelling in words else others)
    known = {word: entry for word, entry in words.items() if entry[2] and len(word) > 1}
    return known, pattern_of(known, language)


def pattern_of(words: Mapping[str, object], language: str) -> re.Pattern[str]:
    """Return what finds the longest of the words."""
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(either if language == "zh" else rf"(?<![\w'-])(?:{either})(?![\w'-])")


@cache
def synonyms(language: str) -> tuple[Mapping[str, tuple[str, ...]], re.Pattern[str]]:
    """Return each word with those that may stand in its place."""
    words: dict[str, tuple[str, ...]] = {}
    for line in lines_of(tables()[language]["edit"]["synonyms"]):
        # What stands before ">" may be replaced by what is after it, but not the other way round.
        first, *rest = line.split(" > ")
        spellings = [spelling.strip() for part in (first, *rest) for spelling in part.split("|")]
        for spelling in [spelling.strip() for spelling in first.split("|")]:
            words[spelling] = tuple(other for other in spellings if other != spelling)
    return words, pattern_of(words, language)


def cased_like(new: str, old: str) -> str:
    """Return the new word with a capital or small first letter like the old one."""
    if old[:1].isupper():
        return new[:1].upper() + new[1:]
    return new.lower() if old.islower() else new


class Editor:
    """Makes pairs out of real questions."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts: dict[str, list[str]] = {"en": [], "zh": []}
        for text in texts:
            if 4 < len(text.strip()) < 200:
                self._texts[language_of(text)].append(text.strip())

    def __bool__(self) -> bool:
        return any(self._texts.values())

    def example(self, same: bool, language: str, rng: Random) -> Example | None:
        """Return a question edited in what matters, or, out of the same questions, in what does not."""
        texts = self._texts[language] or self._texts[language := "zh" if language == "en" else "en"]
        for _ in range(ATTEMPTS):
            text = rng.choice(texts)
            edited = different(text, language, rng)
            if edited is not None:
                break
        else:
            return None
        changed, kind = edited
        asked = reworded(text, language, rng) if same or rng.random() < 0.75 else text
        while same and asked == text:
            asked = reworded(roughened(text, rng, language), language, rng)
        return Example(asked, text if same else changed, same, f"edited {kind}", language)


def different(text: str, language: str, rng: Random) -> Edit | None:
    """Return the text with one word or number changed, and the kind of that change."""
    words, pattern = exchangeable(language)
    # A capital at the beginning does not make a name of a word.
    found = [match for match in pattern.finditer(text) if match.start() or language == "zh"]
    found += NUMBER.finditer(text)
    if not found:
        return None
    match = rng.choice(found)
    entry = words.get(match[0])
    if entry is None:
        number = int(match[0])
        steps = (-10, -2, -1, 1, 2, 5, 10, 100)
        others = [number + step for step in steps if number + step > 0 and str(number + step) not in text]
        if not others:
            return None
        return text[: match.start()] + str(rng.choice(others)) + text[match.end() :], "number"
    kind, _, others_words = entry
    # The same word may stand twice in a question; all of them are exchanged.
    new = (
        cased_like(rng.choice(others_words), match[0])
        if kind in ("opposite", "negation")
        else rng.choice(others_words)
    )
    if whole(new, language).search(text):
        return None
    return whole(match[0], language).sub(new.replace("\\", r"\\"), text), kind


@cache
def whole(word: str, language: str) -> re.Pattern[str]:
    """Return what finds a word where it stands as a word."""
    return re.compile(re.escape(word) if language == "zh" else rf"(?<![\w'-]){re.escape(word)}(?![\w'-])")


def reworded(text: str, language: str, rng: Random) -> str:
    """Return the text with synonyms, another spelling of its names, another opening, or roughened."""
    ways: list[Callable[[str, str, Random], str]] = [
        with_synonym,
        with_synonym,
        respelled,
        reopened,
        reopened,
        _rough,
    ]
    for way in rng.sample(ways, rng.choice((1, 2, 2, 3))):
        text = way(text, language, rng)
    return contracted(text, rng) if language == "en" and rng.random() < 0.2 else text


def _rough(text: str, language: str, rng: Random) -> str:
    return roughened(text, rng, language)


def with_synonym(text: str, language: str, rng: Random) -> str:
    """Return the text with a word exchanged for one that means the same."""
    words, pattern = synonyms(language)
    found = [match for match in pattern.finditer(text) if match[0] in words]
    if not found:
        return text
    match = rng.choice(found)
    new = cased_like(rng.choice(words[match[0]]), match[0])
    return text[: match.start()] + new + text[match.end() :]


def respelled(text: str, language: str, rng: Random) -> str:
    """Return the text with a name spelled another way."""
    words, pattern = exchangeable(language)
    for match in pattern.finditer(text):
        kind, spellings, _ = words[match[0]]
        others = [spelling for spelling in spellings if spelling != match[0]]
        if others and kind not in ("opposite", "negation"):
            return text[: match.start()] + rng.choice(others) + text[match.end() :]
    return text


@cache
def _openings(language: str) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(way.strip() for way in line.split("|"))
        for line in lines_of(tables()[language]["edit"]["openings"])
    )


def reopened(text: str, language: str, rng: Random) -> str:
    """Return the text with another beginning of the same meaning: 'How do I' for 'How can I'."""
    for ways in _openings(language):
        for way in sorted(ways, key=len, reverse=True):
            if language == "en" and text.lower().startswith(way.lower() + " "):
                return rng.choice([other for other in ways if other != way]) + text[len(way) :]
            if language == "zh" and way in text:
                return text.replace(way, rng.choice([other for other in ways if other != way]), 1)
    return text
