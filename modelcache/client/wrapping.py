"""OpenAI's client with the cache in front, for those who cannot change its ``base_url``."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from time import time
from typing import Any
from uuid import uuid4

from modelcache.client.bodies import Scope
from modelcache.client.calls import AsyncClient, Client
from modelcache.client.chats import STOP, Asked, read_asked, text_to_keep


def wrap(client: Any, cache: Client | AsyncClient, scope: Scope | None = None) -> Any:
    """Return what is used like this ``OpenAI`` or ``AsyncOpenAI``, and asks the cache first.

    Only ``chat.completions.create`` does: the cache answers with the text that was stored, and stores
    whole answers that are text alone. An ``AsyncOpenAI`` takes an ``AsyncClient``, an ``OpenAI`` a
    ``Client``. ``scope`` says who may share answers, for example {"tenant": "acme"}.
    """
    return _Chain(client, ("chat", "completions", "create"), _Creating(cache, dict(scope or {})))


class _Chain:
    """Passes attributes through to the end of a path, where one is put in place of the other's."""

    def __init__(self, inner: Any, path: tuple[str, ...], creating: "_Creating") -> None:
        self._inner = inner
        self._path = path
        self._creating = creating

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name != self._path[0]:
            return attribute
        if len(self._path) > 1:
            return _Chain(attribute, self._path[1:], self._creating)
        return self._creating.in_place_of(attribute)


class _Creating:
    """Stands in place of ``create``."""

    def __init__(self, cache: Client | AsyncClient, scope: Mapping[str, Any]) -> None:
        self._cache = cache
        self._scope = scope

    def in_place_of(self, create: Any) -> Any:
        cache = self._cache

        def answered(**asked: Any) -> Any:
            assert isinstance(cache, Client)
            key = read_asked(asked, self._scope)
            if key is None:
                return create(**asked)
            answer = cache.query(key.messages, key.model, key.scope)
            if answer.hit:
                return iter(_chunks(key, answer.text)) if asked.get("stream") else _whole(key, answer.text)
            key = replace(key, asked_at=answer.asked_at)
            reply = create(**asked)
            if asked.get("stream"):
                return _Tee(reply, key, cache)
            if text := _text_of(reply):
                cache.insert([(key.messages, text)], key.model, key.scope, asked_at=key.asked_at)
            return reply

        async def awaited(**asked: Any) -> Any:
            assert isinstance(cache, AsyncClient)
            key = read_asked(asked, self._scope)
            if key is None:
                return await create(**asked)
            answer = await cache.query(key.messages, key.model, key.scope)
            if answer.hit:
                return _later(_chunks(key, answer.text)) if asked.get("stream") else _whole(key, answer.text)
            key = replace(key, asked_at=answer.asked_at)
            reply = await create(**asked)
            if asked.get("stream"):
                return _AsyncTee(reply, key, cache)
            if text := _text_of(reply):
                await cache.insert([(key.messages, text)], key.model, key.scope, asked_at=key.asked_at)
            return reply

        return awaited if isinstance(cache, AsyncClient) else answered


def _text_of(completion: Any) -> str:
    """Return the text of an answer that may be kept, "" of any other."""
    choices: list[Any] = getattr(completion, "choices", None) or []
    if len(choices) != 1:
        return ""
    return text_to_keep(choices[0].finish_reason, choices[0].message.model_dump(warnings=False))


class _Collected:
    """The text of a stream, and whether all of it has come."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.is_whole = False
        self.is_plain = True

    def add(self, chunk: Any) -> None:
        for choice in chunk.choices:
            delta = choice.delta
            if choice.index or delta.tool_calls or getattr(delta, "refusal", None):
                self.is_plain = False
            self.parts.append(delta.content or "")
            self.is_whole = self.is_whole or choice.finish_reason == STOP

    @property
    def text(self) -> str:
        """What may be kept, "" for nothing."""
        return "".join(self.parts) if self.is_whole and self.is_plain else ""


class _Tee:
    """A stream that is kept once it is whole; everything else is the stream's own."""

    def __init__(self, stream: Any, asked: Asked, cache: Client) -> None:
        self._stream, self._asked, self._cache = stream, asked, cache
        self._chunks = self._read()

    def __iter__(self) -> Iterator[Any]:
        return self._chunks

    def __next__(self) -> Any:
        return next(self._chunks)

    def __enter__(self) -> "_Tee":
        return self

    def __exit__(self, *raised: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _read(self) -> Iterator[Any]:
        collected = _Collected()
        for chunk in self._stream:
            collected.add(chunk)
            yield chunk
        if collected.text:
            asked = self._asked
            told = [(asked.messages, collected.text)]
            self._cache.insert(told, asked.model, asked.scope, asked_at=asked.asked_at)


class _AsyncTee:
    """The same, to be awaited."""

    def __init__(self, stream: Any, asked: Asked, cache: AsyncClient) -> None:
        self._stream, self._asked, self._cache = stream, asked, cache
        self._chunks = self._read()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._chunks

    async def __anext__(self) -> Any:
        return await anext(self._chunks)

    async def __aenter__(self) -> "_AsyncTee":
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def _read(self) -> AsyncIterator[Any]:
        collected = _Collected()
        async for chunk in self._stream:
            collected.add(chunk)
            yield chunk
        if collected.text:
            asked = self._asked
            told = [(asked.messages, collected.text)]
            await self._cache.insert(told, asked.model, asked.scope, asked_at=asked.asked_at)


def _whole(asked: Asked, text: str) -> Any:
    from openai.types.chat import ChatCompletion

    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    choices = [{"index": 0, "message": message, "finish_reason": STOP}]
    told = _head(asked, "chat.completion") | {"choices": choices, "usage": usage}
    return ChatCompletion.model_validate(told)


def _chunks(asked: Asked, text: str) -> list[Any]:
    from openai.types.chat import ChatCompletionChunk

    head = _head(asked, "chat.completion.chunk")
    said = [({"role": "assistant", "content": text}, None), ({}, STOP)]
    return [
        ChatCompletionChunk.model_validate(
            head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        )
        for delta, reason in said
    ]


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid4().hex}", "object": kind, "created": int(time()), "model": asked.model}


async def _later(chunks: list[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk
