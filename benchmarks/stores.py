"""Writing into two stores with the embeddings given, beside what the stores alone take."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pymysql
from pymilvus import DataType, MilvusClient

from benchmarks.measure import Comparison, alternate, rate
from benchmarks.questions import questions
from benchmarks.servers import database_servers
from benchmarks.sizes import Sizes
from benchmarks.stocked import MODEL, answers, demo_settings, random_vectors
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.factory import data_manager_of
from modelcache.manager.scalar_data.sql_answers import INSERT_COLUMNS
from modelcache.manager.scalar_data.sqlite import MIGRATIONS
from modelcache.records.entry import NewAnswer
from modelcache.records.vectors import Embeddings
from modelcache.settings import Settings, load_settings

DIMENSION = 384
EMBEDDER = "bench-v1"
BATCH = 500
COLUMNS = len(INSERT_COLUMNS.split(","))
RAW = "raw"

Write = Callable[[Sequence[NewAnswer], Embeddings], None]


def run_local(sizes: Sizes, folder: Path) -> Iterator[Comparison]:
    """Compare SQLite + FAISS."""
    settings = demo_settings(folder)
    manager = data_manager_of(settings, EMBEDDER, DIMENSION)
    manager.open()
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    for statement in chain.from_iterable(MIGRATIONS):
        connection.execute(statement)
    index = faiss.IndexIDMap(faiss.IndexFlatIP(DIMENSION))
    try:
        yield Comparison(
            "store",
            f"entries into SQLite and FAISS, {BATCH} at a time, embeddings given",
            "executemany into the same table and add to a flat FAISS index",
            "entries/s",
            *_both(
                "store",
                sizes,
                settings,
                manager,
                lambda new, vectors: _raw_local(connection, index, new, vectors),
            ),
            goal=0.5,
            more_is_better=True,
        )
    finally:
        connection.close()
        manager.close()


def run_servers(sizes: Sizes, folder: Path) -> Iterator[Comparison]:
    """Compare MySQL + Milvus, in batches and one entry at a time."""
    with database_servers(folder) as servers:
        chosen = servers.settings("mysql", "milvus")
        settings = load_settings("default", {}, chosen)
        manager = data_manager_of(settings, EMBEDDER, DIMENSION)
        manager.open()
        manager.register(MODEL)
        raw = _RawServers(settings)
        try:
            yield _batches(sizes, settings, manager, raw)
            yield _singles(sizes, settings, manager, raw)
        finally:
            raw.close()
            manager.close()


def _batches(sizes: Sizes, settings: Settings, manager: SSDataManager, raw: "_RawServers") -> Comparison:
    return Comparison(
        "store-servers",
        f"entries into MySQL and Milvus, {BATCH} at a time, embeddings given",
        "executemany into the same table and insert with pymilvus",
        "entries/s",
        *_both("store-servers", sizes, settings, manager, raw.write),
        goal=0.5,
        more_is_better=True,
        remark="at least 2,000 entries/s",
    )


def _singles(sizes: Sizes, settings: Settings, manager: SSDataManager, raw: "_RawServers") -> Comparison:
    rounds = _rounds(sizes.rounds, sizes.single_inserts, settings, "single")

    def ours(number: int) -> float:
        return sizes.single_inserts / rate(
            sizes.single_inserts, lambda: [manager.insert(MODEL, [new]) for new in rounds[number][0]]
        )

    def theirs(number: int) -> float:
        def write_all() -> None:
            for new, vector in zip(*rounds[number], strict=True):
                raw.write([new], vector[None])

        return sizes.single_inserts / rate(sizes.single_inserts, write_all)

    return Comparison(
        "single-servers",
        f"{sizes.single_inserts} entries into MySQL and Milvus, one at a time",
        "one row inserted and one vector with pymilvus, as often",
        "s",
        *alternate("single-servers", sizes.rounds, ours, theirs),
        goal=3.0,
        more_is_better=False,
        remark=f"at most {0.031 * sizes.single_inserts:.1f} s",
    )


def _rounds(
    rounds: int, count: int, settings: Settings, about: str
) -> list[tuple[list[NewAnswer], Embeddings]]:
    """Make the entries of every round, all different."""
    vectors = random_vectors(count, DIMENSION)
    return [
        (answers(questions(count, f"{about} {number}"), vectors, EMBEDDER, settings), vectors)
        for number in range(rounds)
    ]


def _both(
    name: str, sizes: Sizes, settings: Settings, manager: SSDataManager, raw: Write
) -> tuple[list[float], list[float]]:
    """Write the same entries through the data manager and raw."""
    rounds = _rounds(sizes.rounds, sizes.stored, settings, name)
    starts = range(0, sizes.stored, BATCH)

    def ours(number: int) -> float:
        new, _ = rounds[number]
        return rate(
            sizes.stored, lambda: [manager.insert(MODEL, new[start : start + BATCH]) for start in starts]
        )

    def theirs(number: int) -> float:
        new, vectors = rounds[number]

        def write_all() -> None:
            for start in starts:
                raw(new[start : start + BATCH], vectors[start : start + BATCH])

        return rate(sizes.stored, write_all)

    return alternate(name, sizes.rounds, ours, theirs)


def _row(new: NewAnswer) -> tuple[Any, ...]:
    """Return the values of INSERT_COLUMNS, of a live row."""
    now = "2026-01-01 00:00:00"
    return (
        *(now, now, new.question, new.answer, 0, 0, new.model, new.embedding, 0),
        *(new.model_key, new.partition, new.fingerprint, new.embedder, None, None, None, 0.0),
    )


def _raw_local(
    connection: sqlite3.Connection, index: faiss.IndexIDMap, new: Sequence[NewAnswer], vectors: Embeddings
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        f"INSERT INTO modelcache_llm_answer ({INSERT_COLUMNS}) VALUES ({', '.join('?' * COLUMNS)})",
        [_row(one) for one in new],
    )
    connection.execute("COMMIT")
    index.add_with_ids(vectors, np.arange(index.ntotal, index.ntotal + len(new)))


class _RawServers:
    """The drivers themselves, on a table and a collection like the product's."""

    def __init__(self, settings: Settings) -> None:
        self._mysql = pymysql.connect(
            host=settings.mysql_host,
            port=settings.mysql_port,
            user=settings.mysql_user,
            password=settings.mysql_password.get_secret_value(),
            database=settings.mysql_database,
            charset="utf8mb4",
        )
        with self._mysql.cursor() as cursor:
            cursor.execute("CREATE TABLE raw_answer LIKE modelcache_llm_answer")
        self._milvus = MilvusClient(settings.milvus_uri, dedicated=True)
        schema = self._milvus.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("partition", DataType.VARCHAR, max_length=40, is_partition_key=True)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIMENSION)
        index = self._milvus.prepare_index_params()
        index.add_index(
            "embedding", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200}
        )
        self._milvus.create_collection(RAW, schema=schema, index_params=index, num_partitions=16)
        self._next = 1

    def write(self, new: Sequence[NewAnswer], vectors: Embeddings) -> None:
        with self._mysql.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO raw_answer ({INSERT_COLUMNS}) VALUES ({', '.join(['%s'] * COLUMNS)})",
                [_row(one) for one in new],
            )
        self._mysql.commit()
        rows = [
            {"id": self._next + place, "partition": one.partition, "embedding": vector}
            for place, (one, vector) in enumerate(zip(new, vectors, strict=True))
        ]
        self._next += len(new)
        self._milvus.insert(RAW, rows)

    def close(self) -> None:
        self._mysql.close()
        self._milvus.close()
