"""Warming up from questions and answers, and taking over the entries of other caches."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelcache.app import create_app, get_service
from modelcache.cli import main
from modelcache.records.entry import EntrySearch, StoredEntry
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.support.client import CacheClient, user
from tests.support.servers import start_or_skip
from tests.support.wire import assert_miss, assistant, system

Run = Callable[..., int]

# As GPTCache 0.1.44 and the reference make them, in what both databases understand.
GPTCACHE = (
    "CREATE TABLE gptcache_question (id INTEGER PRIMARY KEY, question VARCHAR(3000) NOT NULL, "
    "create_on DATETIME, last_access DATETIME, embedding_data BLOB, deleted INTEGER)",
    "CREATE TABLE gptcache_answer (id INTEGER PRIMARY KEY, question_id INTEGER NOT NULL, "
    "answer VARCHAR(3000) NOT NULL, answer_type INTEGER NOT NULL)",
    "CREATE TABLE gptcache_question_dep (id INTEGER PRIMARY KEY, question_id INTEGER NOT NULL, "
    "dep_name VARCHAR(1000) NOT NULL, dep_data VARCHAR(3000) NOT NULL, dep_type INTEGER NOT NULL)",
    "INSERT INTO gptcache_question VALUES "
    "(1, 'what''s github', '2026-01-02 03:04:05', '2026-01-02 03:04:05', NULL, 0), "
    "(2, 'removed', NULL, NULL, NULL, -1), (3, '如何理解人工智能？', NULL, NULL, NULL, 0), "
    "(4, 'with an image', NULL, NULL, NULL, 0), (5, 'an image', NULL, NULL, NULL, 0), "
    "(6, ' ', NULL, NULL, NULL, 0)",
    "INSERT INTO gptcache_answer VALUES (1, 1, 'a site', 0), (2, 2, 'gone', 0), (3, 3, '100% ''AI', 0), "
    "(4, 4, 'x', 0), (5, 5, 'base64', 1), (6, 6, 'blank', 0)",
    "INSERT INTO gptcache_question_dep VALUES (1, 4, 'image', 'x', 1)",
)
REFERENCE = (
    "CREATE TABLE modelcache_llm_answer (id INTEGER PRIMARY KEY, gmt_create DATETIME NOT NULL, "
    "gmt_modified DATETIME NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL, answer_type INTEGER, "
    "hit_count INTEGER, model VARCHAR(1000) NOT NULL, embedding_data BLOB{more})",
    "INSERT INTO modelcache_llm_answer "
    "(id, gmt_create, gmt_modified, question, answer, answer_type, hit_count, model) VALUES "
    "(7, '2026-01-02 03:04:05', '2026-01-03 03:04:05', 'user###你是谁?', '我是', 1, 5, 'gpt_4'), "
    "(8, '2026-01-02 03:04:05', '2026-01-02 03:04:05', 'system###be brief|||user###hi there Paris|||"
    "assistant###a city|||user###why?', 'because', 1, 0, 'gpt_4'), "
    "(9, '2026-01-02 03:04:05', '2026-01-02 03:04:05', 'no roles', 'plain', 1, 0, 'gpt_4'), "
    "(10, '2026-01-02 03:04:05', '2026-01-02 03:04:05', 'user###empty', '', 1, 0, 'gpt_4')",
)
CREATED = 1767323045.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> Run:
    monkeypatch.setenv("MODELCACHE_DATA_DIR", str(folder))
    monkeypatch.setattr("modelcache.cli.stores.get_embedder", lambda settings: HashEmbedder())
    # What tells how far an import from a server came is left where it is run.
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["--profile", "demo", *map(str, arguments)])


@pytest.fixture
def opened(folder: Path) -> Iterator[Callable[[], CacheClient]]:
    apps: list[Any] = []

    def open_() -> CacheClient:
        apps.append(create_app({"data_dir": folder}, embedder=HashEmbedder()))
        return CacheClient(apps[-1].test_client())

    yield open_
    for app in apps:
        get_service(app).close()


def entries(client: CacheClient) -> dict[str, StoredEntry]:
    cache = get_service(client.http.application).cache
    page = cache.data_manager.scalars.find_entries(EntrySearch(limit=1000), 0)
    return {entry.question: entry for entry in page.entries}


Opened = Callable[[], CacheClient]

# Questions and answers.


def test_a_cache_is_warmed_up_by_questions_and_answers(
    run: Run, opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faq.tsv"
    pairs = [("你是谁?", "我是"), ('"quoted" \\n', "C:\\new\u2028line"), ("q" + NEAR, "near")]
    file.write_text(
        "Question\tAnswer\r\n\n" + "".join(f"{asked}\t{told}\n" for asked, told in pairs), encoding="utf-8"
    )
    assert run("warm-up", file, "--model", "gpt-4", "--tag", "faq", "--source", "faq@v1") == 0
    assert "3 entries inserted" in capsys.readouterr().out
    client = opened()
    for asked, told in pairs:
        hit = client.query(asked, model="gpt-4")
        assert (hit["answer"], hit["hit_type"]) == (told, "exact")
    assert client.query("q", model="gpt-4")["hit_type"] == "semantic"
    assert client.remove("delete_by_tag", model="gpt-4", tags=["faq"], dry_run=True)["response"]["dry_run"]
    removed = client.remove("delete_by_source", model="gpt-4", sources=["faq@v1"])
    assert removed["response"]["ScalarDB"] == "delete_count: 3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q\ta\nno tab\n", "line 2: expected a question, a tab and its answer"),
        ("q\ta\tmore\n", "line 1: expected a question, a tab and its answer"),
        ("q\t\n", "line 1: the question or the answer is empty"),
        (" \ta\n", "line 1: the question or the answer is empty"),
    ],
)
def test_a_line_that_is_wrong_is_named(
    run: Run, opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "faq.tsv"
    file.write_text(text)
    assert run("warm-up", file, "--model", "m") == 1
    assert said in capsys.readouterr().err
    assert entries(opened()) == {}


@pytest.mark.packages
def test_what_cannot_be_imported_is_refused_in_a_sentence(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, empty, own = tmp_path / "faq.tsv", tmp_path / "empty.db", tmp_path / "data" / "modelcache.db"
    file.write_text("q\ta\n")
    sqlite3.connect(empty).execute("CREATE TABLE t (a)").connection.close()
    run("warm-up", file, "--model", "m")
    latin = tmp_path / "latin.tsv"
    latin.write_bytes(b"q\t\xe9\n")
    for arguments, said in {
        ("warm-up", file): "--model is wanted",
        ("warm-up", tmp_path / "absent"): "is not there",
        ("import", empty): "there are no tables of GPTCache",
        ("import", own): "own tables",
        ("import", file, "--format", "tables"): "cannot read",
        ("import", latin, "--model", "m"): "is no text in UTF-8",
        ("import", "mysql://host/database"): "expected an address such as mysql://",
        (
            "import",
            "mysql://u@127.0.0.1:1/d",
            "--password-file",
            tmp_path / "absent",
        ): "cannot read the password",
        ("import", "mysql://u:hush@127.0.0.1:1/d"): "cannot read the MySQL database 127.0.0.1:1/d",
    }.items():
        assert run(*arguments) == 1
        told = capsys.readouterr().err
        assert said in told
        assert "hush" not in told


def test_an_import_that_was_stopped_goes_on_where_it_was(
    run: Run, opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faq.tsv"
    lines = [f"question {number}\tanswer {number}\n" for number in range(1200)]
    file.write_text("".join([*lines[:700], "broken\n"]))
    assert run("warm-up", file, "--model", "m") == 1
    file.write_text("".join(lines))
    assert run("warm-up", file, "--model", "m") == 0
    assert "700 entries inserted" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("*.done")] == []
    client = opened()
    assert all(client.query(f"question {number}")["cacheHit"] for number in range(0, 1200, 97))


# Tables.


def database_of(path: Path, statements: tuple[str, ...]) -> Path:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def check_gptcache(client: CacheClient) -> None:
    assert client.query("what's github" + NEAR, model="gptcache")["answer"] == "a site"
    assert client.query("如何理解人工智能？", model="gptcache")["answer"] == "100% 'AI"
    found = entries(client)
    assert set(found) == {"user###what's github", "user###如何理解人工智能？"}
    assert found["user###what's github"].created_at == CREATED


def check_reference(client: CacheClient, model: str = "gpt_4") -> None:
    assert client.query("你是谁?", model=model)["answer"] == "我是"
    talk = [*user("hi there Paris"), *assistant("a city"), *user("why?" + NEAR)]
    assert client.query([*system("be brief"), *talk], model=model)["answer"] == "because"
    assert_miss(client.query(talk, model=model))
    assert client.query("no roles", model=model)["answer"] == "plain"
    found = entries(client)
    assert len(found) == 3
    assert (found["user###你是谁?"].hit_count, found["user###你是谁?"].created_at) == (5, CREATED)


def test_the_tables_of_gptcache_are_taken_over(
    run: Run, opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = database_of(tmp_path / "sqlite.db", GPTCACHE)
    assert run("import", file) == 0
    assert "2 entries inserted" in (out := capsys.readouterr().out)
    assert "1 have no question or no answer" in out
    check_gptcache(opened())


def test_entries_of_gptcache_may_become_any_models(run: Run, opened: Opened, tmp_path: Path) -> None:
    assert run("import", database_of(tmp_path / "sqlite.db", GPTCACHE), "--model", "gpt-4") == 0
    assert opened().query("what's github", model="gpt-4")["answer"] == "a site"


@pytest.mark.parametrize("marked", [False, True])
def test_the_tables_of_the_reference_are_taken_over(
    run: Run, opened: Opened, tmp_path: Path, marked: bool
) -> None:
    create, insert = REFERENCE
    statements = [create.format(more=", is_deleted INTEGER DEFAULT 0" if marked else ""), insert]
    if marked:
        statements.append(
            "INSERT INTO modelcache_llm_answer VALUES "
            "(11, '2026-01-02 03:04:05', '2026-01-02 03:04:05', 'user###gone', 'x', 1, 0, 'gpt_4', NULL, -1)"
        )
    assert run("import", database_of(tmp_path / "old.db", tuple(statements)), "--model", "gpt-4") == 0
    check_reference(opened(), "gpt-4")


def test_many_rows_of_a_table_are_taken_over_page_by_page(
    run: Run, opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = database_of(tmp_path / "sqlite.db", GPTCACHE[:3])
    connection = sqlite3.connect(path)
    numbers = range(1, 1301)
    connection.executemany(
        "INSERT INTO gptcache_question VALUES (?, ?, NULL, NULL, NULL, 0)", [(n, f"q {n}") for n in numbers]
    )
    connection.executemany(
        "INSERT INTO gptcache_answer VALUES (?, ?, ?, 0)", [(n, n, f"a {n}") for n in numbers]
    )
    connection.commit()
    connection.close()
    # As a run leaves it that was stopped.
    path.with_name(path.name + ".done").write_text("500 500")
    assert run("import", path) == 0
    assert "800 entries inserted" in capsys.readouterr().out
    client = opened()
    assert client.query("q 1300", model="gptcache")["answer"] == "a 1300"
    assert_miss(client.query("q 500", model="gptcache"))


@pytest.mark.server
def test_tables_in_mysql_are_taken_over(run: Run, opened: Opened, tmp_path: Path) -> None:
    from tests.support.servers.mariadb import MariaDB

    server_folder = tmp_path / "mariadb"
    server_folder.mkdir()
    server = start_or_skip("MariaDB", MariaDB, server_folder)
    try:
        theirs, old = server.new_database(), server.new_database()
        for database in (theirs, old):
            server.execute(f"ALTER DATABASE {database} CHARACTER SET utf8mb4")
        for statement in GPTCACHE:
            server.execute(statement, database=theirs)
        for statement in REFERENCE:
            server.execute(statement.format(more=""), database=old)
        password = tmp_path / "password"
        password.write_text(server.password + "\n")
        for database in (theirs, old):
            address = server.address(database)
            place = f"mysql://{address.user}@{address.host}:{address.port}/{database}"
            assert run("import", place, "--password-file", password) == 0
            assert not Path(f"import-{database}.done").exists()
    finally:
        server.stop()
    client = opened()
    found = entries(client)
    assert len(found) == 5
    assert client.query("what's github", model="gptcache")["answer"] == "a site"
    assert client.query("你是谁?", model="gpt_4")["answer"] == "我是"
