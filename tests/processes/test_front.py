"""The HTTP server before the app: half-open and slow clients, bodies, refusals, streams, processes."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from modelcache.testing.waiting import wait_until
from tests.processes.test_server import address, ask, received, send
from tests.support.client import user
from tests.support.processes import children, is_running
from tests.support.running import ROOT, RunningService
from tests.support.wire import assert_error

pytestmark = pytest.mark.process

HALF_OPEN = 1050
HEAD = b"POST /modelcache HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
HALF_REQUESTS = {
    "headers": HEAD,
    "body": HEAD + b'Content-Length: 300\r\n\r\n{"type":',
    "chunked body": HEAD + b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"type":\r\n',
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    service = RunningService(tmp_path).wait_ready()
    yield service
    assert service.terminate() == 0


def connect(service: RunningService, data: bytes) -> socket.socket:
    """Send this on a connection of its own."""
    connection = socket.create_connection(address(service), timeout=60)
    connection.sendall(data)
    return connection


def answer(service: RunningService, data: bytes) -> tuple[int, bytes, bytes]:
    """Send this, which must ask for the connection's end; returns the reply's status, headers and body."""
    return taken_apart(received(connect(service, data)))


def taken_apart(reply: bytes) -> tuple[int, bytes, bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process open as many connections as the tests hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * HALF_OPEN:
        pytest.skip(f"a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * HALF_OPEN), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("half", HALF_REQUESTS)
def test_half_open_connections_do_not_keep_others_waiting(tmp_path: Path, half: str) -> None:
    service = RunningService(tmp_path, MODELCACHE_THREADS="2", MODELCACHE_DRAIN_TIMEOUT="1").wait_ready()
    service.insert([("q", "a")])
    with ExitStack() as stack:
        for _ in range(HALF_OPEN):
            stack.enter_context(connect(service, HALF_REQUESTS[half]))
        with requests.Session() as newcomer:
            reply = newcomer.post(f"{service.url}/modelcache", json=ask("q"), timeout=30)
        assert reply.json()["answer"] == "a"
        assert service.insert([("q2", "a2")])["writeStatus"] == "success"
        # Nor do they hold up the end for longer than requests in flight may.
        assert service.terminate() == 0


def test_a_request_that_does_not_come_in_whole_is_given_up(tmp_path: Path) -> None:
    service = RunningService(tmp_path, MODELCACHE_READ_TIMEOUT="1").wait_ready()
    for half in ("body", "chunked body"):
        status, head, body = taken_apart(received(connect(service, HALF_REQUESTS[half])))
        assert status == 408
        assert b"connection: close" in head
        assert_error(json.loads(body), 408, "query")
    assert received(connect(service, HALF_REQUESTS["headers"])) == b""
    assert service.terminate() == 0


def test_a_client_that_leaves_within_its_request_is_forgotten(service: RunningService) -> None:
    for half in HALF_REQUESTS.values():
        connect(service, half).close()
    assert service.query("q")["errorCode"] == 0


def test_a_body_in_parts_is_put_together(service: RunningService) -> None:
    data = json.dumps(ask("你好")).encode()
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:10], data[10:11], data[11:]))
    reply = answer(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n")
    assert (reply[0], json.loads(reply[2])["errorCode"]) == (200, 0)


@pytest.mark.parametrize("size", [2001, 30_000])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_a_body_over_the_limit_gets_a_413_that_its_sender_can_read(
    tmp_path: Path, size: int, is_chunked: bool
) -> None:
    service = RunningService(tmp_path, MODELCACHE_MAX_BODY_BYTES="2000").wait_ready()
    body = b"x" * size
    if is_chunked:
        request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (size, body)
    else:
        request = HEAD + b"Content-Length: %d\r\n\r\n%s" % (size, body)
    assert_too_large(answer(service, request))
    assert service.query("q")["errorCode"] == 0
    assert service.terminate() == 0


def test_a_body_far_over_the_limit_is_not_read(tmp_path: Path) -> None:
    service = RunningService(tmp_path, MODELCACHE_MAX_BODY_BYTES="2000").wait_ready()
    assert_too_large(answer(service, HEAD + b"Content-Length: 2000000\r\n\r\nx"))
    endless = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + 40 * (b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert_too_large(answer(service, endless))
    assert service.terminate() == 0


def assert_too_large(reply: tuple[int, bytes, bytes]) -> None:
    assert reply[0] == 413
    assert_error(json.loads(reply[2]), 413, "query")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("GET /nothing", 404), ("GET /modelcache", 405), ("BREW /modelcache", 405), ("GET /%e4%bd%a0", 404)],
)
def test_what_the_app_refuses_is_told_in_json(
    service: RunningService, request_line: str, status: int
) -> None:
    told, head, body = answer(
        service, f"{request_line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert told == status
    assert b"content-type: application/json" in head
    assert_error(json.loads(body), status, "query")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (HEAD + b"Content-Length: many\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nLong: " + b"x" * 1_000_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ],
    ids=["no HTTP", "bad length", "long header", "long path"],
)
def test_what_is_no_http_is_refused_by_its_status(
    service: RunningService, request_bytes: bytes, status: int
) -> None:
    # Granian refuses this before any of our code runs, and offers no place for a body.
    with connect(service, request_bytes) as connection:
        told, head, _ = taken_apart(connection.recv(65536))
    assert told == status
    assert b"connection: close" in head
    assert service.query("q")["errorCode"] == 0


def test_a_body_that_is_no_json_is_told_in_json(service: RunningService) -> None:
    for body in (b"", b"nonsense", b"[1]"):
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        status, _, reply = answer(service, request)
        assert status == 200
        assert_error(json.loads(reply), 101, "query")


def test_a_stream_whose_client_left_is_closed(tmp_path: Path) -> None:
    service = RunningService(tmp_path, "-m", "tests.support.serve_stream").wait_ready()
    with connect(service, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    wait_until((tmp_path / "closed").exists, "the stream being closed")
    assert requests.get(f"{service.url}/short-stream", timeout=30).text == "one two"
    assert service.terminate() == 0


def test_a_stream_that_does_not_end_is_cut_off_when_draining_takes_too_long(tmp_path: Path) -> None:
    service = RunningService(
        tmp_path, "-m", "tests.support.serve_stream", MODELCACHE_DRAIN_TIMEOUT="1"
    ).wait_ready()
    connection = connect(service, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(15) == b"HTTP/1.1 200 OK"
    service.process.send_signal(signal.SIGTERM)
    received(connection)
    assert service.wait() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_listens_on_either_kind_of_address(tmp_path: Path, host: str) -> None:
    service = RunningService(tmp_path, MODELCACHE_HOST=host).wait_ready()
    assert service.url.startswith("http://[::1]:" if ":" in host else "http://127.0.0.1:")
    assert service.query("q")["errorCode"] == 0
    assert service.terminate() == 0


def test_what_waits_to_be_accepted_is_answered_too(tmp_path: Path) -> None:
    service = RunningService(tmp_path).wait_ready()
    service.insert([("q", "a")])
    # Stopped, it accepts nothing: the system connects the clients, and keeps them and their requests.
    service.process.send_signal(signal.SIGSTOP)
    connections = [send(service, ask("q")) for _ in range(50)]
    service.process.send_signal(signal.SIGTERM)
    service.process.send_signal(signal.SIGCONT)
    for connection in connections:
        status, head, body = taken_apart(received(connection))
        assert (status, json.loads(body)["answer"]) == (200, "a")
        assert b"connection: close" in head
    assert service.wait() == 0


def one_worker(folder: Path) -> RunningService:
    """Start the production program on stores of one process: one that starts it, and one worker."""
    environ = {"WORKERS": "1", "EMBEDDER": "hash", "SCALAR_STORE": "sqlite", "VECTOR_STORE": "faiss"}
    environ = {f"MODELCACHE_{name}": value for name, value in environ.items()}
    return RunningService(folder, "-m", "tests.support.serve_workers", **environ).wait_ready()


def test_a_worker_that_was_killed_is_replaced(tmp_path: Path) -> None:
    service = one_worker(tmp_path)
    service.insert([("q", "a")])
    [worker] = children(service.process.pid)
    os.kill(worker, signal.SIGKILL)
    # Its successor takes the connections that nobody had accepted.
    with requests.Session() as http:
        reply = http.post(f"{service.url}/modelcache", json=ask("q"), timeout=60).json()
    assert reply["answer"] == "a"
    assert children(service.process.pid) != [worker]
    assert service.terminate() == 0


def test_no_worker_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    service = one_worker(tmp_path)
    [worker] = children(service.process.pid)
    service.process.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_running(worker), "the end of the worker")
    service.wait()
    # The data folder is free again.
    assert one_worker(tmp_path).terminate() == 0


def test_a_worker_that_cannot_open_says_so_once(tmp_path: Path) -> None:
    process = RunningService.started(
        tmp_path,
        "-m",
        "tests.support.serve_workers",
        MODELCACHE_MYSQL_PORT="1",
        MODELCACHE_MILVUS_URI="http://127.0.0.1:1",
        MODELCACHE_EMBEDDER="hash",
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.count("modelcache cannot start: ") == 1
    assert "Traceback" not in errors


def test_a_gunicorn_of_ones_own_serves_the_app(tmp_path: Path) -> None:
    own = {"SCALAR_STORE": "sqlite", "VECTOR_STORE": "faiss", "EMBEDDER": "e5", "DATA_DIR": str(tmp_path)}
    options = ["--bind", "127.0.0.1:0", "-k", "gthread", "--threads", "4", "--no-control-socket"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "flask4modelcache:create_app()"],
        cwd=ROOT,
        env={**os.environ, **{f"MODELCACHE_{name}": value for name, value in own.items()}},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = next(found for line in process.stderr if (found := re.search(r"Listening at: (\S+)", line)))[1]
    chat_info = [{"query": user("q"), "answer": "a"}]
    body = {"type": "insert", "scope": {"model": "m"}, "chat_info": chat_info}
    with requests.Session() as http:
        assert http.post(f"{address}/modelcache", json=body, timeout=60).json()["writeStatus"] == "success"
        assert http.post(f"{address}/modelcache", json=ask("q"), timeout=60).json()["answer"] == "a"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
