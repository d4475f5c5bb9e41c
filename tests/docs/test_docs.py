"""The documents say what the code does."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from openapi_spec_validator import validate

from modelcache import __version__
from modelcache.manager.scalar_data.sqlite import SqliteStorage
from modelcache.settings import settings_table
from tests.support.documents import READMES, between, read
from tests.support.running import ROOT, RunningService

pytestmark = pytest.mark.process

MAX_README_BYTES = 8192
SETTINGS, SETTINGS_CN = "docs/settings.md", "docs/zh/settings.md"
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z]+:")


def pages() -> list[str]:
    """Return every Markdown file of the repository, those not yet added too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def links(page: str) -> list[tuple[Path, str]]:
    """Return each relative link of a page: the path it leads to, and the anchor there or ""."""
    text = CODE.sub("", CODE_BLOCK.sub("", read(page)))
    found = []
    for target in LINK.findall(text):
        if not ELSEWHERE.match(target):
            path, _, anchor = unquote(target).partition("#")
            found.append(((ROOT / page).parent / path if path else ROOT / page, anchor))
    return [(path.resolve(), anchor) for path, anchor in found]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings: lower case, spaces as hyphens, no punctuation."""
    headings = HEADING.findall(CODE_BLOCK.sub("", page.read_text(encoding="utf-8")))
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings]
    slugs = [re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain]
    counted: Counter[str] = Counter()
    found = set()
    for slug in slugs:
        found.add(f"{slug}-{counted[slug]}" if counted[slug] else slug)
        counted[slug] += 1
    return found


@pytest.mark.parametrize("readme", READMES)
def test_a_readme_is_short(readme: str) -> None:
    assert len((ROOT / readme).read_bytes()) < MAX_README_BYTES


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_somewhere(page: str) -> None:
    broken = [
        f"{path}#{anchor}"
        for path, anchor in links(page)
        if not path.is_relative_to(ROOT)
        or not path.exists()
        or (anchor and (path.suffix != ".md" or anchor not in anchors(path)))
    ]
    assert broken == []


def test_every_page_of_the_docs_is_linked() -> None:
    linked = {path for page in pages() for path, _ in links(page) if path != (ROOT / page).resolve()}
    documents = [page for page in pages() if page.startswith("docs/")]
    assert documents
    assert [page for page in documents if (ROOT / page).resolve() not in linked] == []


def test_every_page_of_the_docs_is_there_in_both_languages() -> None:
    english = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {path.name for path in (ROOT / "docs" / "zh").glob("*.md")} == english
    for name in english:
        assert ((ROOT / "docs" / "zh" / name).resolve(), "") in links(f"docs/{name}")
        assert ((ROOT / "docs" / name).resolve(), "") in links(f"docs/zh/{name}")


def settings_rows(page: str) -> list[list[str]]:
    lines = between(page, "settings").splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_page_lists_every_setting_with_default_and_help() -> None:
    expected = [
        [f"`{variable}`", f"`{default}`" if default else "", meaning]
        for variable, default, meaning in settings_table()
    ]
    assert settings_rows(SETTINGS) == expected


def test_the_chinese_page_lists_the_same_settings() -> None:
    chinese = settings_rows(SETTINGS_CN)
    assert [row[:2] for row in chinese] == [row[:2] for row in settings_rows(SETTINGS)]
    assert all(re.search("[\u4e00-\u9fff]|`cosine`", row[2]) for row in chinese)


def test_the_chinese_page_shows_the_same_thresholds() -> None:
    english, chinese = (
        between(page, "confidence").splitlines()[2:] for page in ("docs/deciding.md", "docs/zh/deciding.md")
    )
    assert chinese == english


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    service = RunningService(tmp_path_factory.mktemp("demo"), "flask4modelcache_demo.py").wait_ready()
    yield service
    assert service.terminate() == 0


def shown_requests(page: str) -> list[tuple[str, str]]:
    """Return each request that a page shows as a curl command, with the reply it shows below."""
    text = read(page)
    shown = re.findall(r"```bash\n(curl .*?)```\n\n```json\n(.*?)```", text, re.DOTALL)
    assert len(shown) == text.count("```bash\ncurl ")
    return shown


def assert_the_replies_are_as_shown(shown: list[tuple[str, str]], service: RunningService) -> None:
    for command, reply in shown:
        command = command.replace("http://127.0.0.1:5000", service.url)
        output = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout
        assert without_what_varies(json.loads(output)) == without_what_varies(json.loads(reply))


@pytest.mark.parametrize("readme", READMES)
def test_the_requests_of_the_readme_get_the_replies_it_shows(readme: str, demo: RunningService) -> None:
    shown = shown_requests(readme)
    assert len(shown) == 2
    assert_the_replies_are_as_shown(shown, demo)


@pytest.mark.parametrize("page", ["docs/feedback-and-modes.md", "docs/zh/feedback-and-modes.md"])
def test_the_feedback_of_the_page_gets_the_reply_it_shows(page: str, demo: RunningService) -> None:
    demo.insert([("How do I log in?", "With your e-mail address.")], model="gpt-4")
    shown = shown_requests(page)
    assert len(shown) == 1
    assert_the_replies_are_as_shown(shown, demo)


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
        assert question in read(readme).replace("\n", " ")
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
