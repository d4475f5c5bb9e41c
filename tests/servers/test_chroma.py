"""The vector contract on Chroma, in process and over HTTP, and what is special about it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from modelcache.app import get_service
from modelcache.errors import ConfigError, VectorStoreError
from modelcache.manager.factory import get_vector_store
from modelcache.manager.vector_data.base import VectorStore
from modelcache.manager.vector_data.chroma import ChromaStore
from modelcache.settings import make_settings
from modelcache.testing import filtered_search
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.vector_store import DIMENSION, A, B, P, Q, VectorStoreContract, found, vectors
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.running import ROOT, all_at_once
from tests.support.servers import free_port, start_or_skip
from tests.support.servers.chroma import ChromaServer

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    server = start_or_skip("Chroma", ChromaServer, tmp_path_factory.mktemp("chroma"))
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ChromaServer]:
    """A server that the test may stop."""
    server = start_or_skip("Chroma", ChromaServer, tmp_path)
    yield server
    server.stop()


def in_folder(folder: Path, dimension: int = DIMENSION) -> ChromaStore:
    store = ChromaStore(folder / "chroma", dimension)
    store.open()
    return store


def on_server(server: ChromaServer, dimension: int = DIMENSION) -> ChromaStore:
    store = ChromaStore(server.folder / "unused", dimension, url=server.url, timeout=10)
    store.open()
    return store


def refusal(store: ChromaStore) -> str:
    """Return the sentence that refuses a start."""
    with pytest.raises(ConfigError) as caught:
        store.open()
    assert "\n" not in str(caught.value)
    with pytest.raises(VectorStoreError, match="not open"):
        store.ping()
    return str(caught.value)


class TestChromaInProcess(VectorStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[VectorStore]:
        store = in_folder(tmp_path)
        yield store
        store.close()


class TestChromaOverHttp(VectorStoreContract):
    @pytest.fixture
    def store(self, server: ChromaServer) -> Iterator[VectorStore]:
        yield from empty_store(server)


def empty_store(server: ChromaServer) -> Iterator[ChromaStore]:
    store = on_server(server)
    with store._connected() as client:
        for collection in client.list_collections():
            client.delete_collection(collection.name)
    yield store
    store.close()


@pytest.fixture(params=["in process", "over HTTP"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[ChromaStore]]:
    """Three that share what they hold: one store in process, or three on one server."""
    if request.param == "in process":
        store = in_folder(tmp_path)
        yield [store] * 3
        store.close()
    else:
        server = request.getfixturevalue("server")
        others = [on_server(server) for _ in range(2)]
        for store in empty_store(server):
            yield [store, *others]
        for other in others:
            other.close()


def test_of_many_that_create_a_collection_one_did(stores: list[ChromaStore]) -> None:
    made = all_at_once(*(partial(store.create, A) for store in stores * 2))
    assert sorted(made, key=bool) == [False] * 5 + [True]


def test_truncating_while_others_add_and_search_fails_none(stores: list[ChromaStore]) -> None:
    adding, searching, truncating = stores
    adding.create(A)
    rows = vectors(100)

    def add() -> None:
        for start in range(0, 100, 4):
            adding.add(A, range(start + 1, start + 5), [P] * 4, rows[start : start + 4])

    def search() -> None:
        for row in rows:
            searching.search(A, P, row, 5)

    def truncate() -> None:
        for _ in range(10):
            truncating.truncate(A)

    assert all_at_once(add, search, truncate) == [None] * 3
    adding.truncate(A)
    assert searching.ids(A).tolist() == []
    searching.add(A, [1], [P], rows[:1])
    assert found(adding, A, P, rows[0]) == [1]
    assert not truncating.create(A)


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_collection_that_was_removed_elsewhere_is_absent_and_can_be_filled_again(
    server: ChromaServer, is_made_anew: bool
) -> None:
    for store in empty_store(server):
        with closing(on_server(server)) as other:
            store.add(A, [1], [P], vectors(1))
            assert found(other, A, P, vectors(1)[0]) == [1]
            with store._connected() as client:
                client.delete_collection(A)
            if is_made_anew:
                store.create(A)
            assert found(other, A, P, vectors(1)[0]) == []
            assert other.ids(A).tolist() == []
            other.delete(A, [1])
            other.add(A, [2], [P], vectors(1))
            assert found(store, A, P, vectors(1)[0]) == [2]


def test_a_collection_whose_name_starts_like_another_is_apart(stores: list[ChromaStore]) -> None:
    store, row = stores[0], vectors(1)
    store.add(A, [1], [P], row)
    store.add(A + "_longer", [2], [P], row)
    store.truncate(A)
    assert store.ids(A).tolist() == []
    assert found(store, A + "_longer", P, row[0]) == [2]


@pytest.mark.parametrize("place", ["in process", "over HTTP"])
def test_the_filter_starves_nothing(place: str, tmp_path: Path, server: ChromaServer) -> None:
    dimension = filtered_search.DIMENSION
    store = in_folder(tmp_path, dimension) if place == "in process" else on_server(server, dimension)
    filtered_search.assert_the_filter_starves_nothing(store)
    store.delete(filtered_search.COLLECTION, range(1, filtered_search.COUNT))
    assert store.ids(filtered_search.COLLECTION).tolist() == [filtered_search.COUNT]
    store.truncate(filtered_search.COLLECTION)
    store.close()


# In process.


def test_what_was_added_and_truncated_outlives_the_process(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys, tests.servers.test_chroma as t\n"
        "store = t.in_folder(pathlib.Path(sys.argv[1]))\n"
        "store.add(t.A, [1, 2], [t.P, t.Q], t.vectors(2))\n"
        "store.add(t.B, [3], [t.P], t.vectors(1))\n"
        "store.delete(t.A, [2])\n"
        "store.truncate(t.B)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
    store = in_folder(tmp_path)
    assert store.ids(A).tolist() == [1]
    assert found(store, A, P, vectors(1)[0]) == [1]
    assert store.ids(B).tolist() == []
    assert not store.create(B)
    store.close()
    again = in_folder(tmp_path)
    assert found(again, A, P, vectors(1)[0]) == [1]
    again.close()


def test_a_second_service_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    store = in_folder(tmp_path)
    assert "another service is using" in refusal(ChromaStore(tmp_path / "chroma", DIMENSION))
    store.add(A, [1], [P], vectors(1))
    store.close()
    in_folder(tmp_path).close()


def test_a_folder_that_is_no_chroma_is_refused_and_left_unlocked(tmp_path: Path) -> None:
    folder = tmp_path / "chroma"
    folder.mkdir()
    (folder / "chroma.sqlite3").write_bytes(b"this is no database" * 1000)
    for _ in range(2):
        assert str(folder) in refusal(ChromaStore(folder, DIMENSION))
    (folder / "chroma.sqlite3").unlink()
    in_folder(tmp_path).close()


# Over HTTP.


def test_a_stopped_server_is_said_and_is_used_again_when_it_is_back(own_server: ChromaServer) -> None:
    store = on_server(own_server)
    store.add(A, [1], [P], vectors(1))
    own_server.stop()
    for call in (
        store.ping,
        lambda: store.create(A),
        lambda: store.add(A, [2], [P], vectors(1)),
        lambda: store.search(A, P, vectors(1)[0], 1),
        lambda: store.delete(A, [1]),
        lambda: store.truncate(A),
        lambda: store.ids(A),
    ):
        with pytest.raises(VectorStoreError) as caught:
            call()
        assert caught.value.__cause__ is not None
    own_server.start()
    store.ping()
    store.add(A, [3], [Q], vectors(1))
    assert found(store, A, P, vectors(1)[0]) == [1]
    assert found(store, A, Q, vectors(1)[0]) == [3]
    store.close()


def test_a_frozen_server_is_given_up_after_the_time_limit(own_server: ChromaServer) -> None:
    settings = make_settings({"vector_store": "chroma", "chroma_url": own_server.url, "store_timeout": 0.2})
    store = get_vector_store(settings, DIMENSION)
    store.open()
    own_server.freeze()
    # It would wait for ever: returning at all is what is tested.
    with pytest.raises(VectorStoreError, match="timed out"):
        store.search(A, P, vectors(1)[0], 1)
    assert "cannot be used" in refusal(ChromaStore.from_settings(settings, DIMENSION))
    store.close()


def test_a_server_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    sentence = refusal(ChromaStore(tmp_path, DIMENSION, url=url))
    assert url in sentence
    assert "chroma_url" in sentence


class NotChroma(BaseHTTPRequestHandler):
    """Answers every request with a page and the status that is set."""

    status = 200

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.parametrize("status", [200, 404, 502])
def test_a_server_that_is_no_chroma_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(NotChroma, "status", status)
    with ThreadingHTTPServer(("127.0.0.1", 0), NotChroma) as page:
        Thread(target=page.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{page.server_port}"
        assert "cannot be used" in refusal(ChromaStore(tmp_path, DIMENSION, url=url))
        page.shutdown()


@pytest.mark.parametrize("status", [200, 404, 502])
def test_a_proxy_that_answers_instead_of_the_server_is_a_failure(
    own_server: ChromaServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    store = on_server(own_server)
    store.add(A, [1], [P], vectors(1))
    own_server.stop()
    monkeypatch.setattr(NotChroma, "status", status)
    monkeypatch.setattr(ThreadingHTTPServer, "allow_reuse_address", True)
    with ThreadingHTTPServer(("127.0.0.1", own_server.port), NotChroma) as page:
        Thread(target=page.serve_forever, daemon=True).start()
        for call in (lambda: store.search(A, P, vectors(1)[0], 1), lambda: store.ids(A), store.ping):
            with pytest.raises(VectorStoreError):
                call()
        page.shutdown()
    store.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("127.0.0.1:8000", "must start with http"),
        ("ftp://127.0.0.1", "must start with http"),
        ("http://", "must start with http"),
        ("http://[::1", "not an address"),
        ("http://127.0.0.1:many", "not an address"),
        ("http://u:hush-hush@127.0.0.1:8000", "password"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, url: str, reason: str) -> None:
    sentence = refusal(ChromaStore(tmp_path, DIMENSION, url=url))
    assert reason in sentence
    assert "hush" not in sentence


@pytest.mark.parametrize("place", ["in process", "over HTTP"])
def test_a_service_on_chroma_answers_forgets_and_remembers(
    place: str, server: ChromaServer, make_app: AppFactory
) -> None:
    own = {"vector_store": "chroma", "store_timeout": 10}
    if place == "over HTTP":
        own["chroma_url"] = server.url
    app = make_app(**own)
    client = CacheClient(app.test_client())
    client.insert(("q" + NEAR, "near"))
    assert client.query("q")["answer"] == "near"
    client.remove("truncate_by_model")
    assert not client.query("q")["cacheHit"]
    client.insert(("q" + NEAR, "again"))
    get_service(app).close()
    assert CacheClient(make_app(**own).test_client()).query("q")["answer"] == "again"
