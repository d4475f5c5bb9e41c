"""The LiteLLM cache in LiteLLM's own proxy, which runs in an environment of its own."""

import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from openai import APIError, OpenAI

from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.support.environments import python_with
from tests.support.running import ROOT, RunningService
from tests.support.upstream import USAGE, Script, Upstream

pytestmark = pytest.mark.network

EXAMPLES = ROOT / "examples"
START_SECONDS = 300
MODEL = "gpt-4o-mini"
TOOL_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def service(data_dir: Path) -> Iterator[RunningService]:
    service = RunningService(data_dir).wait_ready()
    yield service
    if service.process.poll() is None:
        assert service.terminate() == 0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def environ_of(service: RunningService, upstream: Upstream) -> dict[str, str]:
    return os.environ | {
        "MODELCACHE_URL": service.url,
        "OPENAI_BASE_URL": upstream.url,
        "OPENAI_API_KEY": "sk-upstream",
        "PYTHONPATH": str(ROOT),
        # Nothing is fetched from elsewhere.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def configured(folder: Path) -> Path:
    """Copy the example, and let any key in: keys of the proxy's own want a database."""
    for name in ("examples/litellm_cache.py", "tests/support/hooks/litellm_keys.py"):
        shutil.copy(ROOT / name, folder)
    config = yaml.safe_load((EXAMPLES / "litellm.yaml").read_text(encoding="utf-8"))
    master_key = f"sk-{secrets.token_hex(32)}"
    config["general_settings"] = {"custom_auth": "litellm_keys.any_key", "master_key": master_key}
    # A server that failed once is asked again at once.
    config["router_settings"] = {"disable_cooldowns": True}
    path = folder / "litellm.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, service: RunningService, upstream: Upstream
) -> Iterator[str]:
    """LiteLLM's proxy, started as its users do; gives its address."""
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    program = Path(python_with("litellm")).with_name("litellm")
    command = [str(program), "--config", str(configured(folder)), "--host", "127.0.0.1", "--port", str(port)]
    url, log = f"http://127.0.0.1:{port}", folder / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environ_of(service, upstream), stdout=output, stderr=subprocess.STDOUT
        )

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(f"{url}/health/liveliness", timeout=5).ok
        except requests.RequestException:
            return False

    wait_until(is_up, "the proxy being up", seconds=START_SECONDS)
    yield url
    process.terminate()
    process.wait(timeout=60)
    assert "Application shutdown failed" not in log.read_text()


