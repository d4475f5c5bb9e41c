"""Entries out of one pair of stores and into another one."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelcache.app import create_app, get_service
from modelcache.cli import main
from modelcache.records.entry import StoredEntry
from modelcache.records.names import model_key
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.support.client import CacheClient, Json, user
from tests.support.wire import assert_miss, assistant, system

TALK = [*user("tell me about Paris"), *assistant("a city")]


class Renamed(HashEmbedder):
    """Makes the same vectors under another name."""

    name = "another-v1"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command on a folder of the demo's stores."""

    def run(folder: Path, *arguments: str, embedder: type[HashEmbedder] = HashEmbedder) -> int:
        monkeypatch.setenv("MODELCACHE_DATA_DIR", str(folder))
        monkeypatch.setattr("modelcache.cli.stores.get_embedder", lambda settings: embedder())
        return main(["--profile", "demo", *arguments])

    return run


def opened(folder: Path, embedder: type[HashEmbedder] = HashEmbedder) -> Any:
    return create_app({"data_dir": folder}, embedder=embedder())


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A folder with entries of all kinds."""
    folder = tmp_path / "from"
    app = opened(folder)
    client = CacheClient(app.test_client())
    client.insert(*[(f"question {number}", f"answer {number}") for number in range(1200)])
    client.insert(
        ("tagged", "t"), model="m", tags=["red"], metadata={"source": "手册"}, ttl=3600, sources=["doc@1"]
    )
    client.insert((system("be brief") + TALK + user("why?"), "in a talk"))
    client.insert(("q", "anne's"), scope={"user": "anne"})
    client.insert(("q", "another model's"), model="gpt-4")
    client.insert(("long " * 1000, "long"))
    client.insert(("gone", "x"), ttl=0.000001)
    client.query("tagged")
    get_service(app).close()
    return folder


def created_at(folder: Path) -> float:
    """Return when the tagged entry was made."""
    app = opened(folder)
    [row] = [one for one in rows(app) if one.question == "user###tagged"]
    get_service(app).close()
    return row.created_at


def assert_all_answer(folder: Path, created: float, embedder: type[HashEmbedder] = HashEmbedder) -> None:
    app = opened(folder, embedder)
    client = CacheClient(app.test_client())
    for number in range(0, 1200, 97):
        assert client.query(f"question {number}")["hit_type"] == "exact"
    near = client.query("tagged" + NEAR)
    assert (near["answer"], near["metadata"]) == ("t", {"source": "手册"})
    talk = client.query(system("be brief") + TALK + user("why?" + NEAR))
    assert (talk["answer"], talk["hit_type"]) == ("in a talk", "semantic")
    assert client.query("q" + NEAR, scope={"user": "anne"})["answer"] == "anne's"
    assert_miss(client.query("q"))
    assert client.query("q" + NEAR, model="gpt-4")["answer"] == "another model's"
    assert client.query("long " * 1000)["answer"] == "long"
    assert_miss(client.query("gone"))
    [row] = [one for one in rows(app) if one.question == "user###tagged"]
    assert row.hit_count >= 1
    assert (row.sources, row.created_at) == (("doc@1",), created)
    [scoped] = [one for one in rows(app) if one.question == "user###q"]
    assert scoped.scope == '{"user": "anne"}'
    sourced = client.remove("delete_by_source", sources=["doc@1"], dry_run=True)
    assert sourced["response"]["ScalarDB"] == "delete_count: 1"
    assert client.remove("delete_by_tag", tags=["red"])["response"]["ScalarDB"] == "delete_count: 1"
    by_scope = {"type": "remove", "remove_type": "delete_by_scope", "scope": {"model": "m", "user": "anne"}}
    assert client.post(by_scope)["response"]["ScalarDB"] == "delete_count: 1"
    get_service(app).close()


def rows(app: Any) -> list[StoredEntry]:
    cache = get_service(app).cache
    cache.writer.flush()
    found: list[StoredEntry] = cache.data_manager.scalars.entries(model_key("m"), 0, 5000, 0)
    return found


@pytest.mark.parametrize("options", [(), ("--embeddings",)])
@pytest.mark.parametrize("embedder", [HashEmbedder, Renamed])
def test_what_is_exported_answers_where_it_is_imported(
    filled: Path, tmp_path: Path, command: Any, options: tuple[str, ...], embedder: type[HashEmbedder]
) -> None:
    file, to = tmp_path / "entries.jsonl", tmp_path / "to"
    assert command(filled, "export", str(file), *options) == 0
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 1205
    assert any("embedding" in line for line in lines) is bool(options)
    assert command(to, "import", str(file), embedder=embedder) == 0
    assert_all_answer(to, created_at(filled), embedder)


def test_an_import_that_was_stopped_goes_on(
    filled: Path,
    tmp_path: Path,
    command: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, to = tmp_path / "entries.jsonl", tmp_path / "to"
    command(filled, "export", str(file))
    whole = file.read_text(encoding="utf-8")
    lines = whole.splitlines(keepends=True)
    file.write_text("".join(lines[:700]) + "{no entry\n", encoding="utf-8")
    assert command(to, "import", str(file)) == 1
    assert "line 701" in capsys.readouterr().err
    file.write_text(whole, encoding="utf-8")
    assert command(to, "import", str(file)) == 0
    assert f"{1205 - 500} entries inserted" in capsys.readouterr().out
    assert_all_answer(to, created_at(filled))


def test_an_export_of_one_model_goes_on(
    filled: Path, tmp_path: Path, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "entries.jsonl"
    assert command(filled, "export", str(file), "--model", "m") == 0
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:300]) + lines[300][:20], encoding="utf-8")
    assert command(filled, "export", str(file), "--model", "m", "--resume") == 0
    assert file.read_text(encoding="utf-8").splitlines(keepends=True) == lines
    assert command(filled, "export", str(file), "--resume") == 1
    assert "--resume needs --model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fingerprint": "x"}, "fingerprint"),
        ({"answer": ""}, "answer"),
        ({"more": 1}, "more"),
        ({"tags": [1]}, "tags"),
    ],
)
def test_a_line_that_is_none_is_named_and_nothing_of_its_page_inserted(
    tmp_path: Path, command: Any, change: Json, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {
        "model": "m",
        "partition": "a" * 40,
        "fingerprint": "b" * 40,
        "question": "user###q",
        "answer": "a",
    }
    file, to = tmp_path / "entries.jsonl", tmp_path / "to"
    file.write_text("\n".join(json.dumps(line) for line in (good, good | change)) + "\n")
    assert command(to, "import", str(file)) == 1
    assert f"line 2: {named}" in capsys.readouterr().err
    app = opened(to)
    assert get_service(app).cache.data_manager.scalars.models() == []
    get_service(app).close()
