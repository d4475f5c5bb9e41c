"""OpenAI's own client, unmodified but for its base_url, through the gateway."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.support.running import RunningService
from tests.support.upstream import USAGE, Script, Upstream

pytestmark = pytest.mark.packages

NEAR = " (again)"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[RunningService]:
    environ = {"MODELCACHE_UPSTREAM_URL": upstream.url, "MODELCACHE_LOOKUP_DEADLINE_MS": "5000"}
    service = RunningService(tmp_path_factory.mktemp("data"), **environ).wait_ready()
    yield service
    assert service.terminate() == 0


@pytest.fixture
def client(service: RunningService, upstream: Upstream) -> Iterator[OpenAI]:
    upstream.calls.clear()
    upstream.script = Script()
    with OpenAI(base_url=f"{service.url}/v1", api_key="sk-one", max_retries=0) as client:
        yield client


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_completion_and_its_hit(client: OpenAI, upstream: Upstream) -> None:
    first = client.chat.completions.create(model="m", messages=said("one"))
    again = client.chat.completions.create(model="m", messages=said("one" + NEAR))
    assert len(upstream.calls) == 1
    assert first.choices == again.choices
    assert first.usage == again.usage
    assert again.usage
    assert again.usage.total_tokens == USAGE["total_tokens"]
    assert first.id != again.id


def test_a_stream_and_its_hit(client: OpenAI, upstream: Upstream) -> None:
    texts, usages = [], []
    for text in ("two", "two", "two" + NEAR):
        stream = client.chat.completions.create(
            model="m", messages=said(text), stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        texts.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
        usages.append(chunks[-1].usage)
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
        assert stream.response.headers["x-modelcache"] == ("miss" if len(texts) == 1 else "hit")
    assert len(upstream.calls) == 1
    assert texts == ["You asked: two"] * 3
    assert usages[0] == usages[1] == usages[2]


def test_an_entry_of_a_stream_answers_without_streaming(client: OpenAI, upstream: Upstream) -> None:
    list(client.chat.completions.create(model="m", messages=said("three"), stream=True))
    reply = client.chat.completions.create(model="m", messages=said("three"))
    assert len(upstream.calls) == 1
    assert reply.choices[0].message.content == "You asked: three"
    assert reply.usage
    assert reply.usage.total_tokens == 0


def test_a_response_and_its_hits(client: OpenAI, upstream: Upstream) -> None:
    first = client.responses.create(model="m", input="nine", instructions="be short")
    again = client.responses.create(model="m", input="nine" + NEAR, instructions="be short")
    with client.responses.stream(model="m", input="nine", instructions="be short") as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        whole = stream.get_final_response()
    assert len(upstream.calls) == 1
    assert first.output_text == again.output_text == said == whole.output_text == "You asked: nine"
    assert first.usage == again.usage == whole.usage


def test_a_streamed_response_that_fails_raises(client: OpenAI, upstream: Upstream) -> None:
    upstream.script = Script(fault="cut")
    with pytest.raises(openai.APIError):
        list(client.responses.create(model="m", input="ten", stream=True))
    upstream.script = Script()
    list(client.responses.create(model="m", input="ten", stream=True))
    assert client.responses.create(model="m", input="ten").output_text == "You asked: ten"
    assert len(upstream.calls) == 2


def test_headers_and_wishes(client: OpenAI, upstream: Upstream) -> None:
    create = client.chat.completions.with_raw_response.create
    create(model="m", messages=said("four"))
    hit = create(model="m", messages=said("four"), extra_headers={"x-modelcache-mode": "exact"})
    assert hit.headers["cache-status"] == "modelcache; hit; detail=exact"
    anew = create(model="m", messages=said("four"), extra_body={"cache": {"no-cache": True}})
    assert anew.headers["x-modelcache"] == "miss"
    assert "cache" not in upstream.calls[-1].json
    assert anew.parse().choices[0].message.content == "You asked: four"


def test_errors_are_the_clients_own(client: OpenAI, upstream: Upstream) -> None:
    upstream.script = Script(status=401)
    with pytest.raises(openai.AuthenticationError, match="no"):
        client.chat.completions.create(model="m", messages=said("five"))
    upstream.script = Script(status=429, headers={"retry-after": "3"})
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="m", messages=said("five"))
    assert caught.value.response.headers["retry-after"] == "3"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="m", messages=said("five"), extra_headers={"x-modelcache-ttl": "-1"}
        )
    assert refused.value.param == "x-modelcache-ttl"


@pytest.mark.parametrize("fault", ["cut", "error"])
def test_a_stream_that_fails_raises_and_is_not_kept(client: OpenAI, upstream: Upstream, fault: str) -> None:
    upstream.script = Script(fault=fault)
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="m", messages=said(f"six {fault}"), stream=True))
    upstream.script = Script()
    reply = client.chat.completions.create(model="m", messages=said(f"six {fault}"))
    assert reply.choices[0].message.content == f"You asked: six {fault}"


def test_tool_calls_go_through_and_are_not_kept(client: OpenAI, upstream: Upstream) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    upstream.script = Script(finish_reason="tool_calls", message={"tool_calls": [call], "content": None})
    for _ in range(2):
        reply = client.chat.completions.create(model="m", messages=said("seven"))
        assert reply.choices[0].message.tool_calls
    assert len(upstream.calls) == 2


def test_the_client_that_awaits(service: RunningService, upstream: Upstream) -> None:
    upstream.script = Script()
    upstream.calls.clear()

    async def talk() -> list[str]:
        async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="sk-one") as client:
            first = await client.chat.completions.create(model="m", messages=said("eight"))
            stream = await client.chat.completions.create(model="m", messages=said("eight"), stream=True)
            parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return [first.choices[0].message.content or "", "".join(parts)]

    assert asyncio.run(talk()) == ["You asked: eight"] * 2
    assert len(upstream.calls) == 1


def test_other_calls_go_through(client: OpenAI, upstream: Upstream) -> None:
    assert client.models.with_raw_response.list().headers["content-type"] == "application/json"
    assert upstream.calls[0].path == "/v1/models"
