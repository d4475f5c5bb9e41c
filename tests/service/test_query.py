"""What hits and what misses."""

import re
from time import time
from typing import Any

import pytest

from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient, Json, user
from tests.support.wire import (
    QUERY_KEYS,
    TOOL_CALLS,
    VALID,
    assert_miss,
    assistant,
    client_of,
    is_hit,
    system,
)

# Query.


def test_exact_hit(client: CacheClient) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    reply = client.query("q")
    assert re.fullmatch(r"\d+\.\d+s", reply.pop("delta_time"))
    assert reply == {
        "errorCode": 0,
        "errorDesc": "",
        "cacheHit": True,
        "hit_query": "user###q",
        "answer": "a",
        "similarity": 1.0,
        "confidence": 1.0,
        "hit_id": entry,
        "hit_type": "exact",
        "veto": "",
        "asked_at": None,
    }


def test_semantic_hit(client: CacheClient) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    reply = client.query("q" + NEAR)
    assert re.fullmatch(r"\d+\.\d+s", reply.pop("delta_time"))
    assert 0.95 < reply.pop("similarity") < 0.97
    assert 0.95 < reply.pop("confidence") < 0.97
    assert reply == {
        "errorCode": 0,
        "errorDesc": "",
        "cacheHit": True,
        "hit_query": "user###q",
        "answer": "a",
        "hit_id": entry,
        "hit_type": "semantic",
        "veto": "",
        "asked_at": None,
    }


def test_miss_in_an_empty_cache_compared_nothing(client: CacheClient) -> None:
    before = time()
    reply = client.query("q")
    assert re.fullmatch(r"\d+\.\d+s", reply.pop("delta_time"))
    assert before <= reply.pop("asked_at") <= time()
    assert reply == {
        "errorCode": 0,
        "errorDesc": "",
        "cacheHit": False,
        "hit_query": "",
        "answer": "",
        "similarity": None,
        "confidence": None,
        "hit_id": None,
        "hit_type": "",
        "veto": "",
    }


def test_miss_tells_how_near_the_nearest_was(client: CacheClient) -> None:
    client.insert(("q", "a"))
    reply = client.query("something else")
    assert set(reply) == QUERY_KEYS
    assert_miss(reply)
    assert 0 <= reply["similarity"] < 0.9


def test_nearest_entry_answers(client: CacheClient) -> None:
    client.insert(("q" + NEAR + NEAR, "far"), ("q" + NEAR, "near"), ("other", "none"))
    assert client.query("q")["answer"] == "near"


@pytest.mark.parametrize("spelling", [" q ", "q\n", "q\r\n", "\tq"])
def test_surrounding_space_does_not_change_a_question(client: CacheClient, spelling: str) -> None:
    client.insert(("q", "a"))
    assert client.query(spelling)["hit_type"] == "exact"


def test_hit_query_splices_all_messages(client: CacheClient) -> None:
    dialogue = [*system("be brief"), *user("hello"), *assistant("hi"), *user("who are you?")]
    client.insert((dialogue, "a bot"))
    spliced = "system###be brief|||user###hello|||assistant###hi|||user###who are you?"
    assert client.query(dialogue)["hit_query"] == spliced
    dialogue[-1] = user("who are you?" + NEAR)[0]
    assert client.query(dialogue)["hit_query"] == spliced


def test_other_roles_are_kept_as_they_are(client: CacheClient) -> None:
    dialogue = [*user("weather?"), {"role": "tool", "content": "{}"}, *user("and?")]
    client.insert((dialogue, "sunny"))
    assert client.query(dialogue)["hit_query"] == "user###weather?|||tool###{}|||user###and?"
    dialogue[1] = {"role": "function", "content": "{}"}
    assert_miss(client.query(dialogue))


AWKWARD = {
    "emoji": "👩‍👩‍👧 😀 🏳️‍🌈",
    "NUL": "before\0after\0",
    "four-byte Chinese": "𠮷野家𪚥",
    "quotes": "it's \"quoted\" `so` '; DROP TABLE modelcache_llm_answer; -- \\' %s ? :x {0}",
    "separators": "a###b|||c###d|||",
    "line ends": "one\r\ntwo\rthree\n",
    "surrounding space": "  spaced\t ",
    "controls": "\x01\x1b[31m\x7f\u2028\ufeff end",
    "decomposed": "cafe\u0301 ﬁ Å",
    "markup": "<script>alert(1)</script>&amp;",
}


