"""Whole entries, page by page, with all that goes with their rows."""

from collections.abc import Sequence
from typing import Any

from modelcache.manager.scalar_data.base import MAX_ID, EntryStore
from modelcache.manager.scalar_data.sql import ID_CHUNK, Cursor, SqlDatabase, chunks, epoch, marks, repeated
from modelcache.manager.scalar_data.sql_removals import ID_AND_LIVE, LIVE
from modelcache.records.entry import EntryPage, EntrySearch, Place, StoredEntry
from modelcache.records.removal import scope_key, source_key, tag_key

ENTRY_COLUMNS = (
    "id, model, partition_key, fingerprint, question, answer, embedder, embedding_data, expires_at, "
    "metadata, hit_count, last_used_at, gmt_create, scope"
)
UNEXPIRED = "(expires_at IS NULL OR expires_at > ?)"
# A page of a search reads no more rows than this, whatever their number.
SEARCHED_ROWS = 5000


class SqlEntries(SqlDatabase, EntryStore):
    """The statements are those of every dialect."""

    @repeated
    def entries(self, model_key: str, after: int, limit: int, now: float) -> list[StoredEntry]:
        with self.reading() as cursor:
            return _read(
                cursor,
                f"model_key = ? AND {LIVE} AND id > ? AND {UNEXPIRED} ORDER BY id LIMIT ?",
                (model_key, after, now, limit),
            )

    @repeated
    def entry(self, id_: int, now: float) -> StoredEntry | None:
        if not 0 < id_ <= MAX_ID:
            return None
        with self.reading() as cursor:
            found = _read(cursor, f"id = ? AND {ID_AND_LIVE} AND {UNEXPIRED}", (id_, now))
        return found[0] if found else None

    @repeated
    def find_entries(self, search: EntrySearch, now: float) -> EntryPage:
        where, bound = _conditions(search, now)
        # As a rule all of these are sought where only what an index knows is asked for.
        size = ID_CHUNK if search.text else min(ID_CHUNK, search.limit + 1)
        after, searched = search.after, 0
        found: list[Place] = []
        is_last = False
        with self.reading() as cursor:
            while not is_last and len(found) < search.limit and searched < SEARCHED_ROWS:
                places = _places(cursor, search, after, size)
                sought = _sought(cursor, [place.id for place in places], where, bound)
                some = [place for place in places if place.id in sought]
                room = search.limit - len(found)
                found += some[:room]
                is_last = len(places) < size and len(some) <= room
                after = places[-1] if len(some) <= room and places else found[-1] if found else after
                searched += len(places)
            entries = _read(cursor, f"id IN ({marks(found)})", [place.id for place in found]) if found else []
        by_id = {entry.id: entry for entry in entries}
        # One that was purged meanwhile is absent.
        shown = tuple(by_id[place.id] for place in found if place.id in by_id)
        return EntryPage(shown, None if is_last else after)


def _keys(search: EntrySearch) -> list[tuple[str, str]]:
    """Return what the entries must carry: the kind of table, and the key in it."""
    key = search.model_key
    return [
        *(("tag", tag_key(key, tag)) for tag in search.tags),
        *(("source", source_key(key, source)) for source in search.sources),
        *(("tag", scope_key(key, name, value)) for name, value in search.scope.items()),
    ]


def _conditions(search: EntrySearch, now: float) -> tuple[str, list[Any]]:
    """Return what the rows must meet that were chosen by their ids."""
    conditions = [ID_AND_LIVE, UNEXPIRED]
    bound: list[Any] = [now]
    if search.model_key:
        conditions.append("+model_key = ?")
        bound.append(search.model_key)
    for kind, key in _keys(search):
        table = f"modelcache_answer_{kind}"
        conditions.append(
            f"EXISTS (SELECT 1 FROM {table} WHERE {kind}_key = ? AND answer_id = modelcache_llm_answer.id)"
        )
        bound.append(key)
    if search.text:
        conditions.append("(INSTR(LOWER(question), LOWER(?)) > 0 OR INSTR(LOWER(answer), LOWER(?)) > 0)")
        bound += [search.text, search.text]
    return " AND ".join(conditions), bound


