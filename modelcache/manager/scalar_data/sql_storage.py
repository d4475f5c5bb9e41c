"""A scalar store in SQL: its statements are written once for every dialect, by what they keep."""

from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.scalar_data.sql import repeated, repeated_unless_done
from modelcache.manager.scalar_data.sql_answers import SqlAnswers
from modelcache.manager.scalar_data.sql_entries import SqlEntries
from modelcache.manager.scalar_data.sql_log import SqlLog
from modelcache.manager.scalar_data.sql_observations import SqlObservations
from modelcache.manager.scalar_data.sql_policies import SqlPolicies
from modelcache.manager.scalar_data.sql_removals import LIVE, WRITING
from modelcache.manager.scalar_data.sql_statistics import SqlStatistics


class SqlStorage(SqlAnswers, SqlEntries, SqlObservations, SqlPolicies, SqlLog, SqlStatistics, ScalarStore):
    """A dialect adds its connection, its schema, and the few statements that differ."""

    @repeated
    def ping(self) -> None:
        with self.reading() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()

    @repeated_unless_done
    def truncate(self, model_key: str) -> int:
        with self.writing() as cursor:
            # What becomes live between the two statements meets the second.
            self.delete_all(cursor, f"{WRITING} AND model_key = ?", (model_key,))
            live = self.delete_all(cursor, f"{LIVE} AND model_key = ?", (model_key,))
            self.delete_log(cursor, "model_key = ?", model_key)
            self.forget_model(cursor, model_key)
        return live
