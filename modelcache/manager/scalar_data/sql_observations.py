"""What was observed: of entries, of look-ups that wait for their answers, of a model's queries."""

from collections.abc import Sequence
from typing import Any

from modelcache.manager.scalar_data.base import ObservationStore
from modelcache.manager.scalar_data.sql import (
    ID_CHUNK,
    ROW_CHUNK,
    Cursor,
    SqlDatabase,
    chunks,
    marks,
    repeated,
    repeated_unless_done,
)
from modelcache.records.observation import Observation, PendingLookup, Tally

OBSERVED_COLUMNS = "answer_id, fingerprint, told, model_key, score, correct, observed_at"
LOOKUP_COLUMNS = "fingerprint, partition_key, model_key, answer_id, score, asked_at"
TALLY_KEY = "model_key, outcome, bucket"
TALLY_COLUMNS = f"{TALLY_KEY}, queries"
# What is forgotten with all of a model: table, and what names its rows.
OF_A_MODEL = (("observation", "answer_id"), ("lookup", "fingerprint"), ("tally", "bucket"))


class SqlObservations(SqlDatabase, ObservationStore):
    """Any dialect's."""

    @repeated
    def observe(self, observations: Sequence[Observation]) -> None:
        with self.writing() as cursor:
            for chunk in chunks(observations, ROW_CHUNK):
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
    def keep_lookups(self, lookups: Sequence[PendingLookup]) -> None:
        last = {one.fingerprint: one for one in lookups}
        with self.writing() as cursor:
            for chunk in chunks(sorted(last.items()), ROW_CHUNK):
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

    @repeated_unless_done
    def add_tallies(self, tallies: Sequence[Tally]) -> None:
        counts: dict[tuple[str, str, int], int] = {}
        for one in tallies:
            key = (one.model_key, one.outcome, one.bucket)
            counts[key] = counts.get(key, 0) + one.count
        with self.writing() as cursor:
            for chunk in chunks(sorted(counts.items()), ROW_CHUNK):
                rows = [(*key, count) for key, count in chunk]
                self.add_amounts(cursor, "modelcache_tally", TALLY_COLUMNS, TALLY_KEY, rows)

    @repeated
    def tallies(self, model_key: str) -> list[Tally]:
        with self.reading() as cursor:
            cursor.execute(f"SELECT {TALLY_COLUMNS} FROM modelcache_tally WHERE model_key = ?", (model_key,))
            return [Tally(*row) for row in cursor.fetchall()]

    def forget_model(self, cursor: Cursor, model_key: str) -> None:
        """Delete all that was observed of a model."""
        for table, column in OF_A_MODEL:
            _delete_of_model(cursor, table, column, model_key)


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
