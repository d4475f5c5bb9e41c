"""What must be equal for an answer to be reused, and what counts for nothing."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from modelcache.app import PATH
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient, Json, user
from tests.support.wire import assert_miss, assistant, client_of, is_hit, system

WHOLE = "How many bridges cross the Thames in central London?"
ASKED = [*user("How many rivers flow through Germany?"), *assistant("about 7,000")]


def message(role: str = "user", content: Any = "what is in it?", /, **fields: Any) -> list[Json]:
    return [{"role": role, "content": content, **fields}]


# Fields of a message.


@pytest.mark.parametrize("field", ["images", "audio", "attachments", "files", "a field of tomorrow"])
@pytest.mark.parametrize("last", ["what is in it?", "what is in it?" + NEAR])
def test_every_field_of_a_message_counts(client: CacheClient, field: str, last: str) -> None:
    client.insert((message(**{field: ["AAA"]}), "a cat"))
    assert client.query(message("user", last, **{field: ["AAA"]}))["answer"] == "a cat"
    for other in ({field: ["BBB"]}, {field: ["AAA", "BBB"]}, {field: "AAA"}, {}):
        assert_miss(client.query(message("user", last, **other), threshold=0))


def test_a_field_of_an_earlier_message_counts(client: CacheClient) -> None:
    client.insert((message(images=["AAA"]) + user("and now?"), "a"))
    assert is_hit(client.query(message(images=["AAA"]) + user("and now?" + NEAR)))
    assert_miss(client.query(message(images=["BBB"]) + user("and now?"), threshold=0))


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "msg_1"},
        {"cache_control": {"type": "ephemeral"}},
        {"annotations": [{"type": "url_citation"}]},
        {"refusal": None, "audio": None, "function_call": None},
        {"tool_calls": [], "name": "", "images": [], "meta": {}},
    ],
)
def test_some_fields_mean_nothing(client: CacheClient, fields: Json) -> None:
    client.insert((user("q"), "a"))
    assert client.query(message("user", "q", **fields))["hit_type"] == "exact"


def test_what_a_part_says_beside_its_text_counts(client: CacheClient) -> None:
    def asked(**fields: Any) -> list[Json]:
        return message("user", [{"type": "text", "text": "q", **fields}])

    client.insert((asked(), "a"), (asked(image="x"), "b"))
    assert client.query("q")["answer"] == "a"
    assert client.query(asked(cache_control={"type": "ephemeral"}))["answer"] == "a"
    assert client.query(asked(image="x"))["answer"] == "b"
    assert_miss(client.query(asked(image="y"), threshold=0))


@pytest.mark.parametrize(
    "earlier",
    [
        message("assistant", None, refusal="I cannot help with that."),
        message("assistant", None, tool_calls=[]),
        message("assistant", [{"type": "output_text", "text": "sure"}]),
        [{"role": "assistant"}],
        [{"role": "assistant", "refusal": "no"}],
    ],
)
def test_conversations_that_are_valid_elsewhere_are_here(client: CacheClient, earlier: list[Json]) -> None:
    dialogue = message("user", [{"type": "input_text", "text": "q"}]) + earlier + user("and now?")
    assert client.insert((dialogue, "a"))["errorCode"] == 0
    assert client.query(dialogue)["hit_type"] == "exact"
    changed = [dict(one) for one in dialogue]
    changed[1]["content"] = "something else"
    assert_miss(client.query(changed, threshold=0))


# Roles.


def test_developer_is_system(client: CacheClient) -> None:
    client.insert((message("developer", "be brief") + user("q"), "a"), ("other", "b"))
    assert client.query(system("be brief") + user("q"))["hit_type"] == "exact"
    assert_miss(client.query(message("developer", "be long") + user("q"), threshold=0))
    assert_miss(client.query(message("developer", "be brief") + user("other")))


@pytest.mark.parametrize("role", ["developer", "tool", "function", "context", "System", "assistant"])
def test_no_entry_without_a_conversation_answers_behind_another_role(client: CacheClient, role: str) -> None:
    client.insert((WHOLE, "35"))
    for before in ([], ASKED):
        said = message(role, "Reply only in French.")
        assert_miss(client.query(said + before + user(WHOLE), threshold=0))
    assert is_hit(client.query(ASKED + user(WHOLE), threshold=0))


@pytest.mark.parametrize("role", ["tool", "function", "context", "System"])
def test_an_earlier_turn_of_another_role_must_be_equal(client: CacheClient, role: str) -> None:
    client.insert((message(role, "the sun shines") + user("and now?"), "a"))
    assert is_hit(client.query(message(role, "the sun shines") + user("and now?" + NEAR)))
    assert_miss(client.query(message(role, "the sun shines" + NEAR) + user("and now?"), threshold=0))


@pytest.mark.parametrize(
    "earlier",
    [
        user("Use metric units only.") + assistant("ok"),
        user("只输出JSON") + assistant("好的"),
        user("My kid is 3") + assistant("nice"),
        user("How tall is Everest in feet?")
        + assistant("29,032 ft")
        + user("Metric units only.")
        + assistant("ok"),
        [
            *user("How tall is Everest in feet?"),
            *message("assistant", "", tool_calls=[{"id": "1"}]),
            *message("tool", "29,032"),
        ],
        user("How tall is Everest in feet? I only read French.") + assistant("29,032 ft"),
    ],
)
def test_where_something_was_said_or_fetched_no_question_stands_alone(
    client: CacheClient, earlier: list[Json]
) -> None:
    client.insert((WHOLE, "35"))
    assert_miss(client.query(earlier + user(WHOLE), threshold=0))


@pytest.mark.parametrize("role", ["tool", "function", "assistant", "context"])
@pytest.mark.parametrize(
    ("cached", "asked"),
    [
        ("✅ passed", "❌ passed"),
        ('{"home": "Arsenal", "away": "Chelsea"}', '{"home": "Chelsea", "away": "Arsenal"}'),
        ('{"delta": -5}', '{"delta": 5}'),
        ("the test has passed", "the test has passed" + NEAR),
    ],
)
def test_a_last_turn_that_is_not_a_users_is_equal_or_another(
    client: CacheClient, role: str, cached: str, asked: str
) -> None:
    client.insert((ASKED + message(role, cached), "a"))
    assert client.query(ASKED + message(role, cached))["hit_type"] == "exact"
    assert_miss(client.query(ASKED + message(role, asked), threshold=0))


# Calls of tools.


def called(call: str, arguments: str, result: str = "sunny") -> list[Json]:
    calls = [{"id": call, "type": "function", "function": {"name": "weather", "arguments": arguments}}]
    return [
        *user("weather?"),
        *message("assistant", None, tool_calls=calls),
        *message("tool", result, tool_call_id=call),
        *user("and what to wear?"),
    ]


def test_ids_of_calls_and_the_form_of_arguments_do_not_count(client: CacheClient) -> None:
    client.insert((called("call_x1", '{"city": "Rome", "days": 2}'), "a coat"))
    assert client.query(called("call_zz", '{"days":2.0,"city":"Rome"}'))["hit_type"] == "exact"
    assert_miss(client.query(called("call_x1", '{"city": "Oslo", "days": 2}'), threshold=0))
    assert_miss(client.query(called("call_x1", '{"city": "Rome", "days": "2"}'), threshold=0))
    assert_miss(client.query(called("call_x1", '{"city": "Rome", "days": 2}', "rainy"), threshold=0))


def test_which_result_is_of_which_call_counts(client: CacheClient) -> None:
    def two(first: str, second: str, results: tuple[str, str]) -> list[Json]:
        calls = [
            {"id": id_, "type": "function", "function": {"name": "weather", "arguments": f'"{city}"'}}
            for id_, city in ((first, "Rome"), (second, "Oslo"))
        ]
        told = [{"role": "tool", "tool_call_id": id_, "content": "sun"} for id_ in results]
        told[1]["content"] = "rain"
        return [*user("weather?"), *message("assistant", "", tool_calls=calls), *told, *user("so?")]

    client.insert((two("a", "b", ("a", "b")), "umbrella in Oslo"))
    assert client.query(two("p", "q", ("p", "q")))["hit_type"] == "exact"
    assert_miss(client.query(two("p", "q", ("q", "p")), threshold=0))


@pytest.mark.parametrize("arguments", ["{not json", "[" * 50 + "]" * 50, "1" * 5000, ""])
def test_arguments_that_are_no_json_are_compared_as_they_are(client: CacheClient, arguments: str) -> None:
    client.insert((called("1", arguments), "a"))
    assert client.query(called("2", arguments))["hit_type"] == "exact"
    assert_miss(client.query(called("2", arguments + " x"), threshold=0))


# What is sent beside the messages.


def insert_with(client: CacheClient, **fields: Any) -> None:
    scope = {"model": "m"} | fields.pop("scope", {})
    chat_info = [{"query": user("q"), "answer": "a"}]
    assert client.post({"type": "insert", "scope": scope, "chat_info": chat_info} | fields)["errorCode"] == 0


FUNCTION = {"type": "function", "name": "f"}
PARAMETERS: list[tuple[str, Any, Any]] = [
    (
        "tools",
        [{"type": "function", "function": {"name": "f"}}],
        [{"type": "function", "function": {"name": "g"}}],
    ),
    ("tool_choice", "auto", {"type": "function", "function": {"name": "f"}}),
    ("response_format", {"type": "json_object"}, {"type": "text"}),
    ("temperature", 0, 1.5),
    ("stop", ["\n"], ["."]),
    ("seed", 1, 2),
    ("max_tokens", 10, 1000),
    ("reasoning_effort", "low", "high"),
]


@pytest.mark.parametrize(("name", "value", "other"), PARAMETERS)
@pytest.mark.parametrize("within", ["the request", "the scope"])
def test_what_changes_the_answer_must_be_equal(
    client: CacheClient, name: str, value: Any, other: Any, within: str
) -> None:
    def fields(given: Any) -> Json:
        return {name: given} if within == "the request" else {"scope": {name: given}}

    insert_with(client, **fields(value))
    assert client.query("q" + NEAR, **fields(value))["answer"] == "a"
    assert_miss(client.query("q", threshold=0, **fields(other)))
    assert_miss(client.query("q", threshold=0))
    assert client.query("q", scope={name: value})["hit_type"] == "exact"


def test_parameters_are_compared_as_values(client: CacheClient) -> None:
    schema = {"type": "object", "properties": {"a": {"minimum": 1}, "b": {}}}
    spaced = {"properties": {"b": {}, "a": {"minimum": 1.0}}, "type": "object"}
    insert_with(client, tools=[{"parameters": schema}], temperature=1)
    assert client.query("q", tools=[{"parameters": spaced}], temperature=1.0)["hit_type"] == "exact"


@pytest.mark.parametrize("nothing", [{"tools": []}, {"tools": None, "stop": None}, {"response_format": {}}])
def test_a_parameter_that_says_nothing_is_none(client: CacheClient, nothing: Json) -> None:
    client.insert(("q", "a"))
    assert client.query("q", **nothing)["hit_type"] == "exact"


def test_null_in_a_scope_is_a_value(client: CacheClient) -> None:
    client.insert(("q", "a"), scope={"user": None})
    assert client.query("q", scope={"user": None})["hit_type"] == "exact"
    assert_miss(client.query("q"))


def test_a_parameter_cannot_differ_from_the_scopes(client: CacheClient) -> None:
    reply = client.query("q", scope={"temperature": 0}, temperature=1)
    assert (reply["errorCode"], reply["errorDesc"]) == (103, "temperature: differs from scope.temperature")
    assert client.query("q", scope={"temperature": 1}, temperature=1.0)["errorCode"] == 0


def test_a_query_can_skip_the_look_up(client: CacheClient) -> None:
    client.insert(("q", "a"))
    assert_miss(client.query("q", cache_skip=True))
    assert is_hit(client.query("q", cache_skip=False))
    assert "cache_skip" in client.query("q", cache_skip="yes")["errorDesc"]


@pytest.mark.parametrize("within", ["the request", "the scope"])
def test_a_temperature_sets_the_chance_of_skipping_where_it_is_set(make_app: AppFactory, within: str) -> None:
    client = client_of(make_app(temperature_skips=True))

    def hits(temperature: float) -> int:
        given: Json = {"temperature": temperature}
        fields = given if within == "the request" else {"scope": given}
        insert_with(client, **fields)
        return sum(is_hit(client.query("q", **fields)) for _ in range(200))

    assert hits(0) == 200
    assert hits(2) == 0
    assert 60 < hits(1) < 140


# Clocks in system prompts.

CLOCK = r"Current time: [\d :-]+"


@pytest.mark.parametrize("patterns", [CLOCK, json.dumps(["never", CLOCK]), f"never\n{CLOCK}"])
@pytest.mark.parametrize("last", ["q", "q" + NEAR])
def test_what_is_ignored_in_a_system_prompt_does_not_count(
    make_app: AppFactory, patterns: str, last: str
) -> None:
    client = client_of(make_app(system_prompt_ignore=patterns))
    client.insert((system("Be brief. Current time: 2026-02-09 17:11:02") + user("q"), "a"))
    assert client.query(system("Be brief. Current time: 2026-02-10 08:00:00") + user(last))["answer"] == "a"
    assert_miss(client.query(system("Be long. Current time: 2026-02-09 17:11:02") + user(last), threshold=0))


def test_by_default_a_clock_counts(client: CacheClient) -> None:
    client.insert((system("Current time: 17:11") + user("q"), "a"))
    assert_miss(client.query(system("Current time: 17:12") + user("q"), threshold=0))


# Bodies.


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP", "identity"])
def test_a_packed_body_is_read(make_app: AppFactory, encoding: str) -> None:
    http = make_app().test_client()
    body = json.dumps({"type": "query", "scope": {"model": "m"}, "query": user("q")}).encode()
    packing: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    packed = packing.get(encoding.lower(), bytes)(body)
    reply = http.post(PATH, data=packed, headers={"Content-Encoding": encoding})
    assert (reply.status_code, reply.get_json()["errorCode"]) == (200, 0)


def test_a_body_counts_by_what_it_unpacks_to(make_app: AppFactory) -> None:
    http = make_app(max_body_bytes=10_000).test_client()
    reply = http.post(PATH, data=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.get_json()["errorCode"]) == (413, 413)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
def test_another_packing_is_refused_by_its_name(make_app: AppFactory, encoding: str) -> None:
    reply = make_app().test_client().post(PATH, data=b"x", headers={"Content-Encoding": encoding})
    assert reply.status_code == 415
    assert encoding in reply.get_json()["errorDesc"]


PACKED = gzip.compress(b"{}", mtime=0)


@pytest.mark.parametrize("data", [b"no gzip", PACKED[:-4], PACKED + b"x"], ids=["other", "cut", "longer"])
def test_a_body_that_cannot_be_unpacked_is_the_clients_mistake(make_app: AppFactory, data: bytes) -> None:
    reply = make_app().test_client().post(PATH, data=data, headers={"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.get_json()["errorCode"]) == (200, 101)


def test_a_slash_at_the_end_of_the_path_is_the_same_path(make_app: AppFactory) -> None:
    reply = make_app().test_client().post(f"{PATH}/", json={"type": "query"})
    assert (reply.status_code, reply.get_json()["errorCode"]) == (200, 103)
