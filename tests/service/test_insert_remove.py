"""What insert, remove and register do."""

import pytest
from flask import Flask

from modelcache.app import get_service
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient, user
from tests.support.wire import (
    FAR_TTL,
    NEVER_SWEPT,
    VALID,
    assert_error,
    assert_miss,
    client_of,
    is_hit,
    live_rows,
    removed,
    select,
    system,
)

# Insert.


def test_insert_reply(client: CacheClient) -> None:
    reply = client.insert(("q", "a"))
    [entry] = reply.pop("ids")
    assert isinstance(entry, int)
    assert reply == {"errorCode": 0, "errorDesc": "", "writeStatus": "success"}


def test_every_chat_info_element_is_stored_and_ids_come_in_order(client: CacheClient) -> None:
    pairs = [(f"question {number}", f"answer {number}") for number in range(20)]
    ids = client.insert(*pairs)["ids"]
    assert len(set(ids)) == len(pairs)
    for entry, (question, answer) in zip(ids, pairs, strict=True):
        reply = client.query(question)
        assert (reply["hit_id"], reply["answer"]) == (entry, answer)
        assert client.query(question + NEAR)["hit_id"] == entry


def test_bad_element_keeps_the_whole_request_out(app: Flask, client: CacheClient) -> None:
    reply = client.insert(("good", "a"), ("bad", ""), ("good too", "c"))
    assert_error(reply, 103, "insert")
    assert "chat_info[1].answer" in reply["errorDesc"]
    assert_miss(client.query("good"))
    assert select(app, "SELECT COUNT(*) FROM modelcache_llm_answer") == [(0,)]


@pytest.mark.parametrize("asked", ["q", "q" + NEAR], ids=["exact", "semantic"])
def test_inserting_a_question_again_replaces_its_answer(client: CacheClient, asked: str) -> None:
    [old] = client.insert(("q", "old"))["ids"]
    [new] = client.insert(("q", "new"))["ids"]
    assert new != old
    reply = client.query(asked)
    assert (reply["answer"], reply["hit_id"]) == ("new", new)


def test_replaced_entry_is_gone(client: CacheClient) -> None:
    [old] = client.insert(("q", "old"))["ids"]
    client.insert(("q", "new"))
    assert client.remove("delete_by_id", id_list=[old])["response"]["ScalarDB"] == "delete_count: 0"
    assert client.remove("truncate_by_model")["response"]["ScalarDB"] == "delete_count: 1"


def test_within_one_request_the_last_of_equal_questions_wins(client: CacheClient) -> None:
    ids = client.insert(("q", "first"), ("other", "b"), ("q", "last"))["ids"]
    for text in ("q", "q" + NEAR):
        reply = client.query(text)
        assert (reply["answer"], reply["hit_id"]) == ("last", ids[2])
    assert client.query("other")["hit_id"] == ids[1]
    assert client.remove("truncate_by_model")["response"]["ScalarDB"] == "delete_count: 2"


def test_equal_questions_in_different_partitions_do_not_replace_each_other(client: CacheClient) -> None:
    client.insert(("q", "plain"))
    client.insert((system("s") + user("q"), "prompted"))
    client.insert(("q", "warm"), scope={"temperature": 1})
    assert client.query("q")["answer"] == "plain"
    assert client.query(system("s") + user("q"))["answer"] == "prompted"
    assert client.query("q", model="m")["answer"] == "plain"


def test_answers_outlive_a_restart(make_app: AppFactory) -> None:
    first = make_app()
    [entry] = client_of(first).insert(("q", "a"))["ids"]
    get_service(first).close()
    client = client_of(make_app())
    assert client.query("q")["hit_id"] == entry
    assert client.query("q" + NEAR)["hit_id"] == entry
    assert client.insert(("another", "b"))["ids"][0] > entry


# Time to live.


def test_entry_answers_within_its_time(client: CacheClient) -> None:
    client.insert(("q", "a"), ttl=FAR_TTL)
    assert client.query("q")["hit_type"] == "exact"
    assert client.query("q" + NEAR)["hit_type"] == "semantic"


