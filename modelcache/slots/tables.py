"""The tables of words that tell questions apart: read, checked, and put into one trie of tokens."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from modelcache.errors import ConfigError
from modelcache.language.tokens import words_of
from modelcache.language.trie import Mark, Node

FOLDER = Path(__file__).parent
LISTS = {
    "negation": ("words", "maybe"),
    "direction": ("words", "reversed"),
    "mutual": ("words",),
    "ignored": ("words",),
    "common": ("words",),
}
DEGREES = ("before", "behind", "pairs")
SIDES = ("one side", "the other")
GAP = "…"
# What is so is compared with what is so, and what is done with what is done: who asks about a locked account
# may want to unlock it.
STATE = ", a state"
VOWELS = frozenset("aeiou")


@dataclass(slots=True)
class Tables:
    """All tables together."""

    spellings: Node = field(default_factory=Node)
    after_number: Node = field(default_factory=Node)
    parted: dict[str, dict[str, tuple[Mark, ...]]] = field(default_factory=dict)
    """Marks of two words that others part, as in ``turn it off``: by the first, then by the last."""
    one_sided: set[str] = field(default_factory=set)
    surnames: set[str] = field(default_factory=set)
    common: set[str] = field(default_factory=set)
    off: set[str] = field(default_factory=set)
    small_words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The languages that a word is a small word of."""

    def add(self, spelling: str, *marks: Mark, after_number: bool = False) -> None:
        """Let a spelling stand for these marks, beside those it has; … parts two words.

        Raises ValueError where … does not stand between two words.
        """
        first, gap, last = spelling.partition(GAP)
        if gap and not after_number:
            firsts, lasts = words_of(first), words_of(last)
            if len(firsts) != 1 or len(lasts) != 1:
                raise ValueError(f"{GAP} in {spelling!r} must stand between two words")
            known = self.parted.setdefault(firsts[0], {})
            known[lasts[0]] = known.get(lasts[0], ()) + marks
            return
        (self.after_number if after_number else self.spellings).add(spelling, *marks)


def load_tables(further: Path | None = None) -> Tables:
    """Read the shipped tables and a further file; ConfigError says in one sentence what is wrong.

    Nobody changes them afterwards: without a further file all get the same.
    """
    return shipped_tables() if further is None else _read(further)


@cache
def shipped_tables() -> Tables:
    """Read the shipped tables, once: that takes most of the time in which a cache is opened."""
    return _read()


def _read(*further: Path) -> Tables:
    tables = Tables()
    for path in [*sorted(FOLDER.glob("*.toml")), *further]:
        try:
            sections = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
            raise ConfigError(f"cannot read the slot tables {path}: {exc}") from exc
        try:
            _add_sections(tables, sections)
        except ValueError as exc:
            raise ConfigError(f"slot tables {path}: {exc}") from exc
    return tables


def _add_sections(tables: Tables, sections: Mapping[str, Any]) -> None:
    for name, section in sections.items():
        if name == "off":
            tables.off.update(_strings(section, "off"))
        elif name in LISTS:
            _add_lists(tables, name, section)
        elif name in ("opposites", "inflected"):
            _add_opposites(tables, name, section)
        elif name == "degrees":
            _add_degrees(tables, section)
        elif name == "slot":
            for slot, content in _table(section, name).items():
                _add_slot(tables, slot, content)
        elif name == "surnames":
            _add_surnames(tables, section)
        elif name in ("written-in", "letters-of"):
            _add_small_words(tables, name, section)
        else:
            raise ValueError(f"unknown table [{name}]")


def _add_lists(tables: Tables, name: str, section: Any) -> None:
    for key, spellings in _table(section, name).items():
        if key not in LISTS[name]:
            raise ValueError(f"[{name}] has no list {key!r}")
        checked = _strings(spellings, f"{name}.{key}")
        if name == "common":
            tables.common.update(word for spelling in checked for word in words_of(spelling))
            continue
        for spelling in checked:
            tables.add(spelling, *([] if name == "ignored" else [Mark(name, name, key)]))


def _add_opposites(tables: Tables, name: str, section: Any) -> None:
    for axis, sides in _table(section, name).items():
        if not isinstance(sides, list) or len(sides) != 2:
            raise ValueError(f"{name}.{axis} must be two lists of spellings")
        for value, side in zip(SIDES, sides, strict=True):
            for spelling in _strings(side, f"{name}.{axis}"):
                tables.add(spelling, Mark("opposite", axis, value))
                if name == "inflected":
                    for form in inflections(spelling):
                        state = STATE if form.split()[0].endswith("ed") else ""
                        tables.add(form, Mark("opposite", axis + state, value))


def _add_degrees(tables: Tables, section: Any) -> None:
    content = _table(section, "degrees")
    before, behind, pairs = (_strings(content.get(key, []), f"degrees.{key}") for key in DEGREES)
    if content.keys() - set(DEGREES):
        raise ValueError(f"[degrees] has no list {min(content.keys() - set(DEGREES))!r}")
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError("degrees.pairs must be pairs of characters")
        for value, adjective in zip(SIDES, pair, strict=True):
            forms = [word + adjective for word in before] + [adjective + word for word in behind]
            for form in forms:
                tables.add(form, Mark("opposite", pair, value))


def _add_surnames(tables: Tables, section: Any) -> None:
    characters = _table(section, "surnames").get("characters", "")
    if not isinstance(characters, str):
        raise ValueError("surnames.characters must be text")
    tables.surnames.update(characters)


def _add_small_words(tables: Tables, name: str, section: Any) -> None:
    for language, words in _table(section, name).items():
        if not isinstance(words, str):
            raise ValueError(f"{name}.{language} must be text")
        for word in words.split() if name == "written-in" else words:
            known = tables.small_words.get(word, ())
            tables.small_words[word] = known if language in known else (*known, language)


def _add_slot(tables: Tables, slot: str, content: Any) -> None:
    for key, value in _table(content, f"slot.{slot}").items():
        if key == "one_sided" and isinstance(value, bool):
            (tables.one_sided.add if value else tables.one_sided.discard)(slot)
        elif key in ("values", "after_number"):
            for name, spellings in _table(value, f"slot.{slot}.{key}").items():
                for spelling in _strings(spellings, f"slot.{slot}.{key}.{name}"):
                    tables.add(spelling, Mark(slot, slot, name), after_number=key == "after_number")
        else:
            raise ValueError(f"slot.{slot} has no {key!r} of this kind")


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a table")
    return value


def _strings(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and words_of(item) for item in value):
        raise ValueError(f"{name} must be a list of words")
    return value


def inflections(verb: str) -> Iterator[str]:
    """Give a verb's regular forms; the first word of a phrase is the one that changes."""
    stem, space, rest = verb.partition(" ")
    tail = space + rest
    yield verb
    yield stem + ("es" if stem.endswith(("s", "x", "z", "ch", "sh", "o")) else "s") + tail
    if stem.endswith("e"):
        endings = [stem + "d", stem[:-1] + "ing"]
    elif stem.endswith("y") and stem[-2] not in VOWELS:
        endings = [stem[:-1] + "ied", stem[:-1] + "ies", stem + "ing"]
    else:
        doubled = stem + stem[-1]
        endings = [stem + "ed", stem + "ing", doubled + "ed", doubled + "ing"]
    yield from (form + tail for form in endings)
