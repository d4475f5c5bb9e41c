"""OpenAI's client with the cache in front, without a gateway."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from modelcache.client import AsyncClient, Client, wrap
from modelcache.testing.hash_embedder import NEAR
from tests.support.running import RunningService
from tests.support.upstream import Script, Upstream

pytestmark = pytest.mark.packages


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    service = RunningService(tmp_path_factory.mktemp("data")).wait_ready()
    yield service
    assert service.terminate() == 0


@pytest.fixture
def client(service: RunningService, upstream: Upstream) -> Iterator[Any]:
    with Client(service.url, timeout=30) as cache, OpenAI(base_url=upstream.url, api_key="k") as client:
        cache.remove("m")
        yield wrap(client, cache)


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_calls_are_answered_from_the_cache(client: Any, upstream: Upstream) -> None:
    texts = [
        client.chat.completions.create(model="m", messages=said(text)).choices[0].message.content
        for text in ("q", "q", "q" + NEAR)
    ]
    assert texts == ["You asked: q"] * 3
    assert len(upstream.calls) == 1
    client.chat.completions.create(model="m", messages=said("q"), temperature=0.5)
    assert len(upstream.calls) == 2
    assert client.models.with_raw_response.list().status_code == 200


def test_streams_are_kept_and_replayed(client: Any, upstream: Upstream) -> None:
    for _ in range(2):
        stream = client.chat.completions.create(model="m", messages=said("s"), stream=True)
        parts = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(parts) == "You asked: s"
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_whole_is_not_kept(client: Any, upstream: Upstream, stream: bool) -> None:
    upstream.script = Script(finish_reason="length")
    for _ in range(2):
        reply = client.chat.completions.create(model="m", messages=said("l"), stream=stream)
        if stream:
            list(reply)
    assert len(upstream.calls) == 2


def test_a_cache_that_is_gone_breaks_nothing(upstream: Upstream) -> None:
    with Client("http://127.0.0.1:9", timeout=1, retries=0) as cache:
        client = wrap(OpenAI(base_url=upstream.url, api_key="k"), cache)
        reply = client.chat.completions.create(model="m", messages=said("q"))
        assert reply.choices[0].message.content == "You asked: q"
        client.close()


def test_the_client_that_awaits(service: RunningService, upstream: Upstream) -> None:
    async def talk() -> list[str]:
        async with (
            AsyncClient(service.url, timeout=30) as cache,
            AsyncOpenAI(base_url=upstream.url, api_key="k") as openai,
        ):
            client = wrap(openai, cache, {"tenant": "awaited"})
            texts = []
            for _ in range(2):
                reply = await client.chat.completions.create(model="m", messages=said("q"))
                stream = await client.chat.completions.create(model="m", messages=said("s"), stream=True)
                parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
                texts += [reply.choices[0].message.content, "".join(parts)]
            return texts

    assert asyncio.run(talk()) == ["You asked: q", "You asked: s"] * 2
    assert len(upstream.calls) == 2
