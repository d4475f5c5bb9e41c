"""Tables of GPTCache and of ModelCache's reference, in SQLite or MySQL, as entries to import."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from modelcache.admin.line import Line, line_of
from modelcache.admin.sources import Given
from modelcache.errors import ConfigError
from modelcache.records.dialogue import USER, Message, turns_in

PAGE_ROWS = 500
MYSQL = "mysql://"
GPTCACHE_MODEL = "gptcache"
ANSWER_IS_TEXT = 0


class Database(Protocol):
    """A database to read from; statements have ``?`` for their values."""

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows. Raises ConfigError."""

    def columns(self, table: str) -> set[str]:
        """Return the names of a table's columns, none where it is not there."""


class SqliteDatabase:
    """A file, which is not written to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as exc:
            raise ConfigError(f"cannot read {self._path}: {exc}") from exc

    def columns(self, table: str) -> set[str]:
        return {row[0] for row in self.rows("SELECT name FROM pragma_table_info(?)", (table,))}


class MySQLDatabase:
    """A database of a server, by its address: ``mysql://user@host:3306/database``."""

    def __init__(self, address: str, password: str = "") -> None:
        parts = urlsplit(address)
        self.name = parts.path.strip("/")
        if not (parts.hostname and parts.username and self.name):
            raise ConfigError("expected an address such as mysql://user@host:3306/database")
        self._place = f"{parts.hostname}:{parts.port or 3306}/{self.name}"
        self._options: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port or 3306,
            "user": unquote(parts.username),
            "password": password or unquote(parts.password or ""),
            "database": self.name,
            "charset": "utf8mb4",
        }

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        # Wanted for this alone.
        import pymysql

        try:
            with closing(pymysql.connect(**self._options)) as connection, connection.cursor() as cursor:
                cursor.execute(statement.replace("?", "%s"), tuple(values))
                return list(cursor.fetchall())
        except pymysql.MySQLError as exc:
            raise ConfigError(f"cannot read the MySQL database {self._place}: {exc.args[-1]}") from exc

    def columns(self, table: str) -> set[str]:
        found = self.rows(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
            (table,),
        )
        return {row[0] for row in found}


class _Row(NamedTuple):
    id: int
    question: str
    answer: str
    model: str
    hit_count: int
    created: Any
    used: Any


class _Tables:
    """Gives the rows of a statement page by page, by their ids."""

    statement: str
    """Reads a _Row for each, in the order of their ids, behind an id, so many."""
    counting: str
    """Counts them."""

    def __init__(self, database: Database, given: Given) -> None:
        self.skipped = 0
        self._database = database
        self._given = given

    def total(self) -> int:
        return int(self._database.rows(self.counting)[0][0])

    def lines(self, after: int) -> Iterator[tuple[int, Line]]:
        while page := [_Row(*row) for row in self._database.rows(self.statement, (after, PAGE_ROWS))]:
            for row in page:
                line = self._line(row)
                if line is None:
                    self.skipped += 1
                else:
                    yield row.id, line
            after = page[-1].id

    def _line(self, row: _Row) -> Line | None:
        given = self._given
        turns = turns_in(row.question) or [(USER, row.question)]
        return line_of(
            given.model or row.model,
            [Message(role, content) for role, content in turns],
            row.answer,
            given.settings,
            id=row.id,
            hit_count=max(0, row.hit_count or 0),
            created_at=_epoch(row.created),
            last_used_at=_epoch(row.used) or 0.0,
            tags=list(given.tags),
            sources=list(given.sources),
        )


class GPTCacheTables(_Tables):
    """What GPTCache keeps: questions with an answer that is a text, of several the last.

    One with deps is left out: its answer was of more than its text.
    """

    # In the order of the answers: they have no index on their questions.
    _of = (
        "FROM gptcache_answer AS answer "
        "JOIN gptcache_question AS question ON question.id = answer.question_id "
        f"WHERE answer.answer_type = {ANSWER_IS_TEXT} AND question.deleted = 0 "
        "AND question.id NOT IN (SELECT question_id FROM gptcache_question_dep)"
    )
    statement = (
        f"SELECT answer.id, question.question, answer.answer, '{GPTCACHE_MODEL}', 0, question.create_on, "
        f"question.last_access {_of} AND answer.id > ? ORDER BY answer.id LIMIT ?"
    )
    counting = f"SELECT COUNT(*) {_of}"


class ReferenceTables(_Tables):
    """What ModelCache's reference keeps; ``model`` has - and . folded to _ there."""

    def __init__(self, database: Database, given: Given, *, marks_deleted: bool) -> None:
        super().__init__(database, given)
        where = "is_deleted = 0" if marks_deleted else "1 = 1"
        self.statement = (
            "SELECT id, question, answer, model, hit_count, gmt_create, gmt_modified "
            f"FROM modelcache_llm_answer WHERE {where} AND id > ? ORDER BY id LIMIT ?"
        )
        self.counting = f"SELECT COUNT(*) FROM modelcache_llm_answer WHERE {where}"


def tables_in(database: Database, given: Given) -> _Tables:
    """Return the tables that a database has; ConfigError where it has none that are known."""
    if database.columns("gptcache_question"):
        return GPTCacheTables(database, given)
    columns = database.columns("modelcache_llm_answer")
    if "partition_key" in columns:
        raise ConfigError("these are this service's own tables: `export` writes what `import` reads")
    if columns:
        return ReferenceTables(database, given, marks_deleted="is_deleted" in columns)
    raise ConfigError(
        "there are no tables of GPTCache (gptcache_question) or ModelCache (modelcache_llm_answer)"
    )


def _epoch(told: Any) -> float | None:
    """Read a time, which is taken for UTC; None where there is none."""
    if isinstance(told, str):
        try:
            told = datetime.fromisoformat(told)
        except ValueError:
            return None
    return told.replace(tzinfo=UTC).timestamp() if isinstance(told, datetime) else None
