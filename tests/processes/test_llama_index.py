"""LlamaIndex, unmodified, through the gateway; it runs in an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from modelcache.testing.hash_embedder import NEAR
from tests.support.environments import python_with
from tests.support.running import ROOT, RunningService
from tests.support.upstream import Upstream

pytestmark = pytest.mark.network

EXAMPLE = ROOT / "examples" / "llamaindex.py"
QUESTION = "How do I reset my password?"


def test_other_words_are_answered_without_the_server_behind(tmp_path: Path) -> None:
    python = python_with("llama-index")
    with Upstream() as upstream:
        environ = {"MODELCACHE_UPSTREAM_URL": upstream.url, "MODELCACHE_LOOKUP_DEADLINE_MS": "5000"}
        service = RunningService(tmp_path, **environ).wait_ready()
        own = {"MODELCACHE_GATEWAY": f"{service.url}/v1", "OPENAI_API_KEY": "sk-one"}
        for question in (QUESTION, QUESTION + NEAR):
            done = subprocess.run(
                [python, str(EXAMPLE), question],
                env=os.environ | own,
                check=True,
                capture_output=True,
                text=True,
            )
            assert done.stdout.splitlines() == [f"You asked: {QUESTION}"] * 2
        assert service.terminate() == 0
    assert [call.json["messages"][-1]["content"] for call in upstream.calls] == [QUESTION]
