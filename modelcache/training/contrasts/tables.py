"""Reads the tables beside this file into the grammars of the two languages.

``[en.KIND]`` holds slots, ``[any.KIND]`` those of both languages: a line is a family, ``;`` parts its values,
``|`` the spellings of a value. In the kinds ``act`` and ``command`` a colon parts the verbs of a line from
the things they are done to. ``[en.KIND.TOPIC]`` holds questions: a key is a class, a line one of its frames,
``{slot}`` takes a value, and keys with an underscore are the topic's rules.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from modelcache.training.contrasts.grammar import Acts, Grammar, Listed, Rules, Source, Topic
from modelcache.training.contrasts.numbers import made_slots

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "zh")


@cache
def tables() -> Mapping[str, Mapping[str, Any]]:
    """Return what all files say, kind by kind, of each language."""
    read: dict[str, dict[str, Any]] = defaultdict(dict)
    for path in sorted(FOLDER.glob("*.toml")):
        for language, kinds in tomllib.loads(path.read_text(encoding="utf-8")).items():
            for kind, entries in kinds.items():
                known = read[language].setdefault(kind, {})
                repeated = known.keys() & entries.keys()
                if repeated:
                    raise ValueError(f"{path.name}: {language}.{kind} has {sorted(repeated)} a second time")
                known.update(entries)
    return read


def lines_of(text: str) -> list[str]:
    """Return the lines that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def family_of(line: str) -> tuple[tuple[str, ...], ...]:
    """Return the values of a line, each with its spellings."""
    return tuple(
        tuple(spelling.strip() for spelling in value.split("|")) for value in line.split(";") if value.strip()
    )


def listed(kind: str, entry: Any, label: str = "") -> Listed:
    """Return a slot from its lines, or from lists where values hold the signs that part values."""
    if isinstance(entry, str):
        return Listed(kind, tuple(family_of(line) for line in lines_of(entry)), label)
    families = tuple(tuple((v,) if isinstance(v, str) else tuple(v) for v in family) for family in entry)
    return Listed(kind, families, label)


def acts(entries: Mapping[str, Any]) -> Acts:
    """Return the slot of all acts."""
    return Acts(tuple(_acts(entries)))


def _acts(entries: Mapping[str, Any]) -> Iterator[tuple[Listed, Listed]]:
    for text in entries.values():
        for line in lines_of(text) if isinstance(text, str) else ():
            verbs, things = line.split(" : ")
            yield Listed("opposite", (family_of(verbs),)), Listed("object", (family_of(things),))


def topic(name: str, kind: str, entry: Mapping[str, Any]) -> Topic:
    """Return a topic from its table; keys that begin with an underscore are its rules."""
    rules = Rules(
        weight=entry.get("_weight", 1.0),
        exact=entry.get("_exact", False),
        apart=entry.get("_apart", True),
        nested=entry.get("_nested", True),
        directed=frozenset(entry.get("_directed", ())),
        symmetric=frozenset(entry.get("_symmetric", ())),
        idle=frozenset(entry.get("_idle", ())),
    )
    classes = {
        key: tuple(line.replace("\\n", "\n") for line in lines_of(text))
        for key, text in entry.items()
        if not key.startswith("_")
    }
    return Topic(name, kind, classes, rules)


@cache
def grammar(language: str) -> Grammar:
    """Return the grammar of a language."""
    slots: dict[str, Source] = dict(made_slots(language))
    topics = []
    shared = [(kind, entries) for side in ("any", language) for kind, entries in tables()[side].items()]
    for kind, entries in shared:
        if kind in ("act", "command"):
            slots[kind] = acts(entries)
        for name, entry in entries.items():
            if isinstance(entry, Mapping):
                topics.append(topic(name, kind, entry))
            elif kind not in ("act", "command"):
                slots[name] = listed(kind, entry, name)
    slots["question"] = AnyTopic(
        tuple(topic for topic in topics if topic.rules.nested and not topic.rules.exact)
    )
    return Grammar(language, slots, tuple(topics))


class AnyTopic:
    """A slot that takes a question of any topic."""

    kind = "aim"

    def __init__(self, topics: tuple[Topic, ...]) -> None:
        self._topics = topics
        self._weights = [topic.rules.weight for topic in topics]

    def pick(self, rng: Any) -> Any:
        """Return a question of one of the topics."""
        return rng.choices(self._topics, self._weights)[0].pick(rng)

    def sibling(self, value: Any, rng: Any) -> Any:
        """Return None: the topic of the question knows its siblings."""
        return None
