"""The LangChain cache passes LangChain's own tests, in an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.environments import python_with
from tests.support.running import ROOT, RunningService

pytestmark = pytest.mark.network

SUITE = "tests/support/hooks/langchain_suite.py"
SECONDS = 600


def test_langchains_own_tests_pass(tmp_path: Path) -> None:
    python = python_with("langchain")
    service = RunningService(tmp_path / "data").wait_ready()
    options = ["-q", "--noconftest", "-o", "asyncio_mode=auto", "-o", "addopts=", "-o", "filterwarnings="]
    run = subprocess.run(
        [python, "-m", "pytest", *options, SUITE],
        cwd=ROOT,
        env=os.environ | {"MODELCACHE_URL": service.url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert service.terminate() == 0
    assert run.returncode == 0, run.stdout
