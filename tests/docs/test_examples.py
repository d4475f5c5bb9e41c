"""Every example runs, and is what the pages show."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import ROOT, RunningService
from tests.support.upstream import Upstream

pytestmark = pytest.mark.packages

EXAMPLES = sorted((ROOT / "examples").iterdir())
ANSWER = "You asked: How do I reset my password?"
PAGES = ("docs/gateway.md", "docs/zh/gateway.md")


@pytest.fixture
def service(tmp_path: Path, upstream: Upstream) -> Iterator[RunningService]:
    environ = {"MODELCACHE_UPSTREAM_URL": upstream.url, "MODELCACHE_LOOKUP_DEADLINE_MS": "5000"}
    service = RunningService(tmp_path, **environ).wait_ready()
    yield service
    assert service.terminate() == 0


def output_of(example: Path, service: RunningService, upstream: Upstream, cwd: Path) -> list[str]:
    """Run an example and return the lines it writes."""
    own = {
        "MODELCACHE_URL": service.url,
        "MODELCACHE_GATEWAY": f"{service.url}/v1",
        "OPENAI_API_KEY": "sk-one",
        "OPENAI_BASE_URL": upstream.url,
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, str(example)] if example.suffix == ".py" else ["bash", str(example)]
    done = subprocess.run(command, cwd=cwd, env=os.environ | own, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


EXPECTED = {
    "client.py": ["False ", "True Open Settings and choose Reset password."],
    "gateway_async.py": [ANSWER, ANSWER],
    "gateway_openai.py": [ANSWER, ANSWER, "hit"],
    "wrap.py": [ANSWER, ANSWER],
}
# They need packages that stand in environments of their own.
ELSEWHERE = {
    "litellm.yaml": "test_litellm.py",
    "litellm_cache.py": "test_litellm.py",
    "llamaindex.py": "test_llama_index.py",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_in_python_runs(
    name: str, service: RunningService, upstream: Upstream, tmp_path: Path
) -> None:
    example = ROOT / "examples" / name
    lines = output_of(example, service, upstream, tmp_path)
    if name != "gateway_openai.py":
        lines += output_of(example, service, upstream, tmp_path)
    assert lines == EXPECTED[name]
    asked = [call for call in upstream.calls if call.path.endswith("/chat/completions")]
    assert len(asked) == (0 if name == "client.py" else 1)


def test_the_example_in_bash_runs(service: RunningService, upstream: Upstream, tmp_path: Path) -> None:
    lines = output_of(ROOT / "examples" / "gateway_curl.sh", service, upstream, tmp_path)
    assert "x-modelcache: miss" in "\n".join(lines)
    assert '"status":"recorded"' in lines[-1]


def test_every_example_is_run_here_or_elsewhere() -> None:
    assert {path.name for path in EXAMPLES} == {*EXPECTED, *ELSEWHERE, "gateway_curl.sh"}
    for example, test in ELSEWHERE.items():
        assert example in (ROOT / "tests" / "processes" / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_page_names_every_example(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES if f"examples/{path.name})" not in text] == []
