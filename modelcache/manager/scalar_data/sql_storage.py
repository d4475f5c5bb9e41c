"""The statements of a scalar store, written once for every SQL dialect."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import lru_cache, partial, wraps
from itertools import islice
from time import time
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from modelcache.errors import ScalarStoreError
from modelcache.hashing import digest
from modelcache.manager.patience import progressed
from modelcache.manager.scalar_data.base import (
    MAX_ID,
    CachedAnswer,
    DeadAnswer,
    DeadCount,
    HitUse,
    LogLine,
    ModelPolicy,
    NewAnswer,
    Observation,
    PendingLookup,
    RowState,
    RowUse,
    ScalarStore,
    StoredEmbedding,
    Tally,
)

T = TypeVar("T")
P = ParamSpec("P")
Storage = TypeVar("Storage", bound="SqlStorage")
ANSWER_TYPE_TEXT = 0
# What goes with an answer, itself last, and what goes with all of a model: table, and what names its rows.
OF_AN_ANSWER = (("answer_tag", "answer_id"), ("observation", "answer_id"), ("llm_answer", "id"))
OF_A_MODEL = (("observation", "answer_id"), ("lookup", "fingerprint"), ("tally", "bucket"))
ID_CHUNK = 500
LOG_CHUNK = 100
LOG_TEXT_CHARS = 10_000

# Told with each row, so that only entries of which something was observed need a further read.
IS_OBSERVED = (
    "EXISTS (SELECT 1 FROM modelcache_observation "
    "WHERE modelcache_observation.answer_id = modelcache_llm_answer.id)"
)
ANSWER_COLUMNS = (
    "id, model_key, partition_key, fingerprint, question, answer, hit_count, expires_at, " + IS_OBSERVED
)
INSERT_COLUMNS = (
    "gmt_create, gmt_modified, question, answer, answer_type, hit_count, model, embedding_data, "
    "is_deleted, model_key, partition_key, fingerprint, embedder, expires_at, last_used_at"
)
LOG_COLUMNS = (
    "gmt_create, gmt_modified, error_code, error_desc, cache_hit, delta_time, model, model_key, "
    "query, hit_query, answer"
)
OBSERVED_COLUMNS = "answer_id, fingerprint, told, model_key, score, correct, observed_at"
LOOKUP_COLUMNS = "fingerprint, partition_key, model_key, answer_id, score, asked_at"
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


def repeated(method: Callable[Concatenate[Storage, P], T]) -> Callable[Concatenate[Storage, P], T]:
    """Try the whole method again after a TransientError: doing it twice is as good as once."""

    @wraps(method)
    def trying(self: Storage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.repeating(partial(method, self, *args, **kwargs), when_in_doubt=True)

    return trying


def repeated_unless_done(
    method: Callable[Concatenate[Storage, P], T],
) -> Callable[Concatenate[Storage, P], T]:
    """The same, but not when the first time may have been committed: the second would add or tell wrong."""

    @wraps(method)
    def trying(self: Storage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.repeating(partial(method, self, *args, **kwargs), when_in_doubt=False)

    return trying


class SqlStorage(ScalarStore):
    """A dialect adds its connection, its schema, and the few statements that differ."""

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

    def change_all(
        self, cursor: Cursor, table: str, change: str, values: Sequence[Any], where: str, bound: Sequence[Any]
    ) -> int:
        """Change any number of rows by an UPDATE or DELETE and return how many; a dialect may take steps."""
        cursor.execute(f"{change} WHERE {where}", (*values, *bound))
        return cursor.rowcount

    def read_answer(self, cursor: Cursor, where: str, bound: Sequence[Any]) -> Sequence[Any] | None:
        """Return the ANSWER_COLUMNS of the first row, None where there is none."""
        cursor.execute(f"SELECT {ANSWER_COLUMNS} FROM modelcache_llm_answer WHERE {where}", bound)
        row: Sequence[Any] | None = cursor.fetchone()
        return row

    def lock_fingerprints(self, cursor: Cursor, fingerprints: Sequence[str]) -> None:
        """Keep other transactions from activating rows with these fingerprints until this one ends.

        Nothing to do where only one transaction writes at a time.
        """

    @abstractmethod
    def insert_lease(self, cursor: Cursor, row: Sequence[Any]) -> None:
        """Insert (name, holder, expires_at) unless the name is there, which leaves rowcount at 0."""

    @abstractmethod
    def add_uses(self, cursor: Cursor, uses: Sequence[tuple[int, int, float]]) -> None:
        """Add to the hit count of these rows, and move their last use on: (id, count, last_used_at)."""

    @abstractmethod
    def add_counts(self, cursor: Cursor, rows: Sequence[tuple[str, str, int, int]]) -> None:
        """Add to the counts of (model_key, outcome, bucket), making those that are not there."""

    @abstractmethod
    def insert_answers(self, cursor: Cursor, rows: Sequence[Sequence[Any]]) -> list[int]:
        """Insert rows of ``INSERT_COLUMNS`` and return their ids, in order."""

    @repeated
    def ping(self) -> None:
        with self.reading() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()

    @repeated_unless_done
    def add(self, answers: Sequence[NewAnswer]) -> list[int]:
        with self.writing() as cursor:
            return self.insert_in_states(cursor, answers, [RowState.WRITING] * len(answers))

    @repeated
    def activate(self, ids: Sequence[int], fingerprints: Sequence[str]) -> None:
        last = dict(zip(fingerprints, ids, strict=True))
        winners = sorted(last.values())
        losers = sorted(set(ids) - set(winners))
        with self.writing() as cursor:
            self.lock_fingerprints(cursor, sorted(last))
            changed = self.set_state(cursor, RowState.LIVE, ID_AND_WRITING, "id", winners)
            # They are live already when this call repeats one whose reply was lost.
            if changed != len(winners) and self._count_live_among(cursor, winners) != len(winners):
                raise ScalarStoreError("rows were removed while they were being written")
            self.set_state(cursor, RowState.DELETED, ID_AND_WRITING, "id", losers)
            self._retire_older(cursor, last)

    @repeated
    def discard(self, ids: Sequence[int]) -> None:
        with self.writing() as cursor:
            self.set_state(cursor, RowState.DELETED, ID_AND_WRITING, "id", ids)

    @repeated
    def discard_unfinished(self, before: float) -> int:
        with self.writing() as cursor:
            # A row that was never live was last "used" when it was written.
            return self._delete_all(cursor, f"{WRITING} AND last_used_at < ?", (before,))

    @repeated
    def find_exact(self, fingerprint: str, now: float) -> CachedAnswer | None:
        with self.reading() as cursor:
            row = self.read_answer(
                cursor,
                f"fingerprint = ? AND {LIVE} AND (expires_at IS NULL OR expires_at > ?) "
                "ORDER BY id DESC LIMIT 1",
                (fingerprint, now),
            )
        return CachedAnswer(*row) if row else None

    @repeated
    def get_live(self, ids: Sequence[int], now: float) -> dict[int, CachedAnswer]:
        found: dict[int, CachedAnswer] = {}
        with self.reading() as cursor:
            for chunk in chunks(ids, ID_CHUNK):
                cursor.execute(
                    f"SELECT {ANSWER_COLUMNS}, embedding_data FROM modelcache_llm_answer "
                    f"WHERE id IN ({marks(chunk)}) AND {ID_AND_LIVE} "
                    "AND (expires_at IS NULL OR expires_at > ?)",
                    (*chunk, now),
                )
                found.update((row[0], CachedAnswer(*row)) for row in cursor.fetchall())
        return found

    @repeated_unless_done
    def delete(self, model_key: str, ids: Sequence[int]) -> int:
        possible = sorted({id_ for id_ in ids if 0 < id_ <= MAX_ID})
        with self.writing() as cursor:
            return self.set_state(
                cursor, RowState.DELETED, ID_AND_LIVE_IN_MODEL, "id", possible, (model_key,)
            )

    @repeated_unless_done
    def delete_tagged(self, model_key: str, tags: Sequence[str]) -> int:
        keys = [tag_key(model_key, tag) for tag in dict.fromkeys(tags)]
        with self.writing() as cursor:
            ids: set[int] = set()
            for chunk in chunks(keys, ID_CHUNK):
                cursor.execute(
                    f"SELECT answer_id FROM modelcache_answer_tag WHERE tag_key IN ({marks(chunk)})", chunk
                )
                ids.update(row[0] for row in cursor.fetchall())
            return self.set_state(
                cursor, RowState.DELETED, ID_AND_LIVE_IN_MODEL, "id", sorted(ids), (model_key,)
            )

    @repeated_unless_done
    def truncate(self, model_key: str) -> int:
        with self.writing() as cursor:
            # What becomes live between the two statements meets the second.
            self._delete_all(cursor, f"{WRITING} AND model_key = ?", (model_key,))
            live = self._delete_all(cursor, f"{LIVE} AND model_key = ?", (model_key,))
            self._delete_log(cursor, "model_key = ?", model_key)
            for table, column in OF_A_MODEL:
                _delete_of_model(cursor, table, column, model_key)
        return live

    @repeated
    def delete_expired(self, now: float) -> int:
        with self.writing() as cursor:
            return self._delete_all(cursor, f"{LIVE} AND expires_at <= ?", (now,))

    @repeated
    def dead_counts(self) -> list[DeadCount]:
        with self.reading() as cursor:
            cursor.execute(
                "SELECT MIN(model), model_key, COUNT(*) FROM modelcache_llm_answer "
                f"WHERE {DELETED} GROUP BY model_key"
            )
            return [DeadCount(*row) for row in cursor.fetchall()]

    @repeated
    def dead(self, model_key: str, limit: int) -> list[DeadAnswer]:
        with self.reading() as cursor:
            cursor.execute(
                "SELECT id, model, embedder FROM modelcache_llm_answer "
                f"WHERE model_key = ? AND {DELETED} ORDER BY id LIMIT ?",
                (model_key, limit),
            )
            return [DeadAnswer(*row) for row in cursor.fetchall()]

    @repeated
    def uses(self, model_key: str) -> list[RowUse]:
        with self.reading() as cursor:
            cursor.execute(
                "SELECT id, fingerprint, hit_count, last_used_at FROM modelcache_llm_answer "
                f"WHERE model_key = ? AND {LIVE} ORDER BY last_used_at, id",
                (model_key,),
            )
            return [RowUse(*row) for row in cursor.fetchall()]

    @repeated
    def purge(self, ids: Sequence[int]) -> None:
        with self.writing() as cursor:
            for chunk in chunks(sorted(ids), ID_CHUNK):
                cursor.execute(
                    f"SELECT id FROM modelcache_llm_answer WHERE id IN ({marks(chunk)}) AND {ID_AND_DELETED}",
                    chunk,
                )
                # Named one by one: not every server looks up a DELETE's subselect by index. A deleted
                # row never changes its state again.
                if dead := [row[0] for row in cursor.fetchall()]:
                    for table, column in OF_AN_ANSWER:
                        cursor.execute(
                            f"DELETE FROM modelcache_{table} WHERE {column} IN ({marks(dead)})", dead
                        )

    @repeated
    def models(self) -> list[str]:
        with self.reading() as cursor:
            # Grouped by the key, since a database's collation may hold two names to be equal.
            cursor.execute(f"SELECT MIN(model) FROM modelcache_llm_answer WHERE {LIVE} GROUP BY model_key")
            return [row[0] for row in cursor.fetchall()]

    @repeated
    def count(self, model_key: str) -> int:
        with self.reading() as cursor:
            return self._count_live(cursor, model_key)

    @repeated
    def embedded_ids(self, model_key: str, embedder: str) -> list[int]:
        with self.reading() as cursor:
            cursor.execute(
                "SELECT id FROM modelcache_llm_answer "
                f"WHERE model_key = ? AND {NOT_DELETED} AND embedder = ?",
                (model_key, embedder),
            )
            return [row[0] for row in cursor.fetchall()]

    @repeated
    def embeddings(self, ids: Sequence[int]) -> list[StoredEmbedding]:
        found: list[StoredEmbedding] = []
        with self.reading() as cursor:
            for chunk in chunks(ids, ID_CHUNK):
                cursor.execute(
                    "SELECT id, partition_key, embedding_data, embedder FROM modelcache_llm_answer "
                    f"WHERE id IN ({marks(chunk)}) AND {ID_AND_NOT_DELETED} AND embedding_data IS NOT NULL",
                    chunk,
                )
                found.extend(StoredEmbedding(*row) for row in cursor.fetchall())
        return found

    @repeated
    def take_lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        with self.writing() as cursor:
            cursor.execute(
                "UPDATE modelcache_lease SET holder = ?, expires_at = ? "
                "WHERE name = ? AND (holder = ? OR expires_at <= ?)",
                (holder, now + seconds, name, holder, now),
            )
            if cursor.rowcount:
                return True
            cursor.execute("SELECT COUNT(*) FROM modelcache_lease WHERE name = ?", (name,))
            if cursor.fetchone()[0]:
                return False
            self.insert_lease(cursor, (name, holder, now + seconds))
            return bool(cursor.rowcount)

    @repeated
    def observe(self, observations: Sequence[Observation]) -> None:
        with self.writing() as cursor:
            for chunk in chunks(observations, LOG_CHUNK):
                ids = sorted({one.answer_id for one in chunk})
                cursor.execute(f"SELECT id FROM modelcache_llm_answer WHERE id IN ({marks(ids)})", ids)
                there = {row[0] for row in cursor.fetchall()}
                for one in chunk:
                    if one.answer_id in there:
                        cursor.execute(
                            f"REPLACE INTO modelcache_observation ({OBSERVED_COLUMNS}, embedder, "
                            f"embedding_data) VALUES ({marks(range(9))})",
                            _observation_row(one),
                        )

    @repeated
    def observations(self, ids: Sequence[int]) -> dict[int, list[Observation]]:
        found: dict[int, list[Observation]] = {}
        with self.reading() as cursor:
            for chunk in chunks(ids, ID_CHUNK):
                cursor.execute(
                    f"SELECT {OBSERVED_COLUMNS}, embedder, embedding_data FROM modelcache_observation "
                    f"WHERE answer_id IN ({marks(chunk)}) ORDER BY observed_at",
                    chunk,
                )
                for row in cursor.fetchall():
                    found.setdefault(row[0], []).append(_observation(row))
        return found

    @repeated
    def model_observations(self, model_key: str, limit: int) -> list[Observation]:
        with self.reading() as cursor:
            cursor.execute(
                f"SELECT {OBSERVED_COLUMNS} FROM modelcache_observation "
                "WHERE model_key = ? ORDER BY observed_at DESC LIMIT ?",
                (model_key, limit),
            )
            return [_observation(row) for row in cursor.fetchall()]

    @repeated
    def answers(self, ids: Sequence[int]) -> dict[int, CachedAnswer]:
        found: dict[int, CachedAnswer] = {}
        with self.reading() as cursor:
            for chunk in chunks(ids, ID_CHUNK):
                cursor.execute(
                    f"SELECT {ANSWER_COLUMNS} FROM modelcache_llm_answer WHERE id IN ({marks(chunk)})", chunk
                )
                found.update((row[0], CachedAnswer(*row)) for row in cursor.fetchall())
        return found

    @repeated
    def keep_lookups(self, lookups: Sequence[PendingLookup]) -> None:
        last = {one.fingerprint: one for one in lookups}
        with self.writing() as cursor:
            for chunk in chunks(sorted(last.items()), LOG_CHUNK):
                cursor.execute(
                    f"REPLACE INTO modelcache_lookup ({LOOKUP_COLUMNS}) VALUES "
                    + ", ".join([f"({marks(range(6))})"] * len(chunk)),
                    [
                        value
                        for key, one in chunk
                        for value in (key, one.partition, one.model_key, one.answer_id, one.score, one.at)
                    ],
                )

    @repeated_unless_done
    def take_lookups(self, fingerprints: Sequence[str], since: float) -> list[PendingLookup]:
        taken: list[PendingLookup] = []
        with self.writing() as cursor:
            for chunk in chunks(sorted(set(fingerprints)), ID_CHUNK):
                cursor.execute(
                    f"SELECT {LOOKUP_COLUMNS} FROM modelcache_lookup WHERE fingerprint IN ({marks(chunk)})",
                    chunk,
                )
                for lookup in [PendingLookup(*row) for row in cursor.fetchall()]:
                    cursor.execute(
                        "DELETE FROM modelcache_lookup WHERE fingerprint = ?", (lookup.fingerprint,)
                    )
                    # Another process may have taken it since it was read.
                    if cursor.rowcount and lookup.at >= since:
                        taken.append(lookup)
        return taken

    @repeated
    def trim_lookups(self, before: float) -> int:
        removed = 0
        with self.writing() as cursor:
            cursor.execute("SELECT fingerprint FROM modelcache_lookup WHERE asked_at < ?", (before,))
            for chunk in chunks([row[0] for row in cursor.fetchall()], ID_CHUNK):
                cursor.execute(
                    f"DELETE FROM modelcache_lookup WHERE fingerprint IN ({marks(chunk)}) AND asked_at < ?",
                    (*chunk, before),
                )
                removed += cursor.rowcount
        return removed

    @repeated
    def set_policy(self, policy: ModelPolicy) -> None:
        with self.writing() as cursor:
            cursor.execute(
                "REPLACE INTO modelcache_policy (model_key, model, mode, error_rate) VALUES (?, ?, ?, ?)",
                (policy.model_key, policy.model, policy.mode, policy.error_rate),
            )

    @repeated
    def policies(self) -> list[ModelPolicy]:
        with self.reading() as cursor:
            cursor.execute("SELECT model_key, model, mode, error_rate FROM modelcache_policy")
            return [ModelPolicy(*row) for row in cursor.fetchall()]

    @repeated_unless_done
    def add_tallies(self, tallies: Sequence[Tally]) -> None:
        counts: dict[tuple[str, str, int], int] = {}
        for one in tallies:
            key = (one.model_key, one.outcome, one.bucket)
            counts[key] = counts.get(key, 0) + one.count
        with self.writing() as cursor:
            for chunk in chunks(sorted(counts.items()), LOG_CHUNK):
                self.add_counts(cursor, [(*key, count) for key, count in chunk])

    @repeated
    def tallies(self, model_key: str) -> list[Tally]:
        with self.reading() as cursor:
            cursor.execute(
                "SELECT model_key, outcome, bucket, queries FROM modelcache_tally WHERE model_key = ?",
                (model_key,),
            )
            return [Tally(*row) for row in cursor.fetchall()]

    @repeated_unless_done
    def record_hits(self, uses: Mapping[int, HitUse]) -> None:
        with self.writing() as cursor:
            for chunk in chunks(sorted(uses.items()), ID_CHUNK):
                self.add_uses(cursor, [(id_, use.count, use.last_used_at) for id_, use in chunk])

    @repeated_unless_done
    def write_log(self, lines: Sequence[LogLine]) -> None:
        now = time()
        with self.writing() as cursor:
            for chunk in chunks(lines, LOG_CHUNK):
                # One statement, not executemany: SQLite's driver gives the interpreter away at each row.
                values = ", ".join([f"({marks(range(11))})"] * len(chunk))
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
    def trim_log(self, before: float) -> int:
        with self.writing() as cursor:
            return self._delete_log(cursor, "gmt_create < ?", sql_time(before))

    def insert_in_states(
        self, cursor: Cursor, answers: Sequence[NewAnswer], states: Sequence[RowState]
    ) -> list[int]:
        """Insert a row in its state for each answer, with its tags; returns the ids."""
        now = time()
        created = sql_time(now)
        ids = self.insert_answers(
            cursor,
            [_answer_row(new, state, created, now) for new, state in zip(answers, states, strict=True)],
        )
        tags = [
            (id_, tag_key(new.model_key, tag), tag)
            for id_, new in zip(ids, answers, strict=True)
            for tag in dict.fromkeys(new.tags)
        ]
        if tags:
            cursor.executemany(
                "INSERT INTO modelcache_answer_tag (answer_id, tag_key, tag) VALUES (?, ?, ?)", tags
            )
        return ids

    def _delete_log(self, cursor: Cursor, where: str, value: str) -> int:
        table = "modelcache_query_log"
        return self.change_all(cursor, table, f"DELETE FROM {table}", (), where, (value,))

    def _count_live(self, cursor: Cursor, model_key: str) -> int:
        cursor.execute(
            f"SELECT COUNT(*) FROM modelcache_llm_answer WHERE model_key = ? AND {LIVE}", (model_key,)
        )
        return int(cursor.fetchone()[0])

    def _count_live_among(self, cursor: Cursor, ids: Sequence[int]) -> int:
        count = 0
        for chunk in chunks(ids, ID_CHUNK):
            cursor.execute(
                f"SELECT COUNT(*) FROM modelcache_llm_answer WHERE id IN ({marks(chunk)}) AND {ID_AND_LIVE}",
                chunk,
            )
            count += int(cursor.fetchone()[0])
        return count

    def _retire_older(self, cursor: Cursor, newest: Mapping[str, int]) -> None:
        """Soft-delete the LIVE rows with these fingerprints that are not the newest."""
        for chunk in chunks(sorted(newest.items()), ID_CHUNK):
            kept = [id_ for _, id_ in chunk]
            others = f"{LIVE} AND id NOT IN ({marks(kept)})"
            fingerprints = [fingerprint for fingerprint, _ in chunk]
            self.set_state(cursor, RowState.DELETED, others, "fingerprint", fingerprints, tuple(kept))

    def _delete_all(self, cursor: Cursor, condition: str, bound: Sequence[Any]) -> int:
        """Soft-delete every row that meets a condition on its state; return how many."""
        table = "modelcache_llm_answer"
        change = f"UPDATE {table} SET is_deleted = ?, gmt_modified = ?"
        values = (int(RowState.DELETED), sql_time(time()))
        return self.change_all(cursor, table, change, values, condition, bound)

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


def _answer_row(new: NewAnswer, state: RowState, created: str, now: float) -> tuple[Any, ...]:
    """Return the values of INSERT_COLUMNS."""
    return (
        *(created, created, new.question, new.answer, ANSWER_TYPE_TEXT, 0, new.model, new.embedding),
        *(int(state), new.model_key, new.partition, new.fingerprint, new.embedder),
        *(new.expires_at, now),
    )


def _observation_row(one: Observation) -> tuple[Any, ...]:
    """Return the values of OBSERVED_COLUMNS, and the vector with its embedder's name."""
    return (
        *(one.answer_id, one.fingerprint, int(one.told), one.model_key, one.score, int(one.correct)),
        *(one.at, one.embedder, one.embedding),
    )


