"""The Python client, against a service of its own."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from modelcache.client import AsyncClient, CacheUnreachableError, Client, RefusedError
from modelcache.testing.hash_embedder import NEAR
from tests.support.running import ROOT, RunningService

pytestmark = pytest.mark.process

GONE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    service = RunningService(tmp_path_factory.mktemp("data")).wait_ready()
    yield service
    assert service.terminate() == 0


@pytest.fixture
def client(service: RunningService) -> Iterator[Client]:
    with Client(service.url, fail_open=False, timeout=30) as client:
        client.remove("m")
        yield client


def test_what_is_inserted_is_found(client: Client) -> None:
    [id_] = client.insert([("q", "a")], "m", tags=["t"]).ids
    answer = client.query("q" + NEAR, "m")
    assert (answer.hit, answer.text, answer.entry_id, answer.hit_type) == (True, "a", id_, "semantic")
    assert answer.hit_query == "user###q"
    assert answer.confidence
    assert not client.query("q", "m", {"tenant": "t"}).hit
    assert not client.query("q" + NEAR, "m", threshold=1.0).hit
    assert client.remove("m", tags=["t"]) == 1
    assert not client.query("q", "m").hit


def test_entries_are_removed_by_source_and_age(client: Client) -> None:
    client.insert([("q", "a"), ("r", "b")], "m", sources=["doc-17@v3"])
    assert client.remove("m", sources=["doc-17@v3"], dry_run=True) == 2
    assert client.remove("m", older_than=3600) == 0
    assert client.remove("m", sources=["doc-17@v3"]) == 2
    assert not client.query("q", "m").hit


def test_what_was_removed_since_its_look_up_is_not_brought_back(client: Client) -> None:
    asked_at = client.query("q", "m").asked_at
    client.remove("m", sources=["doc"])
    inserted = client.insert([("q", "a")], "m", sources=["doc"], asked_at=asked_at)
    assert (inserted.ids, "asked_at" in inserted.error) == ((), True)
    assert client.insert([("q", "a")], "m", sources=["doc"], asked_at=client.query("q", "m").asked_at).ids


def test_what_an_entry_was_stored_with_comes_back(client: Client) -> None:
    client.insert([("q", "a")], "m", metadata={"source": ["faq", 1]})
    assert client.query("q", "m").metadata == {"source": ["faq", 1]}
    client.insert([("r", "a")], "m")
    assert client.query("r", "m").metadata == {}


def test_feedback_and_modes(client: Client) -> None:
    [id_] = client.insert([([{"role": "user", "content": "q"}], "a")], "m").ids
    assert client.feedback(id_, "q" + NEAR, "m", correct=False) == "recorded"
    assert client.query("q" + NEAR, "m").veto == "feedback"
    assert client.feedback(id_, "q", "m", correct=False) == "retired"
    assert client.remove("m", ids=[id_]) == 0
    client.register("other")
    assert client.register("other", mode="off") is False


def test_what_the_cache_refuses_is_raised(client: Client) -> None:
    with pytest.raises(RefusedError, match="threshold") as refused:
        client.query("q", "m", threshold=3.0)
    assert refused.value.code == 103


def test_a_cache_that_is_gone_is_a_miss() -> None:
    with Client(GONE, timeout=1) as client:
        answer = client.query("q", "m")
        assert (answer.hit, bool(answer.error)) == (False, True)
        assert client.insert([("q", "a")], "m").ids == ()
        with pytest.raises(CacheUnreachableError):
            client.remove("m")
    with Client(GONE, timeout=1, fail_open=False, retries=0) as client, pytest.raises(CacheUnreachableError):
        client.query("q", "m")


def test_the_client_that_is_awaited(service: RunningService) -> None:
    async def talk() -> list[object]:
        async with AsyncClient(service.url, fail_open=False, timeout=30) as client:
            [id_] = (await client.insert([("q", "a")], "awaited", ttl=60)).ids
            found = await client.query("q", "awaited")
            told = await client.feedback(id_, "q", "awaited", correct=True)
            registered = await client.register("awaited")
            removed = await client.remove("awaited")
        async with AsyncClient(GONE, timeout=1) as gone:
            lost = await gone.query("q", "m")
            await gone.insert([("q", "a")], "m")
        return [found.text, told, registered, removed, lost.hit]

    assert asyncio.run(talk()) == ["a", "recorded", False, 1, False]


def test_the_client_loads_nothing_of_the_service() -> None:
    told = (
        "import sys, modelcache.client\n"
        "print(sorted(name for name in sys.modules if name.startswith('modelcache.') "
        "and not name.startswith('modelcache.client')))\n"
        "print([name for name in ('flask', 'numpy', 'pydantic', 'openai') if name in sys.modules])"
    )
    command = [sys.executable, "-c", told]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert output.split("\n")[:2] == ["[]", "[]"]
