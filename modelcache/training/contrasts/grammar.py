"""A grammar read from the tables: every value has spellings that mean the same and siblings that do not.

A question is a value as well: its spellings are the frames of one meaning, its siblings the other things that
one may ask about the same, and its parts the values put into its slots. One rule thus makes all pairs: spell
a value twice, or change one value somewhere in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

from modelcache.training.contrasts.inflection import inflected

SLOT = re.compile(r"\{([a-z_]+)(\d?)(?::([a-z]+))?\}")


class Source(Protocol):
    """Where the values of a slot come from."""

    kind: str

    def pick(self, rng: Random) -> "Value":
        """Return a value, its own slots still empty."""
        ...

    def sibling(self, value: "Value", rng: Random) -> "Value | None":
        """Return another value much like this one, or None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Value:
    """One meaning: its spellings, and the values in their slots."""

    spellings: tuple[str, ...]
    source: Source
    family: int = 0
    label: str = ""
    parts: Mapping[str, "Value"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A value that differs in one thing, and what kind of thing that is."""

    value: Value
    kind: str


class Listed:
    """A slot whose values are listed in families; siblings come from the same family."""

    def __init__(self, kind: str, families: tuple[tuple[tuple[str, ...], ...], ...], label: str = "") -> None:
        self.kind = kind
        self.label = label
        self.families = families
        self._weights = [len(family) ** 0.5 for family in families]

    def pick(self, rng: Random) -> Value:
        """Return any value; a large family is met more often than a small one."""
        index = rng.choices(range(len(self.families)), self._weights)[0]
        return Value(rng.choice(self.families[index]), self, index, self.label)

    def sibling(self, value: Value, rng: Random) -> Value | None:
        """Return another value of the same family."""
        others = [other for other in self.families[value.family] if other != value.spellings]
        return replace(value, spellings=rng.choice(others)) if others else None


class Acts:
    """A slot of things done: verbs and what they are done to, which may each be exchanged."""

    kind = "act"

    def __init__(self, lines: tuple[tuple[Listed, Listed], ...]) -> None:
        self._lines = lines
        self._weights = [len(things.families[0]) ** 0.5 for _, things in lines]

    def pick(self, rng: Random) -> Value:
        """Return a verb with one of its things."""
        verbs, things = rng.choices(self._lines, self._weights)[0]
        return Value(("{verb} {thing}",), self, parts={"verb": verbs.pick(rng), "thing": things.pick(rng)})

    def sibling(self, value: Value, rng: Random) -> Value | None:
        """Return None: an act is changed in its parts."""
        return None


class Topic:
    """Questions about one thing: each class of frames asks the same, two classes ask different things."""

    def __init__(self, name: str, kind: str, classes: Mapping[str, tuple[str, ...]], rules: "Rules") -> None:
        self.name = name
        self.kind = kind
        self.classes = classes
        self.rules = rules
        self._slots = {
            label: {slot for text in frames for slot, _, _ in SLOT.findall(text)}
            for label, frames in classes.items()
        }

    def pick(self, rng: Random) -> Value:
        """Return one class of frames."""
        label = rng.choice(list(self.classes))
        return Value(self.classes[label], self, label=label)

    def sibling(self, value: Value, rng: Random) -> Value | None:
        """Return another class of frames, unless the topic's classes are not to be told apart."""
        # What has no slot in common is another subject altogether, and teaches nothing.
        others = [
            label
            for label in self.classes
            if label != value.label
            and (self._slots[label] & self._slots[value.label] or not self._slots[label])
        ]
        if not others or not self.rules.apart:
            return None
        label = rng.choice(others)
        return replace(value, spellings=self.classes[label], label=label)


@dataclass(frozen=True, slots=True)
class Rules:
    """How the questions of a topic may be treated."""

    weight: float = 1.0
    exact: bool = False
    apart: bool = True
    nested: bool = True
    directed: frozenset[str] = frozenset()
    symmetric: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()


class Grammar:
    """The slots and topics of one language."""

    def __init__(self, language: str, slots: Mapping[str, Source], topics: tuple[Topic, ...]) -> None:
        self.language = language
        self.slots = slots
        self.topics = topics

    def fill(self, value: Value, rng: Random) -> Value:
        """Put values into all slots that the spellings name and that are still empty."""
        parts = {name: self.fill(part, rng) for name, part in value.parts.items()}
        for spelling in value.spellings:
            for slot, number, _ in SLOT.findall(spelling):
                if slot + number not in parts:
                    twin = parts.get(slot) if number else None
                    parts[slot + number] = self._another(slot, twin, rng)
        return replace(value, parts=parts)

    def _another(self, slot: str, twin: Value | None, rng: Random) -> Value:
        """Return a value for the slot; beside a twin, one that differs and is likely of its family."""
        source = self.slots[slot]
        for _ in range(8):
            value = (source.sibling(twin, rng) if twin else None) or source.pick(rng)
            if twin is None or value.spellings != twin.spellings:
                break
        return self.fill(replace(value, parts=dict(value.parts)), rng)

    def spell(self, value: Value, rng: Random, fixed: bool = False) -> str:
        """Return one of the spellings, its slots filled."""
        template = value.spellings[0] if fixed else rng.choice(value.spellings)
        return self.put(template, value, rng, fixed)

    def put(self, template: str, value: Value, rng: Random, fixed: bool = False) -> str:
        """Return the template with the value's parts in its slots."""
        if isinstance(value.source, Acts):
            verb, thing = (self.spell(value.parts[name], rng, fixed) for name in ("verb", "thing"))
            if "*" in verb:
                return verb.replace("*", thing)
            return f"{verb} {thing}" if self.language == "en" else verb + thing
        chosen: dict[str, str] = {}

        def part(match: re.Match[str]) -> str:
            name, form = match[1] + match[2], match[3]
            if name not in chosen:
                chosen[name] = self.spell(value.parts[name], rng, fixed or form == "fixed")
            return inflected(chosen[name], form)

        return SLOT.sub(part, template)

    def changes(self, value: Value, rng: Random) -> list[Change]:
        """Return values that differ from this one in one thing each, every kind of change once."""
        found: list[Change] = []
        sibling = value.source.sibling(value, rng)
        if sibling:
            used = {slot + number for text in sibling.spellings for slot, number, _ in SLOT.findall(text)}
            kept = {name: part for name, part in sibling.parts.items() if name in used}
            if not isinstance(sibling.source, Acts):
                sibling = replace(sibling, parts=kept)
            found.append(Change(self.fill(sibling, rng), value.source.kind))
        idle = value.source.rules.idle if isinstance(value.source, Topic) else ()
        for name, part in value.parts.items():
            if f"{value.label}.{name}" in idle:
                continue
            found += [
                Change(replace(value, parts={**value.parts, name: change.value}), change.kind)
                for change in self.changes(part, rng)
                if not self._meets_twin(value, name, change.value)
            ]
        return found

    @staticmethod
    def _meets_twin(value: Value, name: str, part: Value) -> bool:
        """Return whether the changed part would equal another one: 'from Rome to Rome'."""
        return any(
            other.spellings == part.spellings and other.parts == part.parts
            for key, other in value.parts.items()
            if key != name
        )

    @staticmethod
    def exchanged(value: Value) -> Value:
        """Return the value with each part and its numbered twin exchanged."""
        parts = dict(value.parts)
        for name in value.parts:
            if name + "2" in parts:
                parts[name], parts[name + "2"] = value.parts[name + "2"], value.parts[name]
        return replace(value, parts=parts)
