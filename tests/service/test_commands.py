"""Looking after the stores by hand."""

from pathlib import Path

import pytest

from modelcache.__main__ import main
from modelcache.app import create_app, get_service
from modelcache.manager.names import collection_name
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.support.client import CacheClient


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three entries of two models, made and closed, which the commands will find."""
    app = create_app({"data_dir": tmp_path}, embedder=HashEmbedder())
    client = CacheClient(app.test_client())
    client.insert(("a", "A"), ("b", "B"))
    client.insert(("c", "C"), model="模型")
    get_service(app).close()
    monkeypatch.setenv("MODELCACHE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("modelcache.cli.stores.get_embedder", lambda settings: HashEmbedder())
    return tmp_path


def semantic_hits(data_dir: Path) -> int:
    app = create_app({"data_dir": data_dir}, embedder=HashEmbedder())
    client = CacheClient(app.test_client())
    replies = [client.query("a" + NEAR), client.query("b" + NEAR), client.query("c" + NEAR, model="模型")]
    get_service(app).close()
    return sum(reply["hit_type"] == "semantic" for reply in replies)


def test_reconcile_tells_what_it_did_for_every_model(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--profile", "demo", "reconcile"]) == 0
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines == [
        "m: 2 entries with a vector, 0 added, 0 removed",
        "模型: 1 entries with a vector, 0 added, 0 removed",
    ]


def test_rebuild_makes_one_model_anew(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--profile", "demo", "rebuild", "--model", "m"]) == 0
    assert capsys.readouterr().out == "m: 2 entries with a vector, 2 added, 0 removed\n"
    assert semantic_hits(data_dir) == 3


def test_lost_vectors_come_back(data_dir: Path) -> None:
    (data_dir / "faiss" / f"{collection_name('m', 'hash-v1')}.rows").unlink()
    assert main(["--profile", "demo", "reconcile", "--model", "m"]) == 0
    assert semantic_hits(data_dir) == 3


def test_a_model_that_does_not_exist_has_nothing(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--profile", "demo", "rebuild", "--model", "none"]) == 0
    assert capsys.readouterr().out == "none: 0 entries with a vector, 0 added, 0 removed\n"


def test_what_cannot_be_done_is_told_in_a_sentence(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app({"data_dir": data_dir}, embedder=HashEmbedder())
    assert main(["--profile", "demo", "reconcile"]) == 1
    assert "another service is using" in capsys.readouterr().err
    get_service(app).close()


def test_rebuild_wants_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rebuild"])
    assert "--model" in capsys.readouterr().err
