"""``modelcache import``, and ``warm-up``: insert entries of a file, or of another cache's tables."""

import argparse
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from modelcache.admin.sources import Given, JsonLines, Source, Tsv
from modelcache.admin.tables import MYSQL, MySQLDatabase, SqliteDatabase, tables_in
from modelcache.admin.transfer import bring_in
from modelcache.cli.stores import opened_stores
from modelcache.errors import ConfigError

AUTO, JSONL, TSV, TABLES = "auto", "jsonl", "tsv", "tables"
SQLITE_HEAD = b"SQLite format 3\0"
DONE_SUFFIX = ".done"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "file",
        help="what `export` wrote, a file of questions and answers with a tab between, or a database of "
        "GPTCache or ModelCache: an SQLite file or mysql://user@host:3306/database; "
        "a run that was stopped goes on",
    )
    parser.add_argument(
        "--format", choices=(AUTO, JSONL, TSV, TABLES), default=AUTO, help="otherwise seen by what is in it"
    )
    parser.add_argument("--model", default="", help="whose entries questions and rows of tables become")
    parser.add_argument("--tag", action="append", default=[], help="of questions and rows; may be repeated")
    parser.add_argument(
        "--source", action="append", default=[], help="what their answers were made from, as well"
    )
    parser.add_argument("--password-file", type=Path, help="holds the password of the MySQL user")


def run(asked: argparse.Namespace) -> int:
    """Insert the entries, and tell how many."""
    with opened_stores(asked.profile) as (manager, gathering, settings):
        source, beside = _source(asked, Given(settings, asked.model, asked.tag, asked.source))
        with closing(tqdm(total=source.total(), unit="entry", disable=None)) as bar:
            count = bring_in(manager, gathering, settings, source, beside, bar.update)
    skipped = f"; {source.skipped} have no question or no answer" if source.skipped else ""
    print(f"{count} entries inserted from {asked.file.rpartition('@')[2]}{skipped}")
    return 0


def _source(asked: argparse.Namespace, given: Given) -> tuple[Source, Path]:
    """Return what is read, and the file that tells how far it was."""
    if asked.file.startswith(MYSQL):
        database = MySQLDatabase(asked.file, _password(asked.password_file))
        return tables_in(database, given), Path(f"import-{database.name}{DONE_SUFFIX}")
    path = Path(asked.file)
    if not path.is_file():
        raise ConfigError(f"{path} is not there")
    beside = path.with_name(path.name + DONE_SUFFIX)
    kind = _seen(path) if asked.format == AUTO else asked.format
    if kind == TABLES:
        return tables_in(SqliteDatabase(path), given), beside
    return (Tsv(path, given) if kind == TSV else JsonLines(path)), beside


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read the password in {path}") from exc


def _seen(path: Path) -> str:
    """Return a file's format by what is in it."""
    with path.open("rb") as file:
        head = file.readline(1_000_000)
    if head.startswith(SQLITE_HEAD):
        return TABLES
    return JSONL if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or not head.strip() else TSV
