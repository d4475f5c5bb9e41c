"""The suites written for this project: what is cached, what is asked, and what answers it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.trust.product import Dialogue
from tests.support.client import user

DATA = Path(__file__).parent / "data"
ROLES = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Case:
    """A question, and the entry that it is near to; no other entry of its suite answers it."""

    own: int
    asked: Dialogue
    same: bool
    """Whether the answer of that entry answers the question."""
    kind: str


@dataclass(frozen=True, slots=True)
class Suite:
    """Entries that are all in one cache, and questions to it."""

    name: str
    entries: list[Dialogue]
    cases: list[Case]

    def language(self, case: Case) -> str:
        """Return the language of a case, which is that of its entry."""
        return language_of(self.entries[case.own][-1]["content"])

    def every(self, stride: int) -> "Suite":
        """Return a smaller one: every so manyth case, and the entries of those."""
        cases = self.cases[::stride]
        kept = sorted({case.own for case in cases})
        moved = {number: place for place, number in enumerate(kept)}
        return Suite(
            self.name,
            [self.entries[number] for number in kept],
            [replace(case, own=moved[case.own]) for case in cases],
        )


def language_of(text: str) -> str:
    return "Chinese" if any("\u4e00" <= character <= "\u9fff" for character in text) else "English"


def suites() -> Iterator[Suite]:
    """Read them all."""
    for name, read in READERS.items():
        yield read(name)


def slots(name: str) -> Suite:
    """Two questions that differ in their wording (label 1) or in one slot too (label 0)."""
    rows = [line.split("\t") for line in (DATA / "slots.tsv").read_text(encoding="utf-8").splitlines()]
    entries = [user(cached) for cached, *_ in rows]
    cases = [
        Case(number, user(asked), label == "1", kind) for number, (_, asked, label, kind) in enumerate(rows)
    ]
    return Suite(name, entries, cases)


def conversations(name: str) -> Suite:
    """Threads of turns, the user's first, and what is asked in the same one or in another."""
    threads = list(_lines("conversations.jsonl"))
    turns = {thread["id"]: thread["turns"] for thread in threads}
    cases = []
    for number, thread in enumerate(threads):
        for asked in thread["asked"]:
            before = asked.get("before", thread["turns"][:-1])
            if isinstance(before, str):
                before = turns[before][:-1]
            before = [asked.get("changed", {}).get(str(place), turn) for place, turn in enumerate(before)]
            dialogue = _dialogue([*before, asked.get("last", thread["turns"][-1])])
            cases.append(Case(number, dialogue, asked["label"] == 1, asked["kind"]))
    return Suite(name, [_dialogue(thread["turns"]) for thread in threads], cases)


def desks(name: str) -> Suite:
    """Short questions under the long system prompts of support desks."""
    lines = list(_lines("desks.jsonl"))
    prompts = {desk["id"]: desk["system"] for desk in lines}
    entries: list[Dialogue] = []
    cases = []
    for desk in lines:
        for entry in desk["entries"]:
            for asked in entry["asked"]:
                dialogue = _under(prompts[asked.get("desk", desk["id"])], asked["text"])
                cases.append(Case(len(entries), dialogue, asked["label"] == 1, asked["kind"]))
            entries.append(_under(desk["system"], entry["cached"]))
    return Suite(name, entries, cases)


def long_texts(name: str) -> Suite:
    """A text of 300 characters and more behind an instruction; either may be changed."""
    lines = list(_lines("long_texts.jsonl"))
    texts = {line["id"]: line["text"] for line in lines}
    cases = []
    for number, line in enumerate(lines):
        for asked in line["asked"]:
            text = texts[asked.get("text", line["id"])]
            for old, new in asked.get("edits", []):
                text = text.replace(old, new)
            dialogue = _instructed(asked.get("instruction", line["instruction"]), text)
            cases.append(Case(number, dialogue, asked["label"] == 1, asked["kind"]))
    return Suite(name, [_instructed(line["instruction"], line["text"]) for line in lines], cases)


READERS: dict[str, Callable[[str], Suite]] = {
    "slots": slots,
    "conversations": conversations,
    "system prompts": desks,
    "long texts": long_texts,
}


def _lines(file: str) -> Iterator[dict[str, Any]]:
    with (DATA / file).open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _dialogue(turns: list[str]) -> Dialogue:
    return [{"role": ROLES[number % 2], "content": turn} for number, turn in enumerate(turns)]


def _under(system: str, text: str) -> Dialogue:
    return [{"role": "system", "content": system}, *user(text)]


def _instructed(instruction: str, text: str) -> Dialogue:
    return user(f"{instruction}\n\n{text}")
