"""Rows in OceanBase's MySQL mode; what differs from MySQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from modelcache.manager.scalar_data.mysql import CONFLICT_CODES, LOST_CODES, MySQLStorage
from modelcache.manager.scalar_data.mysql_schema import MIGRATE_SECONDS, read_schema_version
from modelcache.manager.scalar_data.sql import Cursor

# The transaction was killed or rolled back, or a row was locked, or another node leads the partition now.
KILLED_CODES = frozenset({4038, 6002, 6003, 6004, 6005})
# A statement or transaction was over its time; in answer to COMMIT that leaves open whether it was done.
TIMEOUT_CODES = frozenset({4012})


class OceanBaseStorage(MySQLStorage):
    """The scalar store on OceanBase."""

    product: ClassVar[str] = "OceanBase"
    transient_codes: ClassVar[frozenset[int]] = LOST_CODES | CONFLICT_CODES | KILLED_CODES | TIMEOUT_CODES
    undone_codes: ClassVar[frozenset[int]] = CONFLICT_CODES | {6002}

    def session_statements(self, timeout: float) -> tuple[str, ...]:
        # OceanBase takes innodb_lock_wait_timeout and ignores it; its own are in microseconds.
        query, lock = int(timeout * 1e6), int(timeout / 2 * 1e6)
        return (
            *super().session_statements(timeout),
            f"SET SESSION ob_query_timeout = {query}, ob_trx_lock_timeout = {lock}",
        )

    def ids_are_consecutive(self, variables: dict[str, str]) -> bool:
        # Each node hands out ids from ranges of its own, and one INSERT may span two of them.
        return False

    def keep_removals_out(self, cursor: Cursor) -> None:
        # It has no lock that several may hold.
        self.wait_for_inserts(cursor)

    @contextmanager
    def alone(self, cursor: Cursor) -> Iterator[None]:
        # GET_LOCK outlives its connection there: a killed process would keep it. Several may create the
        # tables at once, each IF NOT EXISTS; to change them, the rows of their versions are locked.
        if read_schema_version(cursor) == 0:
            yield
            return
        connection = self.new_connection(MIGRATE_SECONDS)
        try:
            connection.connect()
            connection.begin()
            with connection.cursor() as locker:
                locker.execute("SELECT version FROM modelcache_schema FOR UPDATE")
            yield
        finally:
            connection.disconnect()
