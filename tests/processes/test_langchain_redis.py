"""LangCache's class for LangChain, unmodified, in an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.environments import python_with
from tests.support.running import ROOT, RunningService

pytestmark = pytest.mark.network

SUITE = "tests/support/hooks/langchain_redis_suite.py"


def test_langchains_own_tests_pass(tmp_path: Path) -> None:
    python = python_with("langchain-redis")
    service = RunningService(tmp_path, MODELCACHE_LANGCACHE="true").wait_ready()
    options = ["-q", "--noconftest", "-o", "asyncio_mode=auto", "-o", "addopts=", "-o", "filterwarnings="]
    run = subprocess.run(
        [python, "-m", "pytest", *options, SUITE],
        cwd=ROOT,
        env=os.environ | {"MODELCACHE_URL": service.url},
        capture_output=True,
        text=True,
    )
    assert service.terminate() == 0
    assert run.returncode == 0, run.stdout
