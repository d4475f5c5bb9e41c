"""Requests that are refused: with which code, in which words."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from modelcache.app import create_app, get_service
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.support.client import CacheClient, Json, user
from tests.support.wire import (
    TOOL_CALLS,
    TYPE_EXCEPTION,
    VALID,
    assert_error,
    assert_miss,
    client_of,
    is_hit,
    live_rows,
    removed,
    send,
    system,
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"hello",
        b"[1]",
        b"5",
        b"null",
        b"true",
        b'"text"',
        b'"[1]"',
        b'""',
        json.dumps(json.dumps(json.dumps(VALID["query"]))).encode(),
        json.dumps(VALID["query"]).encode()[:-1],
        json.dumps(VALID["query"]).encode() + b"}",
        b"{'type': 'query'}",
        b'{"type": "query", "n": NaN}',
        b'{"type": "query", "n": -Infinity}',
        b'{"type": "\xff"}',
        json.dumps(VALID["query"]).encode("utf-16"),
        b"type=query&scope=m",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_body_of_no_use_is_refused_with_101(client: CacheClient, body: bytes) -> None:
    assert_error(send(client, body), 101, "query")


class Missing:
    """Stands for a field that is left out."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()


def without_missing(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not MISSING}


@pytest.mark.parametrize(
    "request_type", [MISSING, None, "", "Query", "query ", "delete", 5, True, ["query"], {}], ids=repr
)
def test_missing_or_unknown_type_is_refused_with_102(client: CacheClient, request_type: Any) -> None:
    reply = client.post(without_missing(VALID["query"] | {"type": request_type}))
    assert_error(reply, 102, "query")
    assert reply["errorDesc"] == TYPE_EXCEPTION


SCOPES: list[tuple[Any, str]] = [
    (MISSING, "scope"),
    (None, "scope"),
    ("m", "scope"),
    ([], "scope"),
    (["model"], "scope"),
    (5, "scope"),
    ({}, "scope.model"),
    ({"Model": "m"}, "scope.model"),
    ({"model": None}, "scope.model"),
    ({"model": ""}, "scope.model"),
    ({"model": 5}, "scope.model"),
    ({"model": True}, "scope.model"),
    ({"model": ["m"]}, "scope.model"),
    ({"model": "m" * 257}, "scope.model"),
    ({"model": "\ud800"}, "scope.model"),
    ({"model": "m", "user": "\ud800"}, "scope.user"),
    ({"model": "m", "stop": ["x", "\ud800"]}, "scope.stop"),
    ({"model": "m", "tools": [{"\ud800": 1}]}, "scope.tools"),
]

