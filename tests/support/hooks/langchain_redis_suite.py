"""LangChain's own tests of ``LangCacheSemanticCache``, and some more.

tests/processes/test_langchain_redis.py runs them. ``MODELCACHE_URL`` says where the service is.
"""

import os

import pytest
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_redis import LangCacheSemanticCache
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite

NEAR = " (again)"
# A model that speaks OpenAI's API is described in about so many characters.
DESCRIBED = '{"kwargs": {"model": "m", "temperature": 0.5}} ' * 40


def cache_of(key: str) -> LangCacheSemanticCache:
    return LangCacheSemanticCache(
        server_url=os.environ["MODELCACHE_URL"], cache_id="c", api_key=key, ttl=3600
    )


@pytest.fixture
def cache() -> LangCacheSemanticCache:
    cache = cache_of("k")
    cache.clear()
    return cache


class TestSync(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, cache: LangCacheSemanticCache) -> LangCacheSemanticCache:
        return cache


class TestAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, cache: LangCacheSemanticCache) -> LangCacheSemanticCache:
        return cache


def test_other_words_are_answered_and_other_models_and_keys_are_not(cache: LangCacheSemanticCache) -> None:
    cache.update("q", DESCRIBED, [Generation(text="a")])
    assert cache.lookup("q" + NEAR, DESCRIBED) == [Generation(text="a")]
    assert cache.lookup("q", DESCRIBED + "!") is None
    assert cache.lookup("another", DESCRIBED) is None
    assert cache_of("other").lookup("q", DESCRIBED) is None


def test_a_chat_is_answered_when_it_is_equal(cache: LangCacheSemanticCache) -> None:
    def said(text: str) -> str:
        return dumps([SystemMessage("be short"), HumanMessage(text)])

    answer = [ChatGeneration(message=AIMessage("a"))]
    cache.update(said("q"), DESCRIBED, answer)
    assert cache.lookup(said("q"), DESCRIBED) == answer
    assert cache.lookup(said("r"), DESCRIBED) is None
