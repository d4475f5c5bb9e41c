"""Rows in one SQLite file: write-ahead log, and every commit on disk before it is acknowledged."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from dbutils.pooled_db import PooledDB

from modelcache.errors import ConfigError, ScalarStoreError
from modelcache.manager.folder_lock import FolderLock
from modelcache.manager.scalar_data.base import RowState
from modelcache.manager.scalar_data.sql import Cursor, marks
from modelcache.manager.scalar_data.sql_answers import INSERT_COLUMNS
from modelcache.manager.scalar_data.sql_removals import LIVE
from modelcache.manager.scalar_data.sql_storage import SqlStorage
from modelcache.records.entry import NewAnswer
from modelcache.records.removal import Unremoved
from modelcache.settings import Settings

FILE_NAME = "modelcache.db"
BUSY_SECONDS = 10.0
PAGE_BYTES = 8192
# A batch of some thousand entries and the pages of its indexes; each connection has its own cache.
CACHE_KIB = 16_384

# A list of statements for each version of the schema; a change to it is one more list.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE modelcache_llm_answer (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            gmt_create TEXT NOT NULL,
            gmt_modified TEXT NOT NULL,
            question TEXT NOT NULL,
            answer TEXT NOT NULL,
            answer_type INTEGER NOT NULL DEFAULT 0,
            hit_count INTEGER NOT NULL DEFAULT 0,
            model TEXT NOT NULL,
            embedding_data BLOB,
            is_deleted INTEGER NOT NULL,
            model_key TEXT NOT NULL,
            partition_key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            embedder TEXT NOT NULL,
            expires_at REAL,
            last_used_at REAL NOT NULL
        )
        """,
        "CREATE INDEX idx_answer_fingerprint ON modelcache_llm_answer (fingerprint, is_deleted)",
        "CREATE INDEX idx_answer_model ON modelcache_llm_answer (model_key, is_deleted, embedder)",
        "CREATE INDEX idx_answer_state ON modelcache_llm_answer (is_deleted, expires_at)",
        """
        CREATE TABLE modelcache_answer_tag (
            answer_id INTEGER NOT NULL,
            tag_key TEXT NOT NULL,
            tag TEXT NOT NULL,
            PRIMARY KEY (tag_key, answer_id)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX idx_tag_answer ON modelcache_answer_tag (answer_id)",
        """
        CREATE TABLE modelcache_query_log (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            gmt_create TEXT NOT NULL,
            gmt_modified TEXT NOT NULL,
            error_code INTEGER NOT NULL,
            error_desc TEXT NOT NULL,
            cache_hit INTEGER NOT NULL,
            delta_time REAL NOT NULL,
            model TEXT NOT NULL,
            model_key TEXT NOT NULL,
            query TEXT NOT NULL,
            hit_query TEXT NOT NULL,
            answer TEXT NOT NULL
        )
        """,
        "CREATE INDEX idx_log_model ON modelcache_query_log (model_key)",
        "CREATE INDEX idx_log_create ON modelcache_query_log (gmt_create)",
        """
        CREATE TABLE modelcache_lease (
            name TEXT PRIMARY KEY NOT NULL,
            holder TEXT NOT NULL,
            expires_at REAL NOT NULL
        )
        """,
    ),
    (
        """
        CREATE TABLE modelcache_observation (
            answer_id INTEGER NOT NULL,
            fingerprint TEXT NOT NULL,
            told INTEGER NOT NULL,
            model_key TEXT NOT NULL,
            score REAL NOT NULL,
            correct INTEGER NOT NULL,
            observed_at REAL NOT NULL,
            embedder TEXT NOT NULL,
            embedding_data BLOB,
            PRIMARY KEY (answer_id, fingerprint, told)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX idx_observation_model ON modelcache_observation (model_key, observed_at)",
        """
        CREATE TABLE modelcache_lookup (
            fingerprint TEXT PRIMARY KEY NOT NULL,
            partition_key TEXT NOT NULL,
            model_key TEXT NOT NULL,
            answer_id INTEGER NOT NULL,
            score REAL NOT NULL,
            asked_at REAL NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX idx_lookup_model ON modelcache_lookup (model_key)",
        "CREATE INDEX idx_lookup_asked ON modelcache_lookup (asked_at)",
        """
        CREATE TABLE modelcache_policy (
            model_key TEXT PRIMARY KEY NOT NULL,
            model TEXT NOT NULL,
            mode TEXT,
            error_rate REAL
        )
        """,
        """
        CREATE TABLE modelcache_tally (
            model_key TEXT NOT NULL,
            outcome TEXT NOT NULL,
            bucket INTEGER NOT NULL,
            queries INTEGER NOT NULL,
            PRIMARY KEY (model_key, outcome, bucket)
        ) WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE modelcache_llm_answer ADD COLUMN metadata TEXT",
        """
        CREATE TABLE modelcache_model_limit (
            model_key TEXT PRIMARY KEY NOT NULL,
            ttl REAL,
            max_size INTEGER
        )
        """,
        """
        CREATE TABLE modelcache_probe (
            embedder TEXT PRIMARY KEY NOT NULL,
            generation INTEGER NOT NULL,
            embedding_data BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE modelcache_envelope (
            answer_id INTEGER PRIMARY KEY NOT NULL,
            envelope TEXT NOT NULL
        )
        """,
    ),
    (
        "ALTER TABLE modelcache_llm_answer ADD COLUMN scope TEXT",
        # Of a model's entries: by id, by age, and by how often they answered.
        "CREATE INDEX idx_answer_page ON modelcache_llm_answer (model_key, is_deleted, id)",
        "CREATE INDEX idx_answer_age ON modelcache_llm_answer (model_key, is_deleted, gmt_create)",
        "CREATE INDEX idx_answer_hits ON modelcache_llm_answer (model_key, is_deleted, hit_count, id)",
        """
        CREATE TABLE modelcache_answer_source (
            answer_id INTEGER NOT NULL,
            source_key TEXT NOT NULL,
            source TEXT NOT NULL,
            PRIMARY KEY (source_key, answer_id)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX idx_source_answer ON modelcache_answer_source (answer_id)",
        """
        CREATE TABLE modelcache_removal (
            removal_key TEXT PRIMARY KEY NOT NULL,
            removed_at REAL NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX idx_removal_at ON modelcache_removal (removed_at)",
        """
        CREATE TABLE modelcache_day_count (
            day INTEGER NOT NULL,
            model_key TEXT NOT NULL,
            model TEXT NOT NULL,
            name TEXT NOT NULL,
            amount REAL NOT NULL,
            PRIMARY KEY (day, model_key, name)
        ) WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE modelcache_query_log ADD COLUMN entry_id INTEGER",
        "ALTER TABLE modelcache_query_log ADD COLUMN confidence REAL",
    ),
)


class SqliteStorage(SqlStorage):
    """The scalar store of one process or, unless it is ``exclusive``, of several on one machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder_lock = FolderLock(path.parent)
        self._pool: PooledDB | None = None
        # One writer at a time is SQLite's rule; waiting here is fair and never ends in "busy".
        self._write_lock = threading.Lock()
        self._last_id = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> "SqliteStorage":
        return cls(settings.data_dir / FILE_NAME)

    def open(self) -> None:
        if self.exclusive:
            self._folder_lock.take()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Failover would repeat a statement outside its transaction: it is tied to an error that a
            # file never raises.
            self._pool = PooledDB(
                _connector(self.path),
                ping=0,
                failures=sqlite3.NotSupportedError,
                reset=None,
            )
            self._migrate()
        except (OSError, ScalarStoreError) as exc:
            self.close()
            raise ConfigError(f"cannot open the SQLite file {self.path}: {exc.__cause__ or exc}") from exc

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        self._folder_lock.release()

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        if self._pool is None:
            raise ScalarStoreError("the SQLite file is not open")
        try:
            connection = self._pool.connection()
            try:
                cursor = connection.cursor()
                yield cast(Cursor, cursor)
                cursor.close()
            finally:
                connection.close()
        except sqlite3.Error as exc:
            raise ScalarStoreError(f"SQLite: {exc}") from exc

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        if self._pool is None:
            raise ScalarStoreError("the SQLite file is not open")
        try:
            with self._write_lock:
                connection = self._pool.connection()
                try:
                    cursor = connection.cursor()
                    cursor.execute("BEGIN IMMEDIATE")
                    try:
                        yield cast(Cursor, cursor)
                        connection.commit()
                    except BaseException:
                        connection.rollback()
                        raise
                    cursor.close()
                finally:
                    connection.close()
        except sqlite3.Error as exc:
            raise ScalarStoreError(f"SQLite: {exc}") from exc

    def insert_live(
        self,
        answers: Sequence[NewAnswer],
        index: Callable[[list[int]], None],
        unremoved: Unremoved | None = None,
    ) -> list[int]:
        last = {new.fingerprint: place for place, new in enumerate(answers)}
        winners = set(last.values())
        states = [RowState.LIVE if place in winners else RowState.DELETED for place in range(len(answers))]
        with self.writing() as cursor:
            self.check_removals(cursor, unremoved)
            self.set_state(cursor, RowState.DELETED, LIVE, "fingerprint", sorted(last))
            ids = self.insert_in_states(cursor, answers, states)
            index(ids)
        return ids

    def insert_answers(self, cursor: Cursor, rows: Sequence[Sequence[Any]]) -> list[int]:
        # AUTOINCREMENT keeps the highest id ever given; inside the transaction the next are ours. A
        # transaction that was rolled back takes its ids with it, but their vectors may be there yet.
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'modelcache_llm_answer'")
        highest = cursor.fetchone()
        first = max(highest[0] if highest else 0, self._last_id) + 1
        self._last_id = first + len(rows) - 1
        ids = list(range(first, first + len(rows)))
        cursor.executemany(
            f"INSERT INTO modelcache_llm_answer (id, {INSERT_COLUMNS}) VALUES ({marks(range(18))})",
            [(id_, *row) for id_, row in zip(ids, rows, strict=True)],
        )
        return ids

    def add_uses(self, cursor: Cursor, uses: Sequence[tuple[int, int, float]]) -> None:
        cursor.execute(
            f"WITH uses (id, count, used_at) AS (VALUES {', '.join(['(?, ?, ?)'] * len(uses))}) "
            "UPDATE modelcache_llm_answer SET hit_count = hit_count + uses.count, "
            "last_used_at = MAX(last_used_at, uses.used_at) FROM uses "
            "WHERE modelcache_llm_answer.id = uses.id",
            [value for use in uses for value in use],
        )

    def add_amounts(
        self, cursor: Cursor, table: str, columns: str, key: str, rows: Sequence[Sequence[Any]]
    ) -> None:
        amount = columns.rsplit(", ", 1)[-1]
        cursor.execute(
            f"INSERT INTO {table} ({columns}) VALUES "
            f"{', '.join([f'({marks(rows[0])})'] * len(rows))} "
            f"ON CONFLICT ({key}) DO UPDATE SET {amount} = {amount} + excluded.{amount}",
            [value for row in rows for value in row],
        )

    def insert_lease(self, cursor: Cursor, row: Sequence[Any]) -> None:
        cursor.execute(
            "INSERT OR IGNORE INTO modelcache_lease (name, holder, expires_at) VALUES (?, ?, ?)", row
        )

    def _migrate(self) -> None:
        with self.writing() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS modelcache_schema (version INTEGER NOT NULL)")
            cursor.execute("SELECT MAX(version) FROM modelcache_schema")
            version = cursor.fetchone()[0] or 0
            if version > len(MIGRATIONS):
                raise ConfigError(
                    f"{self.path} has schema version {version}, newer than this service's {len(MIGRATIONS)}: "
                    "start a newer version of the service"
                )
            for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
                for statement in statements:
                    cursor.execute(statement)
                cursor.execute("INSERT INTO modelcache_schema (version) VALUES (?)", (number,))


def _connector(path: Path) -> Callable[[], sqlite3.Connection]:
    """Return what opens one more connection to the file, for the pool."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # A row with its embedding takes 2 kB or more: two would not fit into a page of the usual size.
        # Only a new file takes this.
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: the log is synced at every commit, so what was acknowledged survives a power cut too.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    return connect
