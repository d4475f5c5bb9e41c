"""The documents say what the code does."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate

from benchmarks import report
from benchmarks.__main__ import RESULTS
from modelcache import __version__
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.settings import settings_table
from tests.running import ROOT, RunningService

READMES = ["README.md", "README_CN.md"]


def settings_rows(readme: str) -> list[list[str]]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    block = text.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.strip().splitlines()[2:]]


def test_the_readme_lists_every_setting_with_default_and_help() -> None:
    expected = [
        [f"`{variable}`", f"`{default}`" if default else "", meaning]
        for variable, default, meaning in settings_table()
    ]
    assert settings_rows("README.md") == expected


def test_the_chinese_readme_lists_the_same_settings() -> None:
    assert [row[:2] for row in settings_rows("README_CN.md")] == [
        row[:2] for row in settings_rows("README.md")
    ]
    assert all(re.search("[\u4e00-\u9fff]|`cosine`", row[2]) for row in settings_rows("README_CN.md"))


@pytest.mark.parametrize("readme", READMES)
def test_the_readme_shows_the_figures_that_were_measured(readme: str) -> None:
    shown = (ROOT / readme).read_text(encoding="utf-8").split("<!-- bench -->")[1].split("<!-- /bench -->")[0]
    assert shown.strip() == report.tables(*report.load(RESULTS))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    service = RunningService(tmp_path_factory.mktemp("demo"), "flask4modelcache_demo.py").wait_ready()
    yield service
    assert service.terminate() == 0


@pytest.mark.parametrize("readme", READMES)
def test_the_requests_of_the_readme_get_the_replies_it_shows(readme: str, demo: RunningService) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    shown = re.findall(r"```bash\n(curl .*?)```\n\n```json\n(.*?)```", text, re.DOTALL)
    assert len(shown) == 2
    for command, reply in shown:
        command = command.replace("http://127.0.0.1:5000", demo.url)
        output = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout
        assert without_what_varies(json.loads(output)) == without_what_varies(json.loads(reply))


def without_what_varies(reply: dict[str, Any]) -> dict[str, Any]:
    """Leave out ids and times, and round what depends on the processor."""
    kept = {name: value for name, value in reply.items() if name not in ("ids", "hit_id", "delta_time")}
    for name in ("similarity", "confidence"):
        if kept.get(name) is not None:
            kept[name] = round(kept[name], 2)
    return kept


def test_what_the_readme_calls_a_miss_is_one(demo: RunningService) -> None:
    for readme, question in (
        ("README.md", "How do I change my password?"),
        ("README_CN.md", "如何取消退款"),
    ):
        assert question in (ROOT / readme).read_text(encoding="utf-8")
        assert not demo.query(question, model="gpt-4")["cacheHit"]


def test_the_sql_file_describes_the_tables_the_code_uses(tmp_path: Path) -> None:
    store = SqliteStorage(tmp_path / "modelcache.db")
    store.open()
    with store.reading() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'modelcache_%'")
        used = {row[0]: table_shape(cursor, row[0]) for row in cursor.fetchall()}
        cursor.execute("SELECT MAX(version) FROM modelcache_schema")
        version = cursor.fetchone()[0]
    store.close()
    sql = (ROOT / "reference_doc" / "create_table.sql").read_text(encoding="utf-8")
    described = dict(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\n\) ENGINE", sql, re.DOTALL))
    assert {name: parse_shape(body) for name, body in described.items()} == used
    assert f"VALUES ({version});" in sql


def test_the_sql_file_is_the_one_the_service_runs() -> None:
    shipped = ROOT / "modelcache" / "manager" / "scalar_data" / "create_table.sql"
    assert (ROOT / "reference_doc" / "create_table.sql").read_bytes() == shipped.read_bytes()


Shape = tuple[dict[str, bool], dict[str, list[str]], list[str]]


def table_shape(cursor: Any, table: str) -> Shape:
    """Return columns (name to whether it may be NULL), indexes, and the primary key, of SQLite's table."""
    cursor.execute(f"PRAGMA table_info({table})")
    rows = cursor.fetchall()
    columns = {row[1]: not (row[3] or row[5]) for row in rows}
    key = [row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5]]
    cursor.execute(f"PRAGMA index_list({table})")
    names = [row[1] for row in cursor.fetchall() if row[3] == "c"]
    indexes = {}
    for name in names:
        cursor.execute(f"PRAGMA index_info({name})")
        indexes[name] = [row[2] for row in cursor.fetchall()]
    return columns, indexes, key


def parse_shape(body: str) -> Shape:
    """Return the same of a CREATE TABLE statement's body."""
    columns: dict[str, bool] = {}
    indexes: dict[str, list[str]] = {}
    key: list[str] = []
    for line in filter(None, (line.strip().rstrip(",") for line in body.splitlines())):
        if line.startswith("PRIMARY KEY"):
            key = re.findall(r"\w+", line.removeprefix("PRIMARY KEY"))
        elif line.startswith("KEY"):
            name, *parts = re.findall(r"\w+", line.removeprefix("KEY"))
            indexes[name] = parts
        else:
            columns[line.split()[0]] = "NOT NULL" not in line
    return columns, indexes, key


def test_the_openapi_document_is_valid_and_names_the_version() -> None:
    document = yaml.safe_load((ROOT / "reference_doc" / "openapi.yaml").read_text(encoding="utf-8"))
    validate(document)
    assert document["info"]["version"] == __version__


def test_the_changelog_starts_with_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == __version__
