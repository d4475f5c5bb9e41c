"""Cases written for this project that are made of parts: frames with payloads, statements, languages."""

import json
from collections.abc import Iterator
from pathlib import Path

from modelcache.evaluation.pairs import LabelledPair, read_pairs, user

DATA = Path(__file__).parent / "data"


def frames() -> Iterator[LabelledPair]:
    """An instruction and a text below it; half of the combinations are cached, and the others must miss.

    Like the black squares of a board: each other prompt differs from some in its text, from others in its
    instruction. The cached ones are asked again with their instruction in other words.
    """
    for language in json.loads((DATA / "frames.json").read_text(encoding="utf-8")):
        instructions, payloads = language["instructions"], language["payloads"]
        for row, (instruction, rephrased) in enumerate(instructions):
            for column, payload in enumerate(payloads):
                if (row + column) % 2 == 0:
                    cached = user(f"{instruction}\n\n{payload}")
                    again = user(f"{rephrased}\n\n{payload}")
                    yield LabelledPair(cached, again, True, "rephrased instruction")
                    continue
                # Its own prompt is not cached; its neighbours in the row and in the column are.
                if (row // 2 + column) % 2:
                    near = f"{instruction}\n\n{payloads[column - 1]}"
                    yield LabelledPair(
                        user(near), user(f"{instruction}\n\n{payload}"), False, "another payload"
                    )
                else:
                    near = f"{instructions[row - 1][0]}\n\n{payload}"
                    asked = f"{instruction}\n\n{payload}"
                    yield LabelledPair(user(near), user(asked), False, "another instruction")


def statements() -> Iterator[LabelledPair]:
    """Statements of general knowledge and one rephrasing each, as caches are often measured."""
    yield from read_pairs(DATA / "statements.tsv")


def in_options() -> Iterator[LabelledPair]:
    """Conversations whose last turn leans on earlier ones, which differ in little or nothing that counts."""
    yield from read_pairs(DATA / "options.jsonl")


def in_languages() -> Iterator[LabelledPair]:
    """In each language a question's rephrasing, and a question that is nearly it."""
    for language, _, cached, rephrased, trap in language_rows():
        yield LabelledPair(user(cached), user(rephrased), True, f"{language} rephrased")
        yield LabelledPair(user(cached), user(trap), False, f"{language} trap")


def in_another_language() -> Iterator[LabelledPair]:
    """The same question in another language: its answer would be in the wrong one.

    Each is cached in every other language, so that none of those asked is cached itself.
    """
    by_topic: dict[str, list[tuple[str, str]]] = {}
    for language, topic, cached, *_ in language_rows():
        by_topic.setdefault(topic, []).append((language, cached))
    for questions in by_topic.values():
        for (_, cached), (language, asked) in zip(questions[::2], questions[1::2], strict=False):
            yield LabelledPair(user(cached), user(asked), False, f"{language} after another language")


def language_rows() -> list[list[str]]:
    """Return language, topic, a question, its rephrasing and a trap, in fifteen languages."""
    lines = (DATA / "languages.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]
