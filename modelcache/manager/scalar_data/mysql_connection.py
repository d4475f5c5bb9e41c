"""How MySQL's protocol is spoken: where the server is, connections, and the driver's way of binding."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pymysql
from pydantic import SecretStr
from pymysql.connections import Connection
from pymysql.cursors import Cursor as DriverCursor

from modelcache.errors import ConfigError, RefusedDataError
from modelcache.manager.patience import time_left

if TYPE_CHECKING:
    # The stubs say which cursors a connection makes; the class itself takes no parameter.
    _DriverConnection = Connection[DriverCursor]
else:
    _DriverConnection = Connection


# A statement holds about so many bytes at most, or one row: far below what a server or a timeout allows.
STATEMENT_BYTES = 2**21
# What is around the rows of a statement, and around a value.
STATEMENT_FRAME = 1024
VALUE_FRAME = 32
# The driver puts a backslash before each.
ESCAPED = (b"\0", b"\n", b"\r", b"\x1a", b'"', b"'", b"\\")


@dataclass(frozen=True, slots=True)
class Server:
    """Where the database is and who asks."""

    host: str
    """A path is that of a Unix socket."""
    port: int
    user: str
    password: SecretStr
    database: str
    tls: bool = False
    tls_ca: Path | None = None

    def __str__(self) -> str:
        place = self.host if self.host.startswith("/") else f"{self.host}:{self.port}"
        return f"database {self.database} on {place}"


class MySQLConnection(_DriverConnection):
    """A connection that is made on its first use, made again when lost, and prepared each time."""

    def __init__(self, session: Sequence[str], limit: float, **options: Any) -> None:
        self._session = session
        self._limit = limit
        self._checked_at = 0.0
        super().__init__(defer_connect=True, **options)

    def query(self, sql: Any, unbuffered: bool = False) -> int:
        self._shorten()
        return super().query(sql, unbuffered)

    def commit(self) -> None:
        self._shorten()
        super().commit()

    def _shorten(self) -> None:
        """Have the next steps wait no longer than the request has time for."""
        self.connect_timeout = self._read_timeout = self._write_timeout = time_left(self._limit)

    def connect(self, sock: Any = None) -> None:
        super().connect(sock)
        try:
            with self.cursor() as cursor:
                for statement in self._session:
                    cursor.execute(statement)
        except BaseException:
            self.disconnect()
            raise
        self._checked_at = monotonic()

    def make_ready(self, lost_at: float) -> None:
        """Connect if need be; look whether it is alive if another was lost since that was known."""
        self._shorten()
        if self.open and self._checked_at <= lost_at:
            try:
                self.ping(reconnect=False)
                self._checked_at = monotonic()
            except pymysql.MySQLError:
                self.disconnect()
                self._shorten()
        if not self.open:
            self.connect()

    def disconnect(self) -> None:
        """Close without a word; ``connect`` may follow."""
        if self.open:
            with suppress(pymysql.MySQLError):
                self.close()


class MySQLCursor:
    """Rewrites the placeholders of the common statements to the driver's."""

    def __init__(self, cursor: DriverCursor) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> None:
        self._cursor.execute(_rewritten(sql), tuple(values))

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]], /) -> None:
        self._cursor.executemany(_rewritten(sql), rows)

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return list(self._cursor.fetchall())


def _rewritten(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def roll_back(connection: MySQLConnection) -> None:
    """Undo what was begun; a connection that cannot is closed, which undoes it too."""
    if connection.open:
        try:
            connection.rollback()
        except pymysql.MySQLError:
            connection.disconnect()


def tls_context(server: Server) -> ssl.SSLContext | None:
    """Return what certificates are checked by, None without TLS; ConfigError if they cannot be read."""
    if not server.tls:
        return None
    try:
        return ssl.create_default_context(cafile=server.tls_ca)
    except OSError as exc:
        raise ConfigError(f"cannot read the certificates of {server.tls_ca}: {exc}") from exc


def statements_of(rows: Sequence[Sequence[Any]], max_packet: int) -> Iterator[list[Sequence[Any]]]:
    """Yield the rows in lists that each fit a statement."""
    limit = min(STATEMENT_BYTES, max_packet)
    chunk: list[Sequence[Any]] = []
    total = 0
    for row in rows:
        size = sum(map(_size, row))
        if size + STATEMENT_FRAME > max_packet:
            # Sent all the same, it would cost the connection.
            raise RefusedDataError(f"an answer of {size} bytes is over the server's max_allowed_packet")
        if chunk and total + size > limit:
            yield chunk
            chunk, total = [], 0
        chunk.append(row)
        total += size
    if chunk:
        yield chunk


def _size(value: Any) -> int:
    """Return how many bytes a value takes in a statement, or some more."""
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes):
        return VALUE_FRAME
    return VALUE_FRAME + len(value) + sum(map(value.count, ESCAPED))
