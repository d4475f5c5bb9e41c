"""What the statements of every SQL dialect need: a cursor, transactions, chunks, and what to repeat."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import lru_cache, partial, wraps
from itertools import islice
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from modelcache.errors import ScalarStoreError
from modelcache.manager.patience import progressed

T = TypeVar("T")
P = ParamSpec("P")
Database = TypeVar("Database", bound="SqlDatabase")
ID_CHUNK = 500
ROW_CHUNK = 100


class Cursor(Protocol):
    """What the statements use of a DB-API 2 cursor."""

    @property
    def rowcount(self) -> int: ...
    @property
    def lastrowid(self) -> int | None: ...
    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Any: ...
    def executemany(self, sql: str, rows: Sequence[Sequence[Any]], /) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class TransientError(ScalarStoreError):
    """A failure that may be gone at once, such as a deadlock; the transaction may be tried again.

    ``in_doubt``: COMMIT was sent and not answered, so that it may have been done.
    """

    def __init__(self, message: str, *, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt


class SqlDatabase(ABC):
    """A dialect adds its connection."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Cursor]:
        """Open a cursor for reads; driver errors leave it as ScalarStoreError."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Cursor]:
        """Open a transaction: committed at the end, rolled back on any exception."""

    def repeating(self, call: Callable[[], T], *, when_in_doubt: bool) -> T:
        """Call, and call again after a TransientError, one in doubt only if so told.

        Once is enough where no such error is raised.
        """
        return call()

    @abstractmethod
    def add_amounts(
        self, cursor: Cursor, table: str, columns: str, key: str, rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows, of which the last column is added to where a row of the same key is there."""

    def change_all(
        self, cursor: Cursor, table: str, change: str, values: Sequence[Any], where: str, bound: Sequence[Any]
    ) -> int:
        """Change any number of rows by an UPDATE or DELETE and return how many; a dialect may take steps."""
        cursor.execute(f"{change} WHERE {where}", (*values, *bound))
        return cursor.rowcount


def repeated(method: Callable[Concatenate[Database, P], T]) -> Callable[Concatenate[Database, P], T]:
    """Try the whole method again after a TransientError: doing it twice is as good as once."""

    @wraps(method)
    def trying(self: Database, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.repeating(partial(method, self, *args, **kwargs), when_in_doubt=True)

    return trying


def repeated_unless_done(
    method: Callable[Concatenate[Database, P], T],
) -> Callable[Concatenate[Database, P], T]:
    """The same, but not when the first time may have been committed: the second would add or tell wrong."""

    @wraps(method)
    def trying(self: Database, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.repeating(partial(method, self, *args, **kwargs), when_in_doubt=False)

    return trying


def chunks(values: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yield the values in lists of at most ``size``: a statement binds a limited number.

    Each list is waited for on its own, since the whole may take any time.
    """
    rest = iter(values)
    chunk = list(islice(rest, size))
    while chunk:
        yield chunk
        if chunk := list(islice(rest, size)):
            progressed()


def marks(values: Sequence[object]) -> str:
    """Return as many placeholders as there are values."""
    return ", ".join("?" * len(values))


def sql_time(seconds: float) -> str:
    """Render epoch seconds as a UTC DATETIME literal."""
    return _sql_second(int(seconds))


def epoch(told: str | datetime) -> float:
    """Read a UTC DATETIME, which SQLite keeps as text."""
    moment = datetime.fromisoformat(told) if isinstance(told, str) else told
    return moment.replace(tzinfo=UTC).timestamp()


@lru_cache(maxsize=64)
def _sql_second(seconds: int) -> str:
    # Most rows written at a time are of a few seconds.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
