"""The states of rows, what removes them, and what a removal holds back."""

from collections.abc import Mapping, Sequence
from time import time
from typing import Any

from modelcache.errors import OutdatedError
from modelcache.manager.scalar_data.base import MAX_ID, RemovalStore, RowState
from modelcache.manager.scalar_data.sql import (
    ID_CHUNK,
    Cursor,
    SqlDatabase,
    chunks,
    marks,
    repeated,
    repeated_unless_done,
    sql_time,
)
from modelcache.records.removal import Unremoved, scope_key, source_key, tag_key

LIVE = f"is_deleted = {RowState.LIVE:d}"
WRITING = f"is_deleted = {RowState.WRITING:d}"
NOT_DELETED = f"is_deleted IN ({RowState.LIVE:d}, {RowState.WRITING:d})"
DELETED = f"is_deleted = {RowState.DELETED:d}"
# A plus keeps a column from being looked up by its index: SQLite would read all live rows, not the few by id.
ID_AND_LIVE = f"+{LIVE}"
ID_AND_WRITING = f"+{WRITING}"
ID_AND_NOT_DELETED = f"+{NOT_DELETED}"
ID_AND_DELETED = f"+{DELETED}"
ID_AND_LIVE_IN_MODEL = f"+{LIVE} AND +model_key = ?"


