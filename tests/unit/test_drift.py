"""An embedder whose model was exchanged under the same name."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from flask import Flask

from modelcache import drift
from modelcache.app import create_app, get_service
from modelcache.cli import main
from modelcache.errors import EmbeddingError
from modelcache.records.vectors import Embeddings
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from modelcache.testing.waiting import wait_until
from tests.support.client import CacheClient
from tests.support.wire import assert_miss

SAID = "makes other vectors than before"


class Moving(HashEmbedder):
    """Makes the vectors of one model or, once it was moved, those of another one."""

    def __init__(self, moved: bool = False) -> None:
        super().__init__()
        self.moved = moved

    def embed(self, texts: Sequence[str]) -> Embeddings:
        vectors = super().embed(texts)
        return (
            np.roll(vectors, 1, axis=1) * np.where(np.arange(vectors.shape[1]) % 2, 1, -1).astype(np.float32)
            if self.moved
            else vectors
        )


def started(folder: Path, embedder: HashEmbedder) -> tuple[Flask, CacheClient]:
    app = create_app({"data_dir": folder}, embedder=embedder)
    return app, CacheClient(app.test_client())


def test_vectors_of_other_weights_are_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app, client = started(tmp_path, Moving())
    with closing(get_service(app)):
        client.insert(("old", "a"))
        assert client.query("old" + NEAR)["answer"] == "a"
    assert SAID not in caplog.text
    for already_known in (False, True):
        caplog.clear()
        app, client = started(tmp_path, Moving(moved=True))
        with closing(get_service(app)):
            assert (SAID in caplog.text) is not already_known
            assert client.query("old")["hit_type"] == "exact"
            assert_miss(client.query("old" + NEAR))
            client.insert(("new", "b"))
            assert client.query("new" + NEAR)["answer"] == "b"


def test_the_same_weights_are_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        app, client = started(tmp_path, Moving())
        with closing(get_service(app)):
            client.insert(("q", "a"))
    assert SAID not in caplog.text


def test_a_server_is_asked_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(drift, "CHECK_SECONDS", 0.01)
    embedder = Moving()
    embedder.may_change = True
    app, client = started(tmp_path, embedder)
    with closing(get_service(app)):
        client.insert(("old", "a"))
        client.query("old" + NEAR)
        embedder.moved = True
        wait_until(lambda: SAID in caplog.text, "the change to be seen")
        wait_until(
            lambda: client.query("old" + NEAR, threshold=0)["similarity"] is None, "old vectors put aside"
        )
        client.insert(("new", "b"))
        assert client.query("new" + NEAR)["answer"] == "b"


def test_other_vectors_are_rebuilt_under_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for moved in (False, True):
        app, client = started(tmp_path, Moving(moved))
        with closing(get_service(app)):
            client.insert((f"q{moved}", "a"))
    monkeypatch.setenv("MODELCACHE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("modelcache.cli.stores.get_embedder", lambda settings: Moving(moved=True))
    assert main(["--profile", "demo", "rebuild", "--model", "m"]) == 0
    assert "1 entries with a vector, 1 added" in capsys.readouterr().out
    app, client = started(tmp_path, Moving(moved=True))
    with closing(get_service(app)):
        assert client.query("qTrue" + NEAR)["answer"] == "a"


def test_an_embedder_that_fails_at_the_start_is_told_and_used_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(HashEmbedder):
        def embed(self, texts: Sequence[str]) -> Embeddings:
            if drift.PROBE_TEXT in texts:
                raise EmbeddingError("no")
            return super().embed(texts)

    app, client = started(tmp_path, Failing())
    with closing(get_service(app)):
        assert "could not be compared" in caplog.text
        client.insert(("q", "a"))
        assert client.query("q" + NEAR)["answer"] == "a"
