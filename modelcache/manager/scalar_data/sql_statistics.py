"""Counts of each day."""

from collections import defaultdict
from collections.abc import Sequence

from modelcache.manager.scalar_data.base import StatisticsStore
from modelcache.manager.scalar_data.sql import ROW_CHUNK, SqlDatabase, chunks, repeated, repeated_unless_done
from modelcache.records.day_count import DayCount

COLUMNS = "day, model_key, model, name, amount"


class SqlStatistics(SqlDatabase, StatisticsStore):
    """Any dialect's."""

    @repeated_unless_done
    def add_day_counts(self, counts: Sequence[DayCount]) -> None:
        amounts: dict[tuple[int, str, str, str], float] = defaultdict(float)
        for one in counts:
            amounts[one.day, one.model_key, one.model, one.name] += one.amount
        with self.writing() as cursor:
            # In one order everywhere, so that two processes never wait for each other.
            for chunk in chunks(sorted(amounts.items()), ROW_CHUNK):
                rows = [(*key, amount) for key, amount in chunk]
                self.add_amounts(cursor, "modelcache_day_count", COLUMNS, "day, model_key, name", rows)

    @repeated
    def day_counts(self, first: int, last: int, model_key: str | None = None) -> list[DayCount]:
        of_model = () if model_key is None else (model_key,)
        with self.reading() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM modelcache_day_count WHERE day BETWEEN ? AND ?"
                + (" AND model_key = ?" if of_model else ""),
                (first, last, *of_model),
            )
            return [DayCount(*row) for row in cursor.fetchall()]

    @repeated
    def trim_day_counts(self, before: int) -> int:
        with self.writing() as cursor:
            cursor.execute("DELETE FROM modelcache_day_count WHERE day < ?", (before,))
            return cursor.rowcount