@pytest.mark.parametrize("asked", ["q", "q" + NEAR], ids=["exact", "semantic"])
def test_expired_entry_does_not_answer_though_it_was_not_swept(make_app: AppFactory, asked: str) -> None:
    app = make_app(**NEVER_SWEPT)
    client = client_of(app)
    client.insert(("q", "a"), ttl=0.1)
    wait_until(lambda: not is_hit(client.query(asked)), "expiry")
    assert_miss(client.query(asked, threshold=0))
    assert live_rows(app) == 1


def test_expired_entry_hides_no_living_neighbour(make_app: AppFactory) -> None:
    client = client_of(make_app(**NEVER_SWEPT))
    client.insert(("q" + NEAR, "neighbour"))
    client.insert(("q", "brief"), ttl=0.1)
    wait_until(lambda: client.query("q")["answer"] == "neighbour", "expiry")


def test_expired_question_can_be_inserted_again(make_app: AppFactory) -> None:
    client = client_of(make_app(**NEVER_SWEPT))
    [old] = client.insert(("q", "old"), ttl=0.1)["ids"]
    wait_until(lambda: not is_hit(client.query("q")), "expiry")
    [new] = client.insert(("q", "new"))["ids"]
    assert new != old
    assert client.query("q")["answer"] == "new"


def test_replacing_an_entry_replaces_its_time_to_live(make_app: AppFactory) -> None:
    client = client_of(make_app(**NEVER_SWEPT))
    client.insert(("shorter", "a"), ttl=FAR_TTL)
    client.insert(("shorter", "b"), ttl=0.1)
    client.insert(("longer", "c"), ttl=0.1)
    client.insert(("longer", "d"))
    client.insert(("probe", "e"), ttl=0.1)
    wait_until(lambda: not is_hit(client.query("probe")), "expiry")
    assert_miss(client.query("shorter"))
    assert client.query("longer")["answer"] == "d"


def test_time_to_live_is_an_elements_own(make_app: AppFactory) -> None:
    client = client_of(make_app(**NEVER_SWEPT))
    brief, kept = {"query": user("brief"), "answer": "a", "ttl": 0.1}, {"query": user("kept"), "answer": "b"}
    client.post(VALID["insert"] | {"chat_info": [brief, kept]})
    wait_until(lambda: not is_hit(client.query("brief")), "expiry")
    assert client.query("kept")["answer"] == "b"


# Remove.


def test_delete_by_id_reply(client: CacheClient) -> None:
    ids = client.insert(("q1", "a"), ("q2", "b"), ("q3", "c"))["ids"]
    assert client.remove("delete_by_id", id_list=ids[:2]) == {
        "errorCode": 0,
        "errorDesc": "",
        "response": {"status": "success", "VectorDB": "delete_count: 2", "ScalarDB": "delete_count: 2"},
        "writeStatus": "success",
    }


@pytest.mark.parametrize("asked", ["q", "q" + NEAR], ids=["exact", "semantic"])
def test_deleted_entry_stops_answering_at_once(client: CacheClient, asked: str) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    client.insert(("kept", "b"))
    client.remove("delete_by_id", id_list=[entry])
    assert_miss(client.query(asked))
    assert client.query("kept")["answer"] == "b"


def test_id_of_a_query_reply_deletes_it(client: CacheClient) -> None:
    client.insert(("q", "a"))
    entry = client.query("q" + NEAR)["hit_id"]
    assert removed(client.remove("delete_by_id", id_list=[entry])) == ("delete_count: 1", 1)
    assert_miss(client.query("q"))


def test_delete_by_id_touches_only_its_own_model(client: CacheClient) -> None:
    [own] = client.insert(("q", "own"), model="own")["ids"]
    [foreign] = client.insert(("q", "foreign"), model="foreign")["ids"]
    assert removed(client.remove("delete_by_id", model="own", id_list=[own, foreign]))[1] == 1
    assert client.query("q", model="foreign")["answer"] == "foreign"
    assert client.query("q" + NEAR, model="foreign")["answer"] == "foreign"