class SqlRemovals(SqlDatabase, RemovalStore):
    """A dialect adds how inserts and removals are kept apart, where several write at a time."""

    def keep_removals_out(self, cursor: Cursor) -> None:
        """Have removals wait to be noted until this transaction ends; others like it need not wait.

        Nothing to do where only one transaction writes at a time.
        """

    def wait_for_inserts(self, cursor: Cursor) -> None:
        """Wait for the transactions that keep removals out, and let none begin until this one ends."""

    @repeated_unless_done
    def delete(self, model_key: str, ids: Sequence[int]) -> int:
        possible = sorted({id_ for id_ in ids if 0 < id_ <= MAX_ID})
        with self.writing() as cursor:
            return self._delete_live(cursor, model_key, possible)

    @repeated_unless_done
    def delete_tagged(self, model_key: str, tags: Sequence[str], *, dry_run: bool = False) -> int:
        keys = [tag_key(model_key, tag) for tag in dict.fromkeys(tags)]
        return self._delete_with_any("tag", model_key, keys, dry_run=dry_run)

    @repeated_unless_done
    def delete_sourced(self, model_key: str, sources: Sequence[str], *, dry_run: bool = False) -> int:
        keys = [source_key(model_key, source) for source in dict.fromkeys(sources)]
        return self._delete_with_any("source", model_key, keys, dry_run=dry_run)

    @repeated_unless_done
    def delete_scoped(self, model_key: str, scope: Mapping[str, Any], *, dry_run: bool = False) -> int:
        keys = [scope_key(model_key, name, value) for name, value in scope.items()]
        with self.reading() if dry_run else self.writing() as cursor:
            cursor.execute(
                f"SELECT answer_id FROM modelcache_answer_tag WHERE tag_key IN ({marks(keys)}) "
                "GROUP BY answer_id HAVING COUNT(*) = ?",
                (*keys, len(keys)),
            )
            ids = sorted(row[0] for row in cursor.fetchall())
            return self._delete_live(cursor, model_key, ids, dry_run=dry_run)

    @repeated_unless_done
    def delete_older(self, model_key: str, before: float, *, dry_run: bool = False) -> int:
        condition, bound = f"{LIVE} AND model_key = ? AND gmt_create < ?", (model_key, sql_time(before))
        if not dry_run:
            with self.writing() as cursor:
                return self.delete_all(cursor, condition, bound)
        with self.reading() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM modelcache_llm_answer WHERE {condition}", bound)
            return int(cursor.fetchone()[0])

    @repeated
    def delete_expired(self, now: float) -> int:
        with self.writing() as cursor:
            return self.delete_all(cursor, f"{LIVE} AND expires_at <= ?", (now,))

    @repeated
    def note_removal(self, keys: Sequence[str]) -> None:
        with self.writing() as cursor:
            self.wait_for_inserts(cursor)
            # Read now: later than every look-up that an insert which was waited for began with.
            now = time()
            for chunk in chunks(sorted(set(keys)), ID_CHUNK):
                cursor.execute(
                    "REPLACE INTO modelcache_removal (removal_key, removed_at) VALUES "
                    + ", ".join(["(?, ?)"] * len(chunk)),
                    [value for key in chunk for value in (key, now)],
                )

    @repeated
    def trim_removals(self, before: float) -> int:
        with self.writing() as cursor:
            cursor.execute("DELETE FROM modelcache_removal WHERE removed_at < ?", (before,))
            return int(cursor.rowcount)

    def check_removals(self, cursor: Cursor, unremoved: Unremoved | None) -> None:
        """Raise OutdatedError where something was removed; nothing is until this transaction ends."""
        if unremoved is None:
            return
        self.keep_removals_out(cursor)
        for chunk in chunks(unremoved.keys, ID_CHUNK):
            cursor.execute(
                f"SELECT COUNT(*) FROM modelcache_removal WHERE removal_key IN ({marks(chunk)}) "
                "AND removed_at >= ?",
                (*chunk, unremoved.since),
            )
            if cursor.fetchone()[0]:
                raise OutdatedError(
                    "asked_at: a tag, a source, a key of the scope or the model was removed after it"
                )

    def set_state(
        self,
        cursor: Cursor,
        state: RowState,
        condition: str,
        column: str,
        values: Sequence[Any],
        bound: tuple[Any, ...] = (),
    ) -> int:
        """Set the state where ``condition`` holds and ``column`` is among ``values``; return how many."""
        changed = 0
        modified = sql_time(time())
        for chunk in chunks(values, ID_CHUNK):
            cursor.execute(
                "UPDATE modelcache_llm_answer SET is_deleted = ?, gmt_modified = ? "
                f"WHERE {condition} AND {column} IN ({marks(chunk)})",
                (int(state), modified, *bound, *chunk),
            )
            changed += cursor.rowcount
        return changed

    def delete_all(self, cursor: Cursor, condition: str, bound: Sequence[Any]) -> int:
        """Soft-delete every row that meets a condition on its state; return how many."""
        table = "modelcache_llm_answer"
        change = f"UPDATE {table} SET is_deleted = ?, gmt_modified = ?"
        values = (int(RowState.DELETED), sql_time(time()))
        return self.change_all(cursor, table, change, values, condition, bound)

    def count_live_among(self, cursor: Cursor, ids: Sequence[int], model_key: str = "") -> int:
        """Count the LIVE rows among these, of one model where it is named."""
        condition, bound = (ID_AND_LIVE_IN_MODEL, [model_key]) if model_key else (ID_AND_LIVE, [])
        count = 0
        for chunk in chunks(ids, ID_CHUNK):
            cursor.execute(
                f"SELECT COUNT(*) FROM modelcache_llm_answer WHERE {condition} AND id IN ({marks(chunk)})",
                (*bound, *chunk),
            )
            count += int(cursor.fetchone()[0])
        return count

    def _delete_with_any(self, kind: str, model_key: str, keys: Sequence[str], *, dry_run: bool) -> int:
        ids: set[int] = set()
        with self.reading() if dry_run else self.writing() as cursor:
            for chunk in chunks(keys, ID_CHUNK):
                cursor.execute(
                    f"SELECT answer_id FROM modelcache_answer_{kind} WHERE {kind}_key IN ({marks(chunk)})",
                    chunk,
                )
                ids.update(row[0] for row in cursor.fetchall())
            return self._delete_live(cursor, model_key, sorted(ids), dry_run=dry_run)

    def _delete_live(
        self, cursor: Cursor, model_key: str, ids: Sequence[int], *, dry_run: bool = False
    ) -> int:
        if dry_run:
            return self.count_live_among(cursor, ids, model_key)
        return self.set_state(cursor, RowState.DELETED, ID_AND_LIVE_IN_MODEL, "id", ids, (model_key,))
