"""Whole entries, page by page, with all that goes with their rows."""

from modelcache.manager.scalar_data.base import AnswerStore
from modelcache.manager.scalar_data.sql import ID_CHUNK, SqlDatabase, chunks, marks, repeated
from modelcache.manager.scalar_data.sql_answers import LIVE
from modelcache.records.entry import StoredEntry

ENTRY_COLUMNS = (
    "id, model, partition_key, fingerprint, question, answer, embedder, embedding_data, expires_at, "
    "metadata, hit_count, last_used_at"
)


class SqlEntries(SqlDatabase, AnswerStore):
    """The statements are those of every dialect."""

    @repeated
    def entries(self, model_key: str, after: int, limit: int, now: float) -> list[StoredEntry]:
        with self.reading() as cursor:
            cursor.execute(
                f"SELECT {ENTRY_COLUMNS} FROM modelcache_llm_answer WHERE model_key = ? AND {LIVE} "
                "AND id > ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY id LIMIT ?",
                (model_key, after, now, limit),
            )
            rows = cursor.fetchall()
            tags: dict[int, list[str]] = {}
            keys: dict[int, list[str]] = {}
            envelopes: dict[int, str] = {}
            for chunk in chunks([row[0] for row in rows], ID_CHUNK):
                cursor.execute(
                    "SELECT answer_id, tag_key, tag FROM modelcache_answer_tag "
                    f"WHERE answer_id IN ({marks(chunk)}) ORDER BY tag_key",
                    chunk,
                )
                for id_, key, tag in cursor.fetchall():
                    (tags if tag else keys).setdefault(id_, []).append(tag or key)
                cursor.execute(
                    "SELECT answer_id, envelope FROM modelcache_envelope "
                    f"WHERE answer_id IN ({marks(chunk)})",
                    chunk,
                )
                envelopes.update(cursor.fetchall())
        beside = [
            (tuple(tags.get(row[0], ())), tuple(keys.get(row[0], ())), envelopes.get(row[0], ""))
            for row in rows
        ]
        return [StoredEntry(*(*row, *more)) for row, more in zip(rows, beside, strict=True)]
