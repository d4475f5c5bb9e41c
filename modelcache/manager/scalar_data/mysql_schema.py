"""The tables in MySQL: their version, and how an older one is brought to this service's."""

from collections.abc import Sequence
from importlib.resources import files

import pymysql
from pymysql.constants import ER

from modelcache.errors import ConfigError
from modelcache.manager.scalar_data.sql import Cursor

SCHEMA_FILE = "create_table.sql"
SCHEMA_VERSION = 5
# For each later version, the tables that it added, or what else brings the version before to it.
ADDED_TABLES: dict[int, tuple[str, ...]] = {
    2: ("modelcache_observation", "modelcache_lookup", "modelcache_policy", "modelcache_tally"),
    3: ("modelcache_envelope", "modelcache_model_limit", "modelcache_probe"),
    4: ("modelcache_answer_source", "modelcache_removal", "modelcache_day_count"),
}
MIGRATIONS: dict[int, tuple[str, ...]] = {
    3: ("ALTER TABLE modelcache_llm_answer ADD COLUMN metadata MEDIUMTEXT AFTER expires_at",),
    4: (
        "ALTER TABLE modelcache_llm_answer ADD COLUMN scope MEDIUMTEXT AFTER metadata",
        "ALTER TABLE modelcache_llm_answer ADD KEY idx_answer_page (model_key, is_deleted, id)",
        "ALTER TABLE modelcache_llm_answer ADD KEY idx_answer_age (model_key, is_deleted, gmt_create)",
        "ALTER TABLE modelcache_llm_answer ADD KEY idx_answer_hits (model_key, is_deleted, hit_count, id)",
    ),
    5: (
        "ALTER TABLE modelcache_query_log ADD COLUMN entry_id BIGINT",
        "ALTER TABLE modelcache_query_log ADD COLUMN confidence DOUBLE",
    ),
}
ADDED_ALREADY = frozenset({ER.DUP_FIELDNAME, ER.DUP_KEYNAME})
# Changing the columns of a large table takes long, and other processes wait for it.
MIGRATE_SECONDS = 600.0


def must_migrate(version: int, where: str, *, allowed: bool) -> bool:
    """Tell whether the tables are older than this service; ConfigError if newer, or older for good."""
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"{where} has schema version {version}, newer than this service's {SCHEMA_VERSION}: "
            "start a newer version of the service"
        )
    if version < SCHEMA_VERSION and not allowed:
        has = f"has schema version {version}, not {SCHEMA_VERSION}" if version else "has no tables"
        raise ConfigError(f"{where} {has}: run reference_doc/create_table.sql in it or allow mysql_migrate")
    return version < SCHEMA_VERSION


def read_schema_version(cursor: Cursor) -> int:
    """Return the version of the tables, 0 where there are none."""
    try:
        cursor.execute("SELECT MAX(version) FROM modelcache_schema")
    except pymysql.ProgrammingError as exc:
        if exc.args[0] == ER.NO_SUCH_TABLE:
            return 0
        raise
    return int(cursor.fetchone()[0] or 0)


def apply_migrations(cursor: Cursor) -> None:
    """Bring the tables from whatever version they have to this service's."""
    version = read_schema_version(cursor)
    if version == 0:
        # Its last statement writes the version, so what a kill interrupts is done again.
        for statement in schema_statements():
            cursor.execute(statement)
        return
    for number in range(version + 1, SCHEMA_VERSION + 1):
        for statement in (*creations(ADDED_TABLES.get(number, ())), *MIGRATIONS.get(number, ())):
            try:
                cursor.execute(statement)
            except pymysql.OperationalError as exc:
                # A process that was killed here has added this, and not written the version.
                if exc.args[0] not in ADDED_ALREADY:
                    raise
        cursor.execute("INSERT INTO modelcache_schema (version) VALUES (?)", (number,))


def schema_statements() -> list[str]:
    """Return the statements of the SQL file that creates the tables."""
    text = files("modelcache.manager.scalar_data").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in code.split(";") if statement.strip()]


def creations(tables: Sequence[str]) -> list[str]:
    """Return the statements of the SQL file that create these tables unless they are there."""
    return [
        statement
        for table in tables
        for statement in schema_statements()
        if statement.startswith(f"CREATE TABLE IF NOT EXISTS {table} ")
    ]
