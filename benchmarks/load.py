"""An HTTP client that costs little, so that what is measured is the server.

All connections are kept alive and served by one thread; a request is sent as bytes made beforehand.
"""

import json
import selectors
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

RECEIVED_BYTES = 65_536
SILENT_SECONDS = 120.0
END_OF_HEADERS = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of requests took."""

    seconds: float
    latencies: NDArray[np.float64]
    """Of each request, in milliseconds."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    @property
    def p50(self) -> float:
        """Median latency, in milliseconds."""
        return float(np.median(self.latencies))

    @property
    def p95(self) -> float:
        """95th percentile of the latencies, in milliseconds."""
        return float(np.quantile(self.latencies, 0.95))


def request_bytes(body: Any, path: str = "/modelcache", headers: Mapping[str, str] | None = None) -> bytes:
    """Return the POST request that carries this JSON body."""
    data = json.dumps(body, ensure_ascii=False).encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{more}"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def drive(url: str, requests: Sequence[bytes], clients: int, expected: bytes) -> Load:
    """Send all requests over so many connections; every reply must contain ``expected``."""
    where = urlsplit(url)
    todo = iter(requests)
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        connections = [_Connection(str(where.hostname), int(where.port or 80)) for _ in range(clients)]
        started = perf_counter()
        waiting = sum(_start_next(connection, todo, selector) for connection in connections)
        while waiting:
            ready = selector.select(SILENT_SECONDS)
            if not ready:
                raise TimeoutError(f"no reply within {SILENT_SECONDS} s")
            for key, _ in ready:
                connection: _Connection = key.data
                reply = connection.receive()
                if reply is None:
                    continue
                latencies.append(1000 * (perf_counter() - connection.sent_at))
                if expected not in reply:
                    raise AssertionError(f"a reply lacks {expected!r}: {reply!r}")
                selector.unregister(connection.socket)
                waiting -= 1
                waiting += _start_next(connection, todo, selector)
        seconds = perf_counter() - started
    for connection in connections:
        connection.socket.close()
    return Load(seconds, np.array(latencies))


def _start_next(connection: "_Connection", todo: Iterator[bytes], selector: selectors.BaseSelector) -> bool:
    request = next(todo, None)
    if request is None:
        return False
    connection.send(request)
    selector.register(connection.socket, selectors.EVENT_READ, connection)
    return True


class _Connection:
    """One connection, with at most one request on its way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self._received = bytearray()

    def send(self, request: bytes) -> None:
        self._received.clear()
        self.sent_at = perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Take what has come, and return the reply's body when it is whole."""
        data = self.socket.recv(RECEIVED_BYTES)
        if not data:
            raise ConnectionError(f"the server closed the connection after {bytes(self._received)!r}")
        self._received += data
        end = self._received.find(END_OF_HEADERS)
        if end < 0:
            return None
        head = bytes(self._received[:end]).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = end + len(END_OF_HEADERS)
        return bytes(self._received[body:]) if len(self._received) >= body + length else None