@pytest.mark.parametrize("unknown", [0, -1, 999_999, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**300])
def test_unknown_ids_are_no_error_and_not_counted(client: CacheClient, unknown: int) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    assert removed(client.remove("delete_by_id", id_list=[unknown])) == ("delete_count: 0", 0)
    assert removed(client.remove("delete_by_id", id_list=[unknown, entry, unknown]))[1] == 1


def test_ids_named_twice_are_counted_once(client: CacheClient) -> None:
    [entry] = client.insert(("q", "a"))["ids"]
    assert removed(client.remove("delete_by_id", id_list=[entry, entry]))[1] == 1
    assert removed(client.remove("delete_by_id", id_list=[entry]))[1] == 0


def test_empty_id_list_deletes_nothing(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert removed(client.remove("delete_by_id", id_list=[])) == ("delete_count: 0", 0)
    assert is_hit(client.query("q"))


def test_thousands_of_ids_are_deleted(client: CacheClient) -> None:
    ids = client.insert(*[(f"q{number}", "a") for number in range(1200)])["ids"]
    assert removed(client.remove("delete_by_id", id_list=ids + list(range(10**6, 10**6 + 3000))))[1] == 1200


def insert_tagged(client: CacheClient, question: str, *tags: str, model: str = "m") -> None:
    client.insert((question, f"answer of {question}"), model=model, tags=list(tags))


@pytest.mark.parametrize(
    ("tags", "gone"),
    [
        (["red"], {"apple", "rose"}),
        (["fruit", "flower"], {"apple", "plum", "rose"}),
        (["red", "red"], {"apple", "rose"}),
        (["unknown"], set()),
        (["unknown", "fruit"], {"apple", "plum"}),
        (["RED"], set()),
        (["red "], set()),
        ([], set()),
    ],
)
def test_delete_by_tag_removes_what_carries_any_of_them(
    client: CacheClient, tags: list[str], gone: set[str]
) -> None:
    insert_tagged(client, "apple", "red", "fruit")
    insert_tagged(client, "plum", "fruit")
    insert_tagged(client, "rose", "red", "flower")
    insert_tagged(client, "stone")
    count = len(gone)
    assert removed(client.remove("delete_by_tag", tags=tags)) == (f"delete_count: {count}", count)
    questions = ("apple", "plum", "rose", "stone")
    assert {question for question in questions if not is_hit(client.query(question))} == gone
    assert {question for question in questions if not is_hit(client.query(question + NEAR))} == gone


@pytest.mark.parametrize("tag", ["标签", "o'clock", "a,b", "x" * 256, "\0", "é"])
def test_tags_may_be_any_text(client: CacheClient, tag: str) -> None:
    insert_tagged(client, "q", tag, tag)
    assert removed(client.remove("delete_by_tag", tags=[tag]))[1] == 1


def test_delete_by_tag_touches_only_its_own_model(client: CacheClient) -> None:
    insert_tagged(client, "q", "red", model="own")
    insert_tagged(client, "q", "red", model="foreign")
    assert removed(client.remove("delete_by_tag", model="own", tags=["red"]))[1] == 1
    assert_miss(client.query("q", model="own"))
    assert is_hit(client.query("q", model="foreign"))


def test_replacing_an_entry_replaces_its_tags(client: CacheClient) -> None:
    insert_tagged(client, "q", "old")
    insert_tagged(client, "q", "new")
    assert removed(client.remove("delete_by_tag", tags=["old"]))[1] == 0
    assert is_hit(client.query("q"))
    assert removed(client.remove("delete_by_tag", tags=["new"]))[1] == 1


def test_truncate_removes_every_entry_of_the_model_in_every_scope(client: CacheClient) -> None:
    client.insert(("q1", "a"), ("q2", "b"))
    client.post(VALID["insert"] | {"scope": {"model": "m", "temperature": 1}})
    client.insert((system("s") + user("q1"), "c"))
    assert removed(client.remove("truncate_by_model")) == ("rebuild", 4)
    for text in ("q1", "q2", "q1" + NEAR):
        assert_miss(client.query(text, threshold=0))
    assert_miss(client.query("q", scope={"temperature": 1}, threshold=0))
    assert removed(client.remove("truncate_by_model")) == ("rebuild", 0)


def test_truncate_leaves_other_models_alone(client: CacheClient) -> None:
    client.insert(("q", "own"), model="own")
    client.insert(("q", "foreign"), model="foreign")
    client.remove("truncate_by_model", model="own")
    assert client.query("q", model="foreign")["hit_type"] == "exact"
    assert client.query("q" + NEAR, model="foreign")["hit_type"] == "semantic"


def test_truncated_model_can_be_filled_again(client: CacheClient) -> None:
    client.insert(("q", "old"))
    client.remove("truncate_by_model")
    client.insert(("q", "new"))
    assert client.query("q")["answer"] == "new"
    assert client.query("q" + NEAR)["answer"] == "new"


@pytest.mark.parametrize("model", ["never seen", "从未见过", "'; DROP TABLE modelcache_llm_answer; --"])
def test_truncating_a_model_that_holds_nothing_succeeds(client: CacheClient, model: str) -> None:
    assert removed(client.remove("truncate_by_model", model=model)) == ("rebuild", 0)


def test_truncate_removes_the_models_query_log_only(app: Flask, client: CacheClient) -> None:
    for model in ("own", "own", "foreign"):
        client.query("q", model=model)
    client.remove("truncate_by_model", model="own")
    assert select(app, "SELECT model FROM modelcache_query_log") == [("foreign",)]


def test_truncated_model_stays_empty_after_a_restart(make_app: AppFactory) -> None:
    first = make_app()
    client_of(first).insert(("q", "a"))
    client_of(first).remove("truncate_by_model")
    get_service(first).close()
    assert_miss(client_of(make_app()).query("q" + NEAR, threshold=0))


# Register.


def test_register_replies(client: CacheClient) -> None:
    created = {"errorCode": 0, "errorDesc": "", "response": "create_success", "writeStatus": "success"}
    assert client.register() == created
    assert client.register() == created | {"response": "already_exists"}


def test_registration_outlives_a_restart(make_app: AppFactory) -> None:
    first = make_app()
    client_of(first).register("registered")
    client_of(first).insert(("q", "a"), model="used")
    get_service(first).close()
    client = client_of(make_app())
    assert client.register("registered")["response"] == "already_exists"
    assert client.register("used")["response"] == "already_exists"
    assert client.register("new")["response"] == "create_success"


def test_models_with_similar_names_are_registered_apart(client: CacheClient) -> None:
    for model in ("gpt-4", "gpt.4", "gpt_4", "GPT-4", "gpt-4 ", "模型", "型模"):
        assert client.register(model)["response"] == "create_success"


def test_registering_a_model_in_use_keeps_its_entries(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert client.register()["response"] == "already_exists"
    assert client.query("q" + NEAR)["answer"] == "a"


# Blacklist.


def test_blacklisted_model_is_neither_answered_nor_stored(make_app: AppFactory) -> None:
    app = make_app(model_blacklist=("bad", "worse"))
    client = client_of(app)
    query, insert = client.query("q", model="bad"), client.insert(("q", "a"), model="worse")
    assert_error(query, 105, "query")
    assert query["errorDesc"] == "model: bad in blacklist"
    assert_error(insert, 305, "insert")
    assert insert["errorDesc"] == "model: worse in blacklist"
    assert live_rows(app) == 0


@pytest.mark.parametrize("model", ["Bad", "bad ", "ba", "b.d"])
def test_blacklist_means_the_exact_name(make_app: AppFactory, model: str) -> None:
    client = client_of(make_app(model_blacklist=("bad",)))
    assert client.insert(("q", "a"), model=model)["errorCode"] == 0
    assert is_hit(client.query("q", model=model))


def test_entries_of_a_model_blacklisted_later_can_be_removed(make_app: AppFactory) -> None:
    first = make_app()
    client_of(first).insert(("q", "a"))
    get_service(first).close()
    client = client_of(make_app(model_blacklist=("m",)))
    assert client.query("q")["errorCode"] == 105
    assert removed(client.remove("truncate_by_model")) == ("rebuild", 1)
