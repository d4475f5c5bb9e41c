"""The log of queries."""

from collections.abc import Sequence
from time import time
from typing import Any

from modelcache.manager.scalar_data.log_store import LogStore
from modelcache.manager.scalar_data.sql import (
    ROW_CHUNK,
    Cursor,
    SqlDatabase,
    chunks,
    epoch,
    marks,
    repeated,
    repeated_unless_done,
    sql_time,
)
from modelcache.records.log_line import LogLine

LOG_TEXT_CHARS = 10_000
LOG_COLUMNS = (
    "gmt_create, gmt_modified, error_code, error_desc, cache_hit, delta_time, model, model_key, "
    "query, hit_query, answer, entry_id, confidence"
)
# Of the latest queries so many are looked at for those that hit, or nearly did.
RECENT_ROWS = 2000


class SqlLog(SqlDatabase, LogStore):
    """Any dialect's."""

    @repeated_unless_done
    def write_log(self, lines: Sequence[LogLine]) -> None:
        now = time()
        with self.writing() as cursor:
            for chunk in chunks(lines, ROW_CHUNK):
                # One statement, not executemany: SQLite's driver gives the interpreter away at each row.
                values = ", ".join([f"({marks(range(13))})"] * len(chunk))
                cursor.execute(
                    f"INSERT INTO modelcache_query_log ({LOG_COLUMNS}) VALUES {values}",
                    [value for line in chunk for value in _log_row(line, now)],
                )

    @repeated
    def logged(self, model_key: str, limit: int) -> list[str]:
        with self.reading() as cursor:
            cursor.execute(
                "SELECT query FROM modelcache_query_log WHERE model_key = ? ORDER BY id DESC LIMIT ?",
                (model_key, limit),
            )
            return [row[0] for row in cursor.fetchall()]

    @repeated
    def recent(self, model_key: str | None, limit: int, *, hits: bool) -> list[LogLine]:
        of_model, bound = ("", []) if model_key is None else ("WHERE model_key = ? ", [model_key])
        with self.reading() as cursor:
            # Chosen first, so that the texts of the others are not read.
            cursor.execute(
                "SELECT id, cache_hit, entry_id, confidence FROM modelcache_query_log "
                f"{of_model}ORDER BY id DESC LIMIT {RECENT_ROWS}",
                bound,
            )
            ids = [
                row[0]
                for row in cursor.fetchall()
                if (row[1] if hits else not row[1] and None not in (row[2], row[3]))
            ][:limit]
            if not ids:
                return []
            cursor.execute(
                f"SELECT {LOG_COLUMNS} FROM modelcache_query_log WHERE id IN ({marks(ids)}) ORDER BY id DESC",
                ids,
            )
            return [_log_line(row) for row in cursor.fetchall()]

    @repeated
    def trim_log(self, before: float) -> int:
        with self.writing() as cursor:
            return self.delete_log(cursor, "gmt_create < ?", sql_time(before))

    def delete_log(self, cursor: Cursor, where: str, value: str) -> int:
        table = "modelcache_query_log"
        return self.change_all(cursor, table, f"DELETE FROM {table}", (), where, (value,))


def _log_row(line: LogLine, now: float) -> tuple[Any, ...]:
    """Return the values of LOG_COLUMNS."""
    return (
        *(sql_time(line.created_at), sql_time(now), line.error_code, line.error_desc),
        *(int(line.cache_hit), line.delta_time, line.model, line.model_key),
        *(text[:LOG_TEXT_CHARS] for text in (line.query, line.hit_query, line.answer)),
        *(line.entry_id, line.confidence),
    )


def _log_line(row: Sequence[Any]) -> LogLine:
    """Read the values of LOG_COLUMNS."""
    created, _, code, description, is_hit, *rest = row
    return LogLine(epoch(created), code, description, bool(is_hit), *rest)
