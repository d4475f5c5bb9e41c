"""A service in a process of its own, for what only a real process can show."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import requests

from modelcache.testing.waiting import SECONDS, wait_until
from tests.support.client import Json, user

ROOT = Path(__file__).parents[2]
LISTENS = "modelcache listens on "


def all_at_once(*works: Callable[[], object]) -> list[object]:
    """Run these in threads of their own; returns what each returned or raised."""
    results: list[object] = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = works[number]()
        except Exception as exc:  # noqa: BLE001 - told by the test
            results[number] = exc

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class RunningService:
    """Starts ``python ARGUMENTS`` and speaks to it over HTTP; the port is a free one."""

    def __init__(self, data_dir: Path, *arguments: str, **environ: str) -> None:
        self._meet(self.started(data_dir, *(arguments or ("-m", "tests.support.serve_hash")), **environ))

    @classmethod
    def of(cls, process: "subprocess.Popen[str]") -> "RunningService":
        """Speak to a process that was started otherwise."""
        service = cls.__new__(cls)
        service._meet(process)
        return service

    def _meet(self, process: "subprocess.Popen[str]") -> None:
        """Read where the process listens."""
        self.process = process
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(LISTENS):
            raise AssertionError(f"the service did not start: {self.process.communicate()}")
        self.url = line.removeprefix(LISTENS).strip()
        self.http = requests.Session()

    @staticmethod
    def started(data_dir: Path, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        """Start the process; what it says is left to the caller."""
        own = {"MODELCACHE_PORT": "0", "MODELCACHE_DATA_DIR": str(data_dir), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **own, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> "RunningService":
        """Return when /ready says so."""
        wait_until(lambda: self.http.get(f"{self.url}/ready").status_code == 200, "being ready")
        return self

    def post(self, body: Any) -> Json:
        reply: Json = self.http.post(f"{self.url}/modelcache", json=body).json()
        return reply

    def query(self, text: str, model: str = "m") -> Json:
        return self.post({"type": "query", "scope": {"model": model}, "query": user(text)})

    def insert(self, pairs: Sequence[tuple[str, str]], model: str = "m") -> Json:
        chat_info = [{"query": user(question), "answer": answer} for question, answer in pairs]
        return self.post({"type": "insert", "scope": {"model": model}, "chat_info": chat_info})

    def remove(self, remove_type: str, model: str = "m", **more: Any) -> Json:
        return self.post({"type": "remove", "scope": {"model": model}, "remove_type": remove_type} | more)

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        """Ask the process to stop, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and release what belongs to the process."""
        self.process.communicate(timeout=SECONDS)
        self.http.close()
        return self.process.returncode