MESSAGES: list[tuple[Any, str]] = [
    (MISSING, ""),
    (None, ""),
    ("q", ""),
    ({"role": "user", "content": "q"}, ""),
    (5, ""),
    ([], ""),
    (system("s"), ""),
    (system("s") + system("t"), ""),
    (user(""), ""),
    (user("  \n\t\u3000"), ""),
    (user("\0\u200b"), ""),
    (user("q") + user(""), ""),
    (user("q") + system(""), ""),
    (["q"], "[0]"),
    ([None], "[0]"),
    ([user("q")], "[0]"),
    ([{"content": "q"}], "[0].role"),
    ([{"role": None, "content": "q"}], "[0].role"),
    ([{"role": 5, "content": "q"}], "[0].role"),
    ([{"role": "user"}], ""),
    ([{"role": "user", "content": None}], ""),
    ([{"role": "user", "content": 5}], "[0].content"),
    ([{"role": "user", "content": {"text": "q"}}], "[0].content"),
    ([{"role": "user", "content": "\ud83d"}], "[0].content"),
    ([{"role": "user", "content": []}], ""),
    ([{"role": "user", "content": ["q"]}], "[0].content"),
    ([{"role": "user", "content": [{"type": "text"}]}], "[0].content"),
    ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "[0].content"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "[0].content"),
    (
        [{"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "input_audio"}]}],
        "[0].content",
    ),
    ([*user("q"), {"role": "user", "content": None}], ""),
    ([{"role": "assistant", "content": None, "tool_calls": TOOL_CALLS}], ""),
]

CHAT_INFOS: list[tuple[Any, str]] = [
    (MISSING, "chat_info"),
    (None, "chat_info"),
    ([], "chat_info"),
    ({"query": user("q"), "answer": "a"}, "chat_info"),
    ("q", "chat_info"),
    ([None], "chat_info[0]"),
    (["q"], "chat_info[0]"),
    ([{"answer": "a"}], "chat_info[0].query"),
]

ELEMENT_FIELDS: dict[str, list[Any]] = {
    "answer": [MISSING, None, "", 5, 1.5, True, ["a"], {"text": "a"}, "\udc00"],
    "ttl": [0, 0.0, -1, -0.5, "60", True, [60], {}, 10**400],
    "tags": ["red", 5, {"red": 1}, [5], [None], [""], ["x" * 257], [["red"]]],
}

QUERY_FIELDS: dict[str, list[Any]] = {
    "threshold": [-0.1, 1.1, -1, 2, "0.9", True, [0.9], {}, 10**400],
    "top_k": [0, -1, 1.5, "5", True, [5], {}, 10**400],
}

REMOVE_FIELDS: dict[str, list[Any]] = {
    "remove_type": [MISSING, None, 5, ["delete_by_id"], {}],
    "id_list": [MISSING, None, 1, "1", {"1": 1}, ["1"], [1.5], [True], [None], [[1]], [1, "2"]],
    "tags": [MISSING, None, "red", [1], [""], {}],
}


def refused_cases() -> Iterator[Any]:
    """Give (request type, fields laid over a valid request, what the description must name)."""
    for request_type in VALID:
        for value, name in SCOPES:
            yield pytest.param(request_type, {"scope": value}, name, id=f"{request_type}-{shown(value)}")
    for value, path in MESSAGES:
        yield pytest.param("query", {"query": value}, f"query{path}", id=f"query-{shown(value)}")
        element = without_missing({"query": value, "answer": "a"})
        name = f"chat_info[0].query{path}"
        yield pytest.param("insert", {"chat_info": [element]}, name, id=f"chat_info-{shown(value)}")
    for value, name in CHAT_INFOS:
        yield pytest.param("insert", {"chat_info": value}, name, id=f"chat_info-{shown(value)}")
    for name, value in pairs(ELEMENT_FIELDS):
        element = without_missing({"query": user("q"), "answer": "a", name: value})
        fields: Json = {"chat_info": [element]}
        yield pytest.param("insert", fields, f"chat_info[0].{name}", id=f"{name}-{shown(value)}")
    for name, value in pairs(QUERY_FIELDS):
        yield pytest.param("query", {name: value}, name, id=f"{name}-{shown(value)}")
    for name, value in pairs(REMOVE_FIELDS):
        kind = "delete_by_tag" if name == "tags" else "delete_by_id"
        fields = {"remove_type": kind, name: value}
        yield pytest.param("remove", fields, name, id=f"{name}-{shown(value)}")


def pairs(table: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, values in table.items() for value in values)


def shown(value: Any) -> str:
    return ascii(value)[:60]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app for the many requests that must leave no trace."""
    app = create_app({"data_dir": tmp_path_factory.mktemp("refusing")}, embedder=HashEmbedder())
    yield app
    get_service(app).close()


@pytest.mark.parametrize(("request_type", "fields", "name"), list(refused_cases()))
def test_misshapen_field_is_refused_with_103_and_named(
    refusing: Flask, request_type: str, fields: Json, name: str
) -> None:
    reply = client_of(refusing).post(without_missing(VALID[request_type] | fields))
    assert_error(reply, 103, request_type)
    assert name in reply["errorDesc"]
    assert live_rows(refusing) == 0


@pytest.mark.parametrize(("request_type", "fields", "name"), list(refused_cases()))
def test_103_says_what_was_expected_in_words_of_the_contract(
    refusing: Flask, request_type: str, fields: Json, name: str
) -> None:
    description = client_of(refusing).post(without_missing(VALID[request_type] | fields))["errorDesc"]
    assert len(description) > len(name) + len(": ")
    assert "instance of" not in description, "this names a Python class"
    assert "a value" not in description, "this says nothing"


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "NaN"])
@pytest.mark.parametrize("field", ["threshold", "ttl", "temperature"])
def test_numbers_without_end_are_refused(client: CacheClient, field: str, literal: str) -> None:
    body = {
        "threshold": VALID["query"] | {"threshold": "@"},
        "ttl": VALID["insert"] | {"chat_info": [{"query": user("q"), "answer": "a", "ttl": "@"}]},
        "temperature": VALID["insert"] | {"scope": {"model": "m", "temperature": "@"}},
    }[field]
    reply = send(client, json.dumps(body).replace('"@"', literal))
    assert reply["errorCode"] == (101 if literal == "NaN" else 103)
    assert_miss(client.query("q"))


@pytest.mark.parametrize("remove_type", ["", "delete", "DELETE_BY_ID", "truncate_by_model ", "drop_all"])
def test_unknown_remove_type_is_refused_with_401(client: CacheClient, remove_type: str) -> None:
    client.insert(("q", "a"))
    assert_error(client.remove(remove_type, id_list=[1]), 401, "remove")
    assert is_hit(client.query("q"))


@pytest.mark.parametrize("model", ["m" * 256, "模" * 256, "😀" * 256, " ", "\0", "../../etc/passwd", "."])
def test_any_name_up_to_256_characters_is_a_model(client: CacheClient, model: str) -> None:
    assert client.register(model)["response"] == "create_success"
    client.insert(("q", "a"), model=model)
    assert client.query("q", model=model)["hit_type"] == "exact"
    assert client.query("q" + NEAR, model=model)["hit_type"] == "semantic"
    assert removed(client.remove("truncate_by_model", model=model)) == ("rebuild", 1)
