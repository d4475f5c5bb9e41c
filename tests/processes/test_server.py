"""Starting, draining and stopping, as a process manager sees it."""

import json
import signal
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from modelcache.testing.waiting import wait_until
from tests.support.running import RunningService

pytestmark = pytest.mark.process

SLOW = "tests.support.serve_slow"


def test_sigterm_answers_what_is_in_flight_and_exits_0(tmp_path: Path) -> None:
    service = RunningService(tmp_path, "-m", SLOW, MODELCACHE_THREADS="2").wait_ready()
    # More requests than threads: some are still queued when the signal comes.
    connections = [send(service, ask("slow")) for _ in range(6)]
    wait_until((tmp_path / "embedding").exists, "the first embedding")
    assert service.terminate() == 0
    for connection in connections:
        reply = received(connection)
        assert reply.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in reply.lower()
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["errorCode"] == 0


def test_sigterm_writes_the_queued_log_lines_and_hit_counts(tmp_path: Path) -> None:
    service = RunningService(tmp_path).wait_ready()
    service.insert([("q", "a")])
    for _ in range(20):
        assert service.query("q")["cacheHit"]
    assert service.terminate() == 0
    connection = sqlite3.connect(tmp_path / "modelcache.db")
    assert connection.execute("SELECT COUNT(*) FROM modelcache_query_log").fetchone() == (20,)
    assert connection.execute("SELECT hit_count FROM modelcache_llm_answer").fetchone() == (20,)
    connection.close()


def test_a_large_reply_is_sent_whole_while_draining(tmp_path: Path) -> None:
    service = RunningService(tmp_path).wait_ready()
    answer = "x" * 900_000
    service.insert([("q", answer)])
    connection = send(service, ask("q"), receive_buffer=4096)
    start = connection.recv(100)
    service.process.send_signal(signal.SIGTERM)
    assert answer.encode() in start + received(connection)
    assert service.wait() == 0


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    service = RunningService(tmp_path).wait_ready()
    with socket.create_connection(address(service)) as idle:
        assert service.terminate() == 0
        assert idle.recv(1) == b""


def test_requests_get_503_until_the_service_is_open(tmp_path: Path) -> None:
    service = RunningService(tmp_path, "-m", SLOW, "opening")
    for path in ("health", "welcome"):
        assert requests.get(f"{service.url}/{path}").status_code == 200
    assert requests.get(f"{service.url}/ready").status_code == 503
    reply = requests.post(f"{service.url}/modelcache", json=ask("q"))
    assert (reply.status_code, reply.json()["errorCode"]) == (503, 503)
    (tmp_path / "go").touch()
    service.wait_ready()
    assert service.query("q")["errorCode"] == 0
    assert service.terminate() == 0


def test_sigint_stops_it_too(tmp_path: Path) -> None:
    service = RunningService(tmp_path).wait_ready()
    service.process.send_signal(signal.SIGINT)
    assert service.wait() == 0


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"MODELCACHE_PROT": "1"}, "unknown setting MODELCACHE_PROT"),
        ({"MODELCACHE_PORT": "many"}, "'port'"),
        ({"MODELCACHE_EMBEDDER": "word2vec"}, "unknown embedder 'word2vec'"),
        ({"MODELCACHE_EVALUATION": "guess"}, "unknown evaluation 'guess'"),
        ({"MODELCACHE_EMBEDDER": "remote", "MODELCACHE_REMOTE_MODEL": "m"}, "remote_url"),
        ({"MODELCACHE_HOST": "256.0.0.1", "MODELCACHE_ALLOW_ANONYMOUS": "true"}, "cannot listen"),
        ({"MODELCACHE_DATA_DIR": "/proc/no/such/folder"}, "/proc/no/such/folder"),
    ],
)
def test_what_cannot_start_says_why_in_a_sentence(
    environ: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    status, errors = start_in_vain(tmp_path, environ)
    assert status == 1
    [last] = [line for line in errors.splitlines() if line.startswith("modelcache cannot start: ")]
    assert sentence.lower() in last.lower()
    assert "Traceback" not in errors


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, errors = start_in_vain(tmp_path, {"MODELCACHE_PORT": str(taken.getsockname()[1])})
    assert status == 1
    assert "cannot listen on http://127.0.0.1" in errors


def test_a_second_service_on_the_same_data_is_refused(tmp_path: Path) -> None:
    service = RunningService(tmp_path).wait_ready()
    status, errors = start_in_vain(tmp_path, {})
    assert status == 1
    assert "another service is using" in errors
    assert service.terminate() == 0


def test_many_connections_at_once_are_served(tmp_path: Path) -> None:
    service = RunningService(tmp_path).wait_ready()
    service.insert([("q", "a")])
    barrier = threading.Barrier(40)

    def hit(_: int) -> bool:
        barrier.wait()
        with requests.Session() as http:
            return bool(http.post(f"{service.url}/modelcache", json=ask("q")).json()["cacheHit"])

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(hit, range(40)))
    assert service.terminate() == 0


def ask(text: str) -> dict[str, object]:
    return {"type": "query", "scope": {"model": "m"}, "query": [{"role": "user", "content": text}]}


def address(service: RunningService) -> tuple[str, int]:
    host, port = service.url.removeprefix("http://").split(":")
    return host, int(port)


def send(service: RunningService, body: object, receive_buffer: int = 65536) -> socket.socket:
    """Send a request on a connection of its own, and do not read the reply."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(address(service))
    data = json.dumps(body).encode()
    head = f"POST /modelcache HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection


def received(connection: socket.socket) -> bytes:
    """Read to the end of the connection, and close it."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def start_in_vain(data_dir: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Start the demo, which must end by itself; return its status and what it wrote to stderr."""
    service = RunningService.started(data_dir, "flask4modelcache_demo.py", **environ)
    _, errors = service.communicate(timeout=60)
    return service.returncode, errors
