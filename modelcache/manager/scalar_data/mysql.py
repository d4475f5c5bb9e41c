"""Rows in a database that speaks MySQL's protocol: MySQL, MariaDB, and with a few changes OceanBase."""

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, ClassVar, TypeVar

import orjson
import pymysql
from dbutils.pooled_db import PooledDB
from pymysql.constants import ER
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from modelcache.errors import ConfigError, RefusedDataError, ScalarStoreError
from modelcache.hashing import digest
from modelcache.manager.patience import time_left
from modelcache.manager.scalar_data.base import RowState
from modelcache.manager.scalar_data.mysql_connection import (
    STATEMENT_BYTES,
    MySQLConnection,
    MySQLCursor,
    Server,
    roll_back,
    statements_of,
    tls_context,
)
from modelcache.manager.scalar_data.mysql_schema import (
    MIGRATE_SECONDS,
    apply_migrations,
    must_migrate,
    read_schema_version,
)
from modelcache.manager.scalar_data.sql import (
    ID_CHUNK,
    Cursor,
    TransientError,
    chunks,
    marks,
    repeated,
)
from modelcache.manager.scalar_data.sql_answers import ANSWER_COLUMNS, INSERT_COLUMNS
from modelcache.manager.scalar_data.sql_removals import WRITING
from modelcache.manager.scalar_data.sql_storage import SqlStorage
from modelcache.settings import Settings

T = TypeVar("T")

# The connection is gone, or could not be made; what was not committed is undone by the server.
LOST_CODES = frozenset({0, 1040, 1053, 1158, 1159, 1160, 1161, 1927, 2002, 2003, 2006, 2013, 2055, 4031})
# Deadlock, lock wait over, and a row that changed since this transaction read it.
CONFLICT_CODES = frozenset({1020, 1205, 1213})

ATTEMPTS = 20
FIRST_WAIT_SECONDS = 0.01
LONGEST_WAIT_SECONDS = 0.25
STEP_ROWS = 1000
# What the server says of the data, not of itself, beside what the driver takes for that.
REFUSED_CODES = frozenset({ER.NET_PACKET_TOO_LARGE, ER.TRUNCATED_WRONG_VALUE_FOR_FIELD})
COLUMNS = INSERT_COLUMNS.split(", ")
# Doubles of today's epoch seconds are 0.24 µs apart.
MARK_SECONDS = 1e-6