class Stored:
    """Reads what the service has stored, beside it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "modelcache.db"

    def answers(self, text: str) -> list[str]:
        """Return the answers to this question, one for each time that it was stored."""
        with closing(sqlite3.connect(self._path)) as database:
            rows = database.execute("SELECT question, answer FROM modelcache_llm_answer").fetchall()
        return [answer for question, answer in rows if text in question]

    def wait_for(self, text: str) -> None:
        """Return once it is there: the proxy stores after it has replied."""
        wait_until(lambda: self.answers(text) != [], f"storing {text!r}")


class Caller:
    """Asks the proxy with one key."""

    def __init__(self, proxy: str, key: str = "sk-one") -> None:
        self.client = OpenAI(base_url=f"{proxy}/v1", api_key=key, max_retries=0)

    def ask(self, text: str, **more: Any) -> Any:
        """Return the reply with its headers."""
        create = self.client.chat.completions.with_raw_response.create
        return create(model=MODEL, messages=[{"role": "user", "content": text}], **more)

    def said(self, text: str, **more: Any) -> str:
        answer: str = self.ask(text, **more).parse().choices[0].message.content
        return answer

    def streamed(self, text: str) -> str:
        stream = self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@pytest.fixture
def one(proxy: str, upstream: Upstream) -> Caller:
    upstream.calls.clear()
    upstream.script = Script()
    return Caller(proxy)


@pytest.fixture
def stored(data_dir: Path) -> Stored:
    return Stored(data_dir)


def asked(upstream: Upstream) -> list[str]:
    """Return the questions that came through to the server behind the proxy."""
    return [call.json["messages"][-1]["content"] for call in upstream.calls]


def test_other_words_are_answered_from_the_cache(one: Caller, upstream: Upstream, stored: Stored) -> None:
    first = one.ask("one").parse()
    stored.wait_for("one")
    reply = one.ask("one" + NEAR)
    hit = reply.parse()
    assert asked(upstream) == ["one"]
    assert hit.choices[0].message.content == first.choices[0].message.content == "You asked: one"
    assert hit.usage.total_tokens == first.usage.total_tokens == USAGE["total_tokens"]
    assert hit.system_fingerprint == "fp_1"
    assert 0.9 < float(reply.headers["x-litellm-semantic-similarity"]) < 1
    assert reply.headers["x-litellm-cache-key"]


def test_a_caller_with_another_key_is_not_answered(
    one: Caller, proxy: str, upstream: Upstream, stored: Stored
) -> None:
    one.said("two")
    stored.wait_for("two")
    Caller(proxy, "sk-two").said("two")
    assert asked(upstream) == ["two", "two"]


def test_a_stream_is_stored_once_and_answers_both_forms(
    one: Caller, upstream: Upstream, stored: Stored
) -> None:
    assert one.streamed("three") == "You asked: three"
    stored.wait_for("three")
    assert one.streamed("three" + NEAR) == one.said("three") == "You asked: three"
    assert asked(upstream) == ["three"]
    assert stored.answers("three") == ["You asked: three"]


def test_what_changes_the_answer_must_be_equal(one: Caller, upstream: Upstream, stored: Stored) -> None:
    one.said("four", temperature=0.5)
    stored.wait_for("four")
    one.said("four", temperature=0.5, user="somebody", timeout=50)
    assert len(asked(upstream)) == 1
    one.said("four", temperature=0.6)
    one.said("four", temperature=0.5, extra_body={"top_k": 3})
    assert len(asked(upstream)) == 3


def test_litellms_controls_are_respected(one: Caller, upstream: Upstream, stored: Stored) -> None:
    def wish(**fields: Any) -> dict[str, Any]:
        return {"cache": {name.replace("_", "-"): value for name, value in fields.items()}}

    one.said("unstored", extra_body=wish(no_store=True))
    one.said("five", extra_body=wish(namespace="n"))
    stored.wait_for("five")
    assert stored.answers("unstored") == []
    one.said("five", extra_body=wish(namespace="n"))
    assert asked(upstream) == ["unstored", "five"]
    one.said("five", extra_body=wish(namespace="other"))
    one.said("five", extra_body=wish(namespace="n", no_cache=True))
    assert len(asked(upstream)) == 4
    one.said("brief", extra_body=wish(ttl=0.001))
    stored.wait_for("brief")
    one.said("brief")
    assert asked(upstream)[-2:] == ["brief", "brief"]


@pytest.mark.parametrize(
    ("text", "script", "stream"),
    [
        ("length", Script(finish_reason="length"), False),
        ("filtered", Script(finish_reason="content_filter"), True),
        (
            "tool",
            Script(finish_reason="tool_calls", message={"tool_calls": [TOOL_CALL], "content": None}),
            False,
        ),
        ("empty", Script(text=lambda body: " "), False),
        ("cut", Script(fault="cut"), True),
    ],
    ids=["length", "filtered", "tool", "empty", "cut"],
)
def test_what_must_not_be_kept_is_not(
    one: Caller, upstream: Upstream, stored: Stored, text: str, script: Script, stream: bool
) -> None:
    upstream.script = script
    try:
        one.streamed(text) if stream else one.ask(text)
    except APIError:
        assert script.fault == "cut"
    upstream.script = Script()
    # Another is kept later, so that this one would be there by now.
    one.said(f"after {text}")
    stored.wait_for(f"after {text}")
    assert stored.answers(text) == stored.answers(f"after {text}")


@pytest.mark.parametrize(
    ("tenant", "is_shared"), [("", True), ("user_api_key", False)], ids=["all", "nobody"]
)
def test_without_a_proxy_awaited_calls_are_cached_where_all_share(
    service: RunningService, upstream: Upstream, stored: Stored, tenant: str, is_shared: bool
) -> None:
    upstream.calls.clear()
    upstream.script = Script()
    text = f"awaited by {tenant or 'all'}"
    process = subprocess.Popen(
        [python_with("litellm"), "-m", "tests.support.hooks.litellm_awaited", tenant],
        cwd=ROOT,
        env=environ_of(service, upstream),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def said(question: str) -> str:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{question}\n")
        process.stdin.flush()
        # LiteLLM writes lines of its own.
        return next(line for line in process.stdout if line.startswith("You asked: ")).strip()

    assert said(text) == f"You asked: {text}"
    if is_shared:
        stored.wait_for(text)
    assert said(text + NEAR) == f"You asked: {text if is_shared else text + NEAR}"
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert asked(upstream) == ([text] if is_shared else [text, text + NEAR])


def test_a_cache_that_is_gone_is_a_miss(one: Caller, upstream: Upstream, service: RunningService) -> None:
    """The last one: it ends the service."""
    assert service.terminate() == 0
    assert one.said("six") == one.said("six") == one.streamed("six") == "You asked: six"
    assert len(asked(upstream)) == 3
