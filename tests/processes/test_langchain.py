"""The LangChain cache passes LangChain's own tests, in an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import ROOT, RunningService

pytestmark = pytest.mark.network

SUITE = "tests/support/hooks/langchain_suite.py"
SECONDS = 600


def test_langchains_own_tests_pass(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=SECONDS)
    python = str(venv / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "-r", str(ROOT / "requirements-langchain.txt")]
    subprocess.run(install, check=True, timeout=SECONDS)
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
