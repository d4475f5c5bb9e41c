"""The rows of the answers: their states, their tags, their use."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from time import time
from typing import Any

from modelcache.errors import ScalarStoreError
from modelcache.manager.scalar_data.base import (
    AnswerStore,
    DeadAnswer,
    DeadCount,
    HitUse,
    RowState,
    RowUse,
    StoredEmbedding,
)
from modelcache.manager.scalar_data.sql import (
    ID_CHUNK,
    Cursor,
    chunks,
    marks,
    repeated,
    repeated_unless_done,
    sql_time,
)
from modelcache.manager.scalar_data.sql_removals import (
    DELETED,
    ID_AND_DELETED,
    ID_AND_LIVE,
    ID_AND_NOT_DELETED,
    ID_AND_WRITING,
    LIVE,
    NOT_DELETED,
    WRITING,
    SqlRemovals,
)
from modelcache.records.entry import CachedAnswer, NewAnswer
from modelcache.records.removal import Unremoved, scope_key, source_key, tag_key

ANSWER_TYPE_TEXT = 0
# What goes with an answer, itself last: table, and what names its rows.
OF_AN_ANSWER = (
    ("answer_tag", "answer_id"),
    ("answer_source", "answer_id"),
    ("envelope", "answer_id"),
    ("observation", "answer_id"),
    ("llm_answer", "id"),
)

# Told with each row, so that only entries of which something was observed need a further read.
IS_OBSERVED = (
    "EXISTS (SELECT 1 FROM modelcache_observation "
    "WHERE modelcache_observation.answer_id = modelcache_llm_answer.id)"
)
ANSWER_COLUMNS = (
    "id, model_key, partition_key, fingerprint, question, answer, hit_count, expires_at, metadata, "
    + IS_OBSERVED
)
INSERT_COLUMNS = (
    "gmt_create, gmt_modified, question, answer, answer_type, hit_count, model, embedding_data, "
    "is_deleted, model_key, partition_key, fingerprint, embedder, expires_at, metadata, scope, last_used_at"
)


class SqlAnswers(SqlRemovals, AnswerStore):
    """A dialect adds the few statements that differ."""

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
    def add_uses(self, cursor: Cursor, uses: Sequence[tuple[int, int, float]]) -> None:
        """Add to the hit count of these rows, and move their last use on: (id, count, last_used_at)."""

    @abstractmethod
    def insert_answers(self, cursor: Cursor, rows: Sequence[Sequence[Any]]) -> list[int]:
        """Insert rows of ``INSERT_COLUMNS`` and return their ids, in order."""

    @repeated_unless_done
    def add(self, answers: Sequence[NewAnswer]) -> list[int]:
        with self.writing() as cursor:
            return self.insert_in_states(cursor, answers, [RowState.WRITING] * len(answers))

    @repeated
    def activate(
        self, ids: Sequence[int], fingerprints: Sequence[str], unremoved: Unremoved | None = None
    ) -> None:
        last = dict(zip(fingerprints, ids, strict=True))
        winners = sorted(last.values())
        losers = sorted(set(ids) - set(winners))
        with self.writing() as cursor:
            self.check_removals(cursor, unremoved)
            self.lock_fingerprints(cursor, sorted(last))
            changed = self.set_state(cursor, RowState.LIVE, ID_AND_WRITING, "id", winners)
            # They are live already when this call repeats one whose reply was lost.
            if changed != len(winners) and self.count_live_among(cursor, winners) != len(winners):
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
            return self.delete_all(cursor, f"{WRITING} AND last_used_at < ?", (before,))

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

    @repeated
    def envelope(self, id_: int) -> str:
        with self.reading() as cursor:
            cursor.execute("SELECT envelope FROM modelcache_envelope WHERE answer_id = ?", (id_,))
            row = cursor.fetchone()
        return "" if row is None else str(row[0])

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

    @repeated_unless_done
    def record_hits(self, uses: Mapping[int, HitUse]) -> None:
        with self.writing() as cursor:
            for chunk in chunks(sorted(uses.items()), ID_CHUNK):
                self.add_uses(cursor, [(id_, use.count, use.last_used_at) for id_, use in chunk])

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

    def insert_in_states(
        self, cursor: Cursor, answers: Sequence[NewAnswer], states: Sequence[RowState]
    ) -> list[int]:
        """Insert a row in its state for each answer, with what goes with it; returns the ids."""
        now = time()
        ids = self.insert_answers(
            cursor, [_answer_row(new, state, now) for new, state in zip(answers, states, strict=True)]
        )
        tags = [
            (id_, tag_key(new.model_key, tag), tag)
            for id_, new in zip(ids, answers, strict=True)
            for tag in dict.fromkeys(new.tags)
        ]
        tags += [
            (id_, scope_key(new.model_key, name, value), "")
            for id_, new in zip(ids, answers, strict=True)
            for name, value in new.scope.items()
        ]
        tags += [(id_, key, "") for id_, new in zip(ids, answers, strict=True) for key in new.scope_keys]
        if tags:
            cursor.executemany(
                "INSERT INTO modelcache_answer_tag (answer_id, tag_key, tag) VALUES (?, ?, ?)", tags
            )
        sources = [
            (id_, source_key(new.model_key, source), source)
            for id_, new in zip(ids, answers, strict=True)
            for source in dict.fromkeys(new.sources)
        ]
        if sources:
            cursor.executemany(
                "INSERT INTO modelcache_answer_source (answer_id, source_key, source) VALUES (?, ?, ?)",
                sources,
            )
        envelopes = [(id_, new.envelope) for id_, new in zip(ids, answers, strict=True) if new.envelope]
        if envelopes:
            cursor.executemany(
                "INSERT INTO modelcache_envelope (answer_id, envelope) VALUES (?, ?)", envelopes
            )
        return ids

    def _count_live(self, cursor: Cursor, model_key: str) -> int:
        cursor.execute(
            f"SELECT COUNT(*) FROM modelcache_llm_answer WHERE model_key = ? AND {LIVE}", (model_key,)
        )
        return int(cursor.fetchone()[0])

    def _retire_older(self, cursor: Cursor, newest: Mapping[str, int]) -> None:
        """Soft-delete the LIVE rows with these fingerprints that are not the newest."""
        for chunk in chunks(sorted(newest.items()), ID_CHUNK):
            kept = [id_ for _, id_ in chunk]
            others = f"{LIVE} AND id NOT IN ({marks(kept)})"
            fingerprints = [fingerprint for fingerprint, _ in chunk]
            self.set_state(cursor, RowState.DELETED, others, "fingerprint", fingerprints, tuple(kept))


def _answer_row(new: NewAnswer, state: RowState, now: float) -> tuple[Any, ...]:
    """Return the values of INSERT_COLUMNS."""
    created = sql_time(now if new.created_at is None else new.created_at)
    scope = json.dumps(new.scope, ensure_ascii=False) if new.scope else None
    return (
        *(created, sql_time(now), new.question, new.answer, ANSWER_TYPE_TEXT, 0, new.model, new.embedding),
        *(int(state), new.model_key, new.partition, new.fingerprint, new.embedder),
        *(new.expires_at, new.metadata, scope, now),
    )