def places_statement(
    search: EntrySearch, after: Place | None, limit: int, *, tied: bool = False
) -> tuple[str, list[Any]]:
    """Return what reads the places of the next rows, in order, from one index alone.

    By hits, those that are ``tied`` with the last one come first, by a statement of their own.
    """
    table, column, count = "modelcache_llm_answer", "id", "0"
    conditions: list[str] = []
    bound: list[Any] = []
    keys = _keys(search)
    if search.by_hits:
        count = "hit_count"
        if after is not None:
            conditions.append("hit_count = ? AND id < ?" if tied else "hit_count < ?")
            bound += after if tied else [after.hit_count]
    elif after is not None:
        conditions.append(("answer_id" if keys else "id") + " < ?")
        bound.append(after.id)
    if keys and not search.by_hits:
        kind, key = keys[0]
        table, column = f"modelcache_answer_{kind}", "answer_id"
        conditions.append(f"{kind}_key = ?")
        bound.append(key)
    elif search.model_key:
        conditions.append(f"model_key = ? AND {LIVE}")
        bound.append(search.model_key)
    else:
        # As a rule nearly all rows are live: in the order of their ids they are read as they stand.
        conditions.append(ID_AND_LIVE)
    order = f"{count} DESC, id DESC" if search.by_hits else f"{column} DESC"
    statement = f"SELECT {count}, {column} FROM {table} WHERE {' AND '.join(conditions)} ORDER BY {order}"
    return f"{statement} LIMIT ?", [*bound, limit]


def _places(cursor: Cursor, search: EntrySearch, after: Place | None, limit: int) -> list[Place]:
    places: list[Place] = []
    for tied in (True, False) if search.by_hits and after is not None else (False,):
        if len(places) < limit:
            cursor.execute(*places_statement(search, after, limit - len(places), tied=tied))
            places += [Place(*row) for row in cursor.fetchall()]
    return places


def _sought(cursor: Cursor, ids: Sequence[int], where: str, bound: Sequence[Any]) -> set[int]:
    if not ids:
        return set()
    statement = f"SELECT id FROM modelcache_llm_answer WHERE id IN ({marks(ids)}) AND {where}"
    cursor.execute(statement, (*ids, *bound))
    return {row[0] for row in cursor.fetchall()}


def _read(cursor: Cursor, where: str, bound: Sequence[Any]) -> list[StoredEntry]:
    """Return the rows that meet a condition, with all that goes with them."""
    cursor.execute(f"SELECT {ENTRY_COLUMNS} FROM modelcache_llm_answer WHERE {where}", bound)
    rows = cursor.fetchall()
    tags: dict[int, list[str]] = {}
    keys: dict[int, list[str]] = {}
    sources: dict[int, list[str]] = {}
    envelopes: dict[int, str] = {}
    for chunk in chunks([row[0] for row in rows], ID_CHUNK):
        among = f"WHERE answer_id IN ({marks(chunk)})"
        cursor.execute(
            f"SELECT answer_id, tag_key, tag FROM modelcache_answer_tag {among} ORDER BY tag_key", chunk
        )
        for id_, key, tag in cursor.fetchall():
            (tags if tag else keys).setdefault(id_, []).append(tag or key)
        cursor.execute(
            f"SELECT answer_id, source FROM modelcache_answer_source {among} ORDER BY source_key", chunk
        )
        for id_, source in cursor.fetchall():
            sources.setdefault(id_, []).append(source)
        cursor.execute(f"SELECT answer_id, envelope FROM modelcache_envelope {among}", chunk)
        envelopes.update(cursor.fetchall())
    beside = [
        (
            *(epoch(row[-2]), row[-1], tuple(tags.get(row[0], ())), tuple(keys.get(row[0], ()))),
            *(envelopes.get(row[0], ""), tuple(sources.get(row[0], ()))),
        )
        for row in rows
    ]
    return [StoredEntry(*(*row[:-2], *more)) for row, more in zip(rows, beside, strict=True)]
