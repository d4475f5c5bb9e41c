"""LangChain's own tests of a cache, and some more; tests/processes/test_langchain.py runs them elsewhere.

``MODELCACHE_URL`` says where the service is.
"""

import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.globals import set_llm_cache
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite

from modelcache.client import Client
from modelcache.client.langchain import ModelCache, messages_of, terms_of

NEAR = " (again)"


@pytest.fixture
def cache() -> Iterator[ModelCache]:
    with Client(os.environ["MODELCACHE_URL"], fail_open=False, timeout=30) as client:
        cache = ModelCache(client)
        cache.clear()
        yield cache


class TestSync(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, cache: ModelCache) -> ModelCache:
        return cache


class TestAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, cache: ModelCache) -> ModelCache:
        return cache


@pytest.fixture
def everywhere(cache: ModelCache) -> Iterator[None]:
    set_llm_cache(cache)
    yield
    set_llm_cache(None)


def test_a_chat_model_answers_other_words_from_the_cache(everywhere: None) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("one"), AIMessage("two")]))
    system = SystemMessage("be short")
    assert model.invoke([system, HumanMessage("q")]).content == "one"
    hit = model.invoke([system, HumanMessage("q" + NEAR)])
    assert hit.content == "one"
    assert model.invoke([SystemMessage("be long"), HumanMessage("q")]).content == "two"


def test_a_completion_model_is_cached(everywhere: None) -> None:
    model = FakeListLLM(responses=["one", "two"])
    assert [model.invoke("q"), model.invoke("q"), model.invoke("q", stop=["x"])] == ["one", "one", "two"]


def test_what_was_cut_off_or_calls_a_tool_is_not_kept(cache: ModelCache) -> None:
    call = {"name": "f", "args": {}, "id": "c", "type": "tool_call"}
    for generation in (
        Generation(text="a", generation_info={"finish_reason": "length"}),
        Generation(text=" "),
        ChatGeneration(message=AIMessage("a", tool_calls=[call])),
        ChatGeneration(message=AIMessage("a", response_metadata={"finish_reason": "content_filter"})),
    ):
        cache.update("q", "llm", [generation])
        assert cache.lookup("q", "llm") is None


def test_messages_with_more_than_text_go_past_the_cache() -> None:
    image: Any = [{"type": "image_url", "image_url": {"url": "u"}}]
    call = {"name": "f", "args": {}, "id": "c", "type": "tool_call"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert messages_of(dumps([HumanMessage(image)])) is None
        assert messages_of(dumps([HumanMessage("q"), AIMessage("", tool_calls=[call])])) is None
        parts: Any = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert messages_of(dumps([HumanMessage(parts)])) == [{"role": "user", "content": "ab"}]


def test_a_timeout_changes_no_answer() -> None:
    def described(**more: Any) -> list[Any]:
        import json

        return terms_of(json.dumps({"id": ["m"], "kwargs": {"model": "m"} | more}) + "---[('stop', None)]")

    assert described(timeout=3, base_url="x") == described()
    assert described(temperature=1) != described()
    assert terms_of("anything else") == ["anything else"]


def test_a_cache_that_is_gone_is_a_miss() -> None:
    with Client("http://127.0.0.1:9", timeout=1, retries=0) as client:
        cache = ModelCache(client)
        cache.update("q", "llm", [Generation(text="a")])
        assert cache.lookup("q", "llm") is None
        cache.clear()
