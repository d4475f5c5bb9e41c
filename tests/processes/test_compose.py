"""The compose file of the gateway: its shape, and that the service starts and answers with what it sets."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from compose_spec import PyCompose

from tests.support.gateway_client import CHAT, chat_body, headers_of
from tests.support.running import ROOT, RunningService
from tests.support.upstream import Upstream

pytestmark = pytest.mark.packages

FILE = ROOT / "deploy" / "compose-gateway.yaml"
DEFAULT = re.compile(r"\$\{\w+:-(.*)\}")


@pytest.fixture(scope="module")
def compose() -> PyCompose:
    return PyCompose.from_yaml(FILE.read_text(encoding="utf-8"))


def test_it_is_a_compose_file_whose_parts_are_there(compose: PyCompose) -> None:
    compose.validate()
    assert set(compose.service_names()) == {"modelcache", "ollama"}
    document = compose.to_dict()
    services, service = document["services"], document["services"]["modelcache"]
    assert set(service["depends_on"]) < set(services)
    mounted = {volume.partition(":")[0] for one in services.values() for volume in one["volumes"]}
    assert mounted == set(document["volumes"])
    context = FILE.parent / service["build"]["context"]
    assert (context / service["build"]["dockerfile"]).is_file()
    # Whoever may reach it needs no key.
    assert service["ports"] == ["127.0.0.1:5000:5000"]


def test_the_service_answers_as_it_is_set_there(compose: PyCompose, tmp_path: Path) -> None:
    service = compose.to_dict()["services"]["modelcache"]
    environ = {name: DEFAULT.sub(r"\1", str(value)) for name, value in service["environment"].items()}
    assert environ["MODELCACHE_UPSTREAM_URL"] == "http://ollama:11434/v1"
    with Upstream() as upstream:
        here = {
            "MODELCACHE_UPSTREAM_URL": upstream.url,
            "MODELCACHE_PORT": "0",
            "MODELCACHE_DATA_DIR": str(tmp_path),
            "MODELCACHE_LOOKUP_DEADLINE_MS": "5000",
        }
        program, *arguments = service["command"]
        running = RunningService(tmp_path, "-m", program, *arguments, **environ | here).wait_ready()
        url = re.sub(r"0\.0\.0\.0", "127.0.0.1", running.url)
        seen = [
            requests.post(url + CHAT, json=chat_body("How do I log in?"), headers=headers_of(), timeout=60)
            for _ in range(2)
        ]
        kind, python, *check = service["healthcheck"]["test"]
        assert (kind, python) == ("CMD", "python")
        command = [sys.executable, *(one.replace("http://127.0.0.1:5000", url) for one in check)]
        subprocess.run(command, check=True, timeout=60)
        assert running.terminate() == 0
    assert [reply.headers["x-modelcache"] for reply in seen] == ["miss", "hit"]
    assert len(upstream.calls) == 1