def _observation(row: Sequence[Any]) -> Observation:
    answer_id, fingerprint, told, model_key, score, correct, at, *vector = row
    return Observation(answer_id, fingerprint, bool(told), model_key, score, bool(correct), at, *vector)


def _delete_of_model(cursor: Cursor, table: str, column: str, model_key: str) -> None:
    """Delete a model's rows in steps, by the values of a column of their key."""
    cursor.execute(f"SELECT DISTINCT {column} FROM modelcache_{table} WHERE model_key = ?", (model_key,))
    for chunk in chunks([row[0] for row in cursor.fetchall()], ID_CHUNK):
        cursor.execute(
            f"DELETE FROM modelcache_{table} WHERE {column} IN ({marks(chunk)}) AND model_key = ?",
            (*chunk, model_key),
        )


def _log_row(line: LogLine, now: float) -> tuple[Any, ...]:
    """Return the values of LOG_COLUMNS."""
    return (
        *(sql_time(line.created_at), sql_time(now), line.error_code, line.error_desc),
        *(int(line.cache_hit), line.delta_time, line.model, line.model_key),
        *(text[:LOG_TEXT_CHARS] for text in (line.query, line.hit_query, line.answer)),
    )


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


def tag_key(model_key: str, tag: str) -> str:
    """Hash a tag within its model, so that equality does not depend on a collation."""
    return digest("tag", model_key, tag)


def sql_time(seconds: float) -> str:
    """Render epoch seconds as a UTC DATETIME literal."""
    return _sql_second(int(seconds))


@lru_cache(maxsize=64)
def _sql_second(seconds: int) -> str:
    # Most rows written at a time are of a few seconds.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
