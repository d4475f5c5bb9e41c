"""LangCache's published client, unmodified."""

from collections.abc import Iterator

import pytest
from langcache import LangCache
from langcache.errors import BadRequestErrorResponseContent
from langcache.models import SearchStrategy

from modelcache.testing.hash_embedder import NEAR
from tests.support.running import RunningService

pytestmark = pytest.mark.packages


@pytest.fixture
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LangCache]:
    service = RunningService(tmp_path_factory.mktemp("data"), MODELCACHE_LANGCACHE="true").wait_ready()
    with LangCache(server_url=service.url, cache_id="c", api_key="k") as client:
        yield client
    assert service.terminate() == 0


def test_the_published_client_is_answered(client: LangCache) -> None:
    saved = client.set(prompt="q", response="a", attributes={"user": "u"}, ttl_millis=60_000)
    found = client.search(
        prompt="q" + NEAR,
        similarity_threshold=0.9,
        attributes={"user": "u"},
        search_strategies=[SearchStrategy.EXACT, SearchStrategy.SEMANTIC],
    )
    assert [(one.id, one.response) for one in found.data] == [(saved.entry_id, "a")]
    assert found.data[0].search_strategy is SearchStrategy.SEMANTIC
    assert client.delete_query(attributes={"user": "u"}).deleted_entries_count == 1
    other = client.set(prompt="q", response="b")
    client.delete_by_id(entry_id=other.entry_id)
    assert client.search(prompt="q").data == []
    client.set(prompt="q", response="c")
    client.flush()
    assert client.search(prompt="q").data == []
    with pytest.raises(BadRequestErrorResponseContent, match="prompt"):
        client.search(prompt=" ")
