"""Real servers, started by the test session on free ports with data folders of their own."""

import contextlib
import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Server = TypeVar("Server")
LISTENED_PORTS = (10_000, 32_000)

ABSENT: dict[str, str] = {}
"""Servers that could not be had, and why: told at the end of the session."""
TOLD: list[str] = []
"""What tests counted: told at the end of the session too."""


class ServerAbsentError(Exception):
    """The server is not installed and cannot be had; one that is there and broken raises otherwise."""


def start_or_skip(name: str, start: Callable[[Path], Server], folder: Path) -> Server:
    """Start a server in a folder; skip the tests that need it where it cannot be had, but in CI fail."""
    try:
        return start(folder)
    except ServerAbsentError as exc:
        ABSENT[name] = str(exc)
        if os.environ.get("CI"):
            pytest.fail(f"{name}: {exc}")
        pytest.skip(f"{name}: {exc}")


def freeze(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process where it stands, and return when it does; the kernel still accepts connections.

    The signal alone is no guarantee: on a busy machine its threads answered for a while.
    """
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def free_port() -> int:
    """Return a port that nobody listens on at the moment.

    It is below those that systems give to outgoing connections: one of these would take it before the
    server does, once in a while.
    """
    while True:
        port = random.randrange(*LISTENED_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