class MySQLStorage(SqlStorage):
    """The scalar store of any number of processes; each keeps a pool of connections."""

    remote = True
    product: ClassVar[str] = "MySQL"
    transient_codes: ClassVar[frozenset[int]] = LOST_CODES | CONFLICT_CODES
    # The server says itself that such a transaction is rolled back, even in answer to COMMIT.
    undone_codes: ClassVar[frozenset[int]] = CONFLICT_CODES

    def __init__(
        self, server: Server, timeout: float = 2.0, pool_size: int = 16, migrate: bool = True
    ) -> None:
        self.server = server
        self.timeout = timeout
        self.pool_size = pool_size
        self.migrate = migrate
        self._pool: PooledDB | None = None
        self._free = threading.BoundedSemaphore(pool_size)
        self._lost_at = 0.0
        self._tls: ssl.SSLContext | None = None
        self._max_packet = STATEMENT_BYTES
        self._ids_are_consecutive = False

    @classmethod
    def from_settings(cls, settings: Settings) -> "MySQLStorage":
        server = Server(
            settings.mysql_host,
            settings.mysql_port,
            settings.mysql_user,
            settings.mysql_password,
            settings.mysql_database,
            settings.mysql_tls,
            settings.mysql_tls_ca,
        )
        return cls(server, settings.store_timeout, settings.mysql_pool_size, settings.mysql_migrate)

    def open(self) -> None:
        self._tls = tls_context(self.server)
        # The pool keeps connections. What else DBUtils 3.2 offers is left unused, since it knows no time
        # limit and works under the pool's one lock. Its limit waits for a connection for ever or not at all.
        # Its ping and its reset are sent under that lock: at a server that takes 0.2 s to answer, eight
        # threads that take or give back a connection wait 1.6 s, not 0.2 and not at all. It would make
        # connections there one at a time as well, so ours are made on their first use. And it repeats what
        # failed, even if that may have been done: so failures are tied to an error that is not raised.
        self._pool = PooledDB(
            lambda: self.new_connection(self.timeout),
            ping=0,
            reset=False,
            failures=pymysql.NotSupportedError,
        )
        try:
            self._ensure_schema()
            self._read_variables()
        except ScalarStoreError as exc:
            self.close()
            raise ConfigError(f"cannot open the {self.product} {self.server}: {exc}") from exc
        except ConfigError:
            self.close()
            raise

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        with self._connection() as connection, connection.cursor() as cursor:
            yield MySQLCursor(cursor)

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        with self._connection() as connection, connection.cursor() as cursor:
            connection.begin()
            try:
                yield MySQLCursor(cursor)
            except BaseException:
                roll_back(connection)
                raise
            try:
                connection.commit()
            except pymysql.MySQLError as exc:
                roll_back(connection)
                raise self._translated(exc, committing=True) from exc

    def repeating(self, call: Callable[[], T], *, when_in_doubt: bool) -> T:
        def is_worth_it(exc: BaseException) -> bool:
            return isinstance(exc, TransientError) and (when_in_doubt or not exc.in_doubt)

        try:
            return call()
        except TransientError as exc:
            failures: list[TransientError] = [exc]

        def once_more() -> T:
            # The first try is over: making the machinery of retries costs more than most calls.
            if failures:
                raise failures.pop()
            return call()

        # No longer than one statement may take: a server that does not answer is asked once.
        return Retrying(
            retry=retry_if_exception(is_worth_it),
            stop=stop_before_delay(time_left(self.timeout)) | stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            reraise=True,
        )(once_more)

    def change_all(
        self, cursor: Cursor, table: str, change: str, values: Sequence[Any], where: str, bound: Sequence[Any]
    ) -> int:
        # One statement over very many rows would outlast the timeout; the steps share a transaction. By
        # id, since with LIMIT each step would walk over what the ones before it left in the index.
        cursor.execute(f"SELECT id FROM {table} WHERE {where}", bound)
        changed = 0
        for chunk in chunks(sorted(row[0] for row in cursor.fetchall()), STEP_ROWS):
            cursor.execute(f"{change} WHERE id IN ({marks(chunk)}) AND {where}", (*values, *chunk, *bound))
            changed += cursor.rowcount
        return changed

    def read_answer(self, cursor: Cursor, where: str, bound: Sequence[Any]) -> Sequence[Any] | None:
        # One column: the driver reads a description of each with every reply, which takes it longer than
        # all the rest of a read by fingerprint.
        cursor.execute(f"SELECT JSON_ARRAY({ANSWER_COLUMNS}) FROM modelcache_llm_answer WHERE {where}", bound)
        row = cursor.fetchone()
        if row is None:
            return None
        id_, *texts, hit_count, expires_at, metadata, observed = orjson.loads(row[0])
        # Servers differ in what a number or a truth becomes in JSON, and some make it a text.
        expires_at = None if expires_at is None else float(expires_at)
        return int(id_), *texts, int(hit_count), expires_at, metadata, int(observed)

    def lock_fingerprints(self, cursor: Cursor, fingerprints: Sequence[str]) -> None:
        # Rows are committed in state WRITING before they are activated, so two activations of one
        # fingerprint always meet on a row, and the second then sees what the first did.
        for chunk in chunks(fingerprints, ID_CHUNK):
            cursor.execute(
                f"SELECT id FROM modelcache_llm_answer WHERE fingerprint IN ({marks(chunk)}) "
                f"AND is_deleted IN ({RowState.LIVE:d}, {RowState.WRITING:d}) ORDER BY id FOR UPDATE",
                chunk,
            )

    def keep_removals_out(self, cursor: Cursor) -> None:
        # Rows that are always there, and that nothing else locks while the service runs.
        cursor.execute("SELECT version FROM modelcache_schema LOCK IN SHARE MODE")
        cursor.fetchall()

    def wait_for_inserts(self, cursor: Cursor) -> None:
        cursor.execute("SELECT version FROM modelcache_schema FOR UPDATE")
        cursor.fetchall()

    def add_uses(self, cursor: Cursor, uses: Sequence[tuple[int, int, float]]) -> None:
        rows = " UNION ALL ".join(
            ["SELECT ? AS id, ? AS uses, ? AS used_at", *["SELECT ?, ?, ?"] * (len(uses) - 1)]
        )
        cursor.execute(
            f"UPDATE modelcache_llm_answer AS answer JOIN ({rows}) AS used ON answer.id = used.id "
            "SET answer.hit_count = answer.hit_count + used.uses, "
            "answer.last_used_at = GREATEST(answer.last_used_at, used.used_at)",
            [value for use in uses for value in use],
        )

    def add_amounts(
        self, cursor: Cursor, table: str, columns: str, key: str, rows: Sequence[Sequence[Any]]
    ) -> None:
        amount = columns.rsplit(", ", 1)[-1]
        cursor.execute(
            f"INSERT INTO {table} ({columns}) VALUES "
            f"{', '.join([f'({marks(rows[0])})'] * len(rows))} "
            f"ON DUPLICATE KEY UPDATE {amount} = {amount} + VALUES({amount})",
            [value for row in rows for value in row],
        )

    def insert_lease(self, cursor: Cursor, row: Sequence[Any]) -> None:
        cursor.execute("INSERT IGNORE INTO modelcache_lease (name, holder, expires_at) VALUES (?, ?, ?)", row)

    def insert_answers(self, cursor: Cursor, rows: Sequence[Sequence[Any]]) -> list[int]:
        # Each row's time of writing, the last column, is its own: by it the row is found again.
        marked = [(*row[:-1], row[-1] + number * MARK_SECONDS) for number, row in enumerate(rows)]
        ids: list[int] = []
        for chunk in statements_of(marked, self._max_packet):
            cursor.execute(
                f"INSERT INTO modelcache_llm_answer ({INSERT_COLUMNS}) VALUES "
                + ", ".join([f"({marks(COLUMNS)})"] * len(chunk)),
                [value for row in chunk for value in row],
            )
            first = cursor.lastrowid or 0
            ids.extend(range(first, first + len(chunk)))
        return ids if self._ids_are_consecutive else self._read_ids(cursor, marked)

    def session_statements(self, timeout: float) -> tuple[str, ...]:
        """Return what prepares a new connection; a lock is waited for no longer than a statement."""
        return (
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            f"SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = {_half(timeout)}",
        )

    def ids_are_consecutive(self, variables: dict[str, str]) -> bool:
        """Whether the ids of one INSERT follow each other: not where several servers share them out."""
        return variables["auto_increment_increment"] == "1" and variables.get("wsrep_on", "OFF") == "OFF"

    @contextmanager
    def alone(self, cursor: Cursor) -> Iterator[None]:
        """Keep other processes from migrating the tables meanwhile."""
        # It ends with the connection, so a process that is killed does not keep it.
        lock = digest("modelcache schema", self.server.database)
        cursor.execute("SELECT GET_LOCK(?, ?)", (lock, int(MIGRATE_SECONDS / 2)))
        if cursor.fetchone()[0] != 1:
            raise ScalarStoreError("another process has been migrating it for too long")
        yield

    @contextmanager
    def _connection(self) -> Iterator[MySQLConnection]:
        """Take a connection from the pool; driver errors leave it as ScalarStoreError."""
        if self._pool is None:
            raise ScalarStoreError(f"the {self.product} store is not open")
        # The pool's own limit would wait without end (see ``open``).
        if not self._free.acquire(timeout=time_left(self.timeout)):
            raise ScalarStoreError(f"all {self.pool_size} connections were busy for too long")
        try:
            pooled = self._pool.connection()
        except BaseException:
            self._free.release()
            raise
        try:
            connection: MySQLConnection = pooled.dbapi_connection
            connection.make_ready(self._lost_at)
            yield connection
        except pymysql.MySQLError as exc:
            raise self._translated(exc) from exc
        finally:
            pooled.close()
            self._free.release()

    def _translated(self, exc: pymysql.MySQLError, *, committing: bool = False) -> ScalarStoreError:
        code = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
        message = f"{self.product} error {code}: {exc.args[-1] if exc.args else exc!r}"
        if code in LOST_CODES:
            # The other connections of the pool may be gone as well.
            self._lost_at = monotonic()
        if isinstance(exc, pymysql.DataError) or code in REFUSED_CODES:
            return RefusedDataError(message)
        if code in self.transient_codes:
            return TransientError(message, in_doubt=committing and code not in self.undone_codes)
        return ScalarStoreError(message)

    def new_connection(self, timeout: float) -> MySQLConnection:
        """Return a connection that is not made yet."""
        place = {"host": self.server.host, "port": self.server.port}
        if self.server.host.startswith("/"):
            place = {"unix_socket": self.server.host}
        return MySQLConnection(
            self.session_statements(timeout),
            timeout,
            **place,
            user=self.server.user,
            # Bytes, since the driver takes a str to be Latin-1.
            password=self.server.password.get_secret_value().encode("utf-8", "surrogateescape"),
            database=self.server.database,
            charset="utf8mb4",
            collation="utf8mb4_bin",
            autocommit=True,
            ssl=self._tls,
            ssl_disabled=self._tls is None,
        )

    def _ensure_schema(self) -> None:
        where = f"the {self.product} {self.server}"
        if must_migrate(self._schema_version(), where, allowed=self.migrate):
            self._migrate()

    @repeated
    def _schema_version(self) -> int:
        with self.reading() as cursor:
            return read_schema_version(cursor)

    def _migrate(self) -> None:
        """Bring the tables to this version, while other processes that start wait for it."""
        connection = self.new_connection(MIGRATE_SECONDS)
        try:
            connection.connect()
            with connection.cursor() as driver_cursor:
                cursor = MySQLCursor(driver_cursor)
                with self.alone(cursor):
                    apply_migrations(cursor)
        except pymysql.MySQLError as exc:
            raise self._translated(exc) from exc
        finally:
            connection.disconnect()

    @repeated
    def _read_variables(self) -> None:
        names = ("auto_increment_increment", "max_allowed_packet", "wsrep_on")
        with self.reading() as cursor:
            cursor.execute(f"SHOW VARIABLES WHERE Variable_name IN ({marks(names)})", names)
            variables = {name: str(value) for name, value in cursor.fetchall()}
        self._max_packet = int(variables["max_allowed_packet"])
        self._ids_are_consecutive = self.ids_are_consecutive(variables)

    def _read_ids(self, cursor: Cursor, rows: Sequence[Sequence[Any]]) -> list[int]:
        """Find the rows just inserted by their fingerprints and times of writing."""
        place = COLUMNS.index("fingerprint")
        wanted = [(row[place], row[-1]) for row in rows]
        found: dict[tuple[str, float], list[int]] = {}
        for chunk in chunks(sorted({fingerprint for fingerprint, _ in wanted}), ID_CHUNK):
            cursor.execute(
                "SELECT fingerprint, last_used_at, id FROM modelcache_llm_answer "
                f"WHERE fingerprint IN ({marks(chunk)}) AND {WRITING}",
                chunk,
            )
            for fingerprint, written_at, id_ in cursor.fetchall():
                found.setdefault((fingerprint, written_at), []).append(id_)
        if any(len(found.get(key, ())) != 1 for key in wanted):
            raise TransientError("another process wrote the same question in the same microsecond")
        return [found[key][0] for key in wanted]


def _half(timeout: float) -> int:
    return max(1, int(timeout / 2))