@pytest.mark.parametrize("text", AWKWARD.values(), ids=list(AWKWARD))
def test_awkward_text_comes_back_identical(client: CacheClient, text: str) -> None:
    dialogue = [*system(text), *user(text), *assistant(text), *user(text)]
    client.insert((dialogue, text))
    reply = client.query(dialogue)
    assert (reply["hit_type"], reply["answer"]) == ("exact", text)
    assert reply["hit_query"] == f"system###{text}|||user###{text}|||assistant###{text}|||user###{text}"


def test_text_behind_a_nul_counts(client: CacheClient) -> None:
    client.insert(("a\0b", "one"))
    assert_miss(client.query("a\0c"))
    assert_miss(client.query("a"))


@pytest.mark.parametrize(
    ("threshold", "hit"), [(0, True), (0.0, True), (0.5, True), (0.96, False), (1, False), (1.0, False)]
)
def test_threshold_of_the_request_decides(client: CacheClient, threshold: float, hit: bool) -> None:
    client.insert(("q", "a"))
    reply = client.query("q" + NEAR, threshold=threshold)
    assert is_hit(reply) is hit
    assert 0.95 < reply["similarity"] < 0.96


def test_threshold_0_takes_the_nearest_of_the_partition(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert client.query("something else", threshold=0)["answer"] == "a"
    assert_miss(client.query("something else", model="other", threshold=0))


def test_equal_question_hits_at_threshold_1(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert client.query("q", threshold=1)["answer"] == "a"


def test_threshold_of_a_request_does_not_stick(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert_miss(client.query("q" + NEAR, threshold=1))
    assert is_hit(client.query("q" + NEAR))


@pytest.mark.parametrize("top_k", [1, 2, 100])
def test_top_k_of_the_request_is_taken(client: CacheClient, top_k: int) -> None:
    client.insert(("q", "a"), ("other", "b"))
    assert client.query("q" + NEAR, top_k=top_k)["answer"] == "a"


@pytest.mark.parametrize(
    ("settings", "hit"),
    [
        ({}, True),
        ({"similarity_threshold": 0.99}, True),
        ({"similarity_threshold_long": 0.99}, False),
        ({"similarity_threshold_long": 0.99, "long_text_chars": 1000}, True),
        ({"similarity_threshold": 0.99, "long_text_chars": 1000}, False),
    ],
)
def test_long_texts_have_a_threshold_of_their_own(
    make_app: AppFactory, settings: dict[str, Any], hit: bool
) -> None:
    client = client_of(make_app(**settings))
    client.insert(("q" * 300, "a"))
    assert is_hit(client.query("q" * 300 + NEAR)) is hit


def test_text_too_long_to_compare_is_answered_by_exact_match_only(make_app: AppFactory) -> None:
    app = make_app(max_embed_chars=20)
    client = client_of(app)
    client.insert(("x" * 21, "long"), ("x" * 12, "short"))
    exact = client.query("x" * 21)
    assert (exact["answer"], exact["hit_type"]) == ("long", "exact")
    near = client.query("x" * 21 + NEAR, threshold=0)
    assert_miss(near)
    assert near["similarity"] is None
    assert client.query("x" * 12 + NEAR)["answer"] == "short"
    assert client.query("unlike", threshold=0)["answer"] == "short"


def test_replaced_long_text_answers_with_the_new_answer(make_app: AppFactory) -> None:
    client = client_of(make_app(max_embed_chars=20))
    client.insert(("x" * 21, "old"))
    client.insert(("x" * 21, "new"))
    assert client.query("x" * 21)["answer"] == "new"


# What must be equal: scope, system prompt, earlier turns.


@pytest.mark.parametrize(
    ("inserted", "asked"),
    [
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": 0}, {"temperature": -0.0}),
        ({"a": 1, "b": "x"}, {"b": "x", "a": 1}),
        ({"stream": True}, {"stream": True}),
        ({"version": ""}, {"version": ""}),
        ({"版本": "一"}, {"版本": "一"}),
    ],
)
def test_equal_scopes_share_entries(client: CacheClient, inserted: Json, asked: Json) -> None:
    client.post(VALID["insert"] | {"scope": {"model": "m"} | inserted})
    assert client.query("q", scope=asked)["hit_type"] == "exact"
    assert client.query("q" + NEAR, scope=asked)["hit_type"] == "semantic"


@pytest.mark.parametrize(
    ("inserted", "asked"),
    [
        ({"temperature": 1}, {"temperature": "1"}),
        ({"temperature": 1}, {"temperature": True}),
        ({"temperature": "1"}, {"temperature": True}),
        ({"temperature": "true"}, {"temperature": True}),
        ({"temperature": 0}, {"temperature": False}),
        ({"temperature": ""}, {"temperature": False}),
        ({"temperature": 0.7}, {"temperature": 0.70001}),
        ({"seed": 2**53}, {"seed": 2**53 + 1}),
        ({"temperature": 1}, {}),
        ({}, {"temperature": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": "b"}, {"b": "a"}),
        ({"version": "A"}, {"version": "a"}),
        ({"version": "a"}, {"version": "a "}),
        ({"a": "1,b:2"}, {"a": "1", "b": 2}),
    ],
)
def test_different_scopes_never_share_entries(client: CacheClient, inserted: Json, asked: Json) -> None:
    client.post(VALID["insert"] | {"scope": {"model": "m"} | inserted})
    for text in ("q", "q" + NEAR):
        reply = client.query(text, scope=asked, threshold=0)
        assert_miss(reply)
        assert reply["similarity"] is None


def test_only_an_equal_system_prompt_is_compared(client: CacheClient) -> None:
    client.insert((system("be brief") + user("q"), "a"))
    assert is_hit(client.query(system("be brief") + user("q" + NEAR)))
    for other in (system("be long"), system("be brief" + NEAR), []):
        reply = client.query(other + user("q"), threshold=0)
        assert_miss(reply)
        assert reply["similarity"] is None


def test_spliced_system_prompt_is_compared_as_text(make_app: AppFactory) -> None:
    client = client_of(make_app(system_prompt="splice"))
    client.insert((user("q") + system("be brief"), "a"))
    near = client.query(user("q") + system("be brief" + NEAR))
    assert (near["answer"], near["hit_type"]) == ("a", "semantic")
    unlike = client.query(user("q") + system("be long"))
    assert_miss(unlike)
    assert unlike["similarity"] is not None


def test_rephrased_last_turn_hits_in_the_same_conversation_only(client: CacheClient) -> None:
    context = [*user("tell me about Paris"), *assistant("a city")]
    client.insert((context + user("how big is it?"), "105 km2"))
    rephrased = user("how big is it?" + NEAR)
    assert client.query(context + rephrased)["answer"] == "105 km2"
    others: tuple[list[Json], ...] = (
        [],
        [*user("tell me about Rome"), *assistant("a city")],
        [*user("tell me about Paris"), *assistant("a town")],
        [*context, *context],
        user("tell me about Paris"),
        [*assistant("tell me about Paris"), *user("a city")],
    )
    for other in others:
        assert_miss(client.query(other + rephrased, threshold=0))
        assert_miss(client.query(other + user("how big is it?"), threshold=0))


def test_question_without_context_does_not_answer_one_with_context(client: CacheClient) -> None:
    client.insert(("how big is it?", "which?"))
    dialogue = [*user("Paris"), *assistant("yes"), *user("how big is it?")]
    assert_miss(client.query(dialogue, threshold=0))
    assert client.query("how big is it?")["answer"] == "which?"


def test_messages_that_splice_alike_are_told_apart(client: CacheClient) -> None:
    client.insert(("a|||user###b", "one"))
    assert_miss(client.query([*user("a"), *user("b")], threshold=0))


def test_who_speaks_last_matters(client: CacheClient) -> None:
    client.insert((user("q"), "a"))
    assert_miss(client.query(assistant("q"), threshold=0))


def test_list_form_of_a_content_is_joined(client: CacheClient) -> None:
    parts = [{"type": "text", "text": "who "}, {"type": "text", "text": "are you?"}]
    client.insert(([{"role": "user", "content": parts}], "a bot"))
    reply = client.query("who are you?")
    assert (reply["hit_type"], reply["hit_query"]) == ("exact", "user###who are you?")


def tool_dialogue(tool_calls: Any, text: str = "and?") -> list[Json]:
    call = {"role": "assistant", "content": None, "tool_calls": tool_calls}
    return [*user("weather?"), call, {"role": "tool", "content": "sun"}, *user(text)]


def test_earlier_turn_may_be_a_tool_call_without_text(client: CacheClient) -> None:
    assert client.insert((tool_dialogue(TOOL_CALLS), "sunny"))["errorCode"] == 0
    assert client.query(tool_dialogue(TOOL_CALLS))["hit_type"] == "exact"
    assert client.query(tool_dialogue(TOOL_CALLS, "and?" + NEAR))["answer"] == "sunny"


def test_another_tool_call_is_another_conversation(client: CacheClient) -> None:
    client.insert((tool_dialogue(TOOL_CALLS), "sunny"))
    other = [{**TOOL_CALLS[0], "function": {"name": "time", "arguments": "{}"}}]
    assert_miss(client.query(tool_dialogue(other), threshold=0))
