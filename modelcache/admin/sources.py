"""Where entries are imported from: files of JSON Lines and of tab-separated questions and answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from modelcache.admin.line import Line, line_of
from modelcache.errors import ConfigError
from modelcache.records.dialogue import USER, Message
from modelcache.settings import Settings

HEADER = ("question", "answer")


@dataclass(frozen=True, slots=True)
class Given:
    """What is said of entries from elsewhere."""

    settings: Settings
    model: str = ""
    """Whose they become; "" where they say it themselves."""
    tags: Sequence[str] = ()
    sources: Sequence[str] = ()


class Source(Protocol):
    """Entries in an order that stays the same."""

    skipped: int
    """How many could not be asked here, so far."""

    def total(self) -> int:
        """Return how many there are, about."""

    def lines(self, after: int) -> Iterator[tuple[int, Line]]:
        """Give the entries behind a place, 0 for all, each with its own place.

        Raises ConfigError for what is no entry.
        """


class JsonLines:
    """What ``export`` wrote."""

    def __init__(self, path: Path) -> None:
        self.skipped = 0
        self._path = path

    def total(self) -> int:
        return _count_lines(self._path)

    def lines(self, after: int) -> Iterator[tuple[int, Line]]:
        for number, text in _numbered(self._path, after):
            try:
                yield number, Line.model_validate_json(text)
            except ValidationError as exc:
                problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
                place = ".".join(map(str, problem["loc"])) or "the line"
                raise ConfigError(f"{self._path}, line {number}: {place}: {problem['msg']}") from exc


class Tsv:
    """A line holds a question, a tab, and its answer, as they stand."""

    def __init__(self, path: Path, given: Given) -> None:
        if not given.model:
            raise ConfigError("--model is wanted: whose entries the questions become")
        self.skipped = 0
        self._path = path
        self._given = given

    def total(self) -> int:
        return _count_lines(self._path)

    def lines(self, after: int) -> Iterator[tuple[int, Line]]:
        given = self._given
        more = {"tags": list(given.tags), "sources": list(given.sources)}
        for number, text in _numbered(self._path, after):
            fields = tuple(text.rstrip("\r\n").split("\t"))
            if number == 1 and tuple(map(str.lower, fields)) == HEADER:
                continue
            if not text.strip():
                self.skipped += 1
                continue
            if len(fields) != len(HEADER):
                raise ConfigError(f"{self._path}, line {number}: expected a question, a tab and its answer")
            line = line_of(given.model, [Message(USER, fields[0])], fields[1], given.settings, **more)
            if line is None:
                raise ConfigError(f"{self._path}, line {number}: the question or the answer is empty")
            yield number, line


def _numbered(path: Path, after: int) -> Iterator[tuple[int, str]]:
    """Give the lines of a file behind a number of them, each with its own."""
    # Not every character that ends a line elsewhere does here: texts hold them.
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        try:
            yield from enumerate(islice(file, after, None), after + 1)
        except UnicodeDecodeError as exc:
            raise ConfigError(f"{path} is no text in UTF-8") from exc


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
