"""Whatever the body: a JSON reply of the right shape, and a refused request changes nothing."""

import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelcache.app import create_app, get_service
from modelcache.manager.names import collection_name
from modelcache.records.names import model_key
from modelcache.testing.hash_embedder import HashEmbedder
from tests.support.client import CacheClient, Json, user

SEED = 20231114
BODIES = 10_000
MAX_BODY_BYTES = 100_000

INSERT_KEYS = {"errorCode", "errorDesc", "writeStatus", "ids"}
REMOVE_KEYS = {"errorCode", "errorDesc", "writeStatus", "response"}
QUERY_KEYS = {"errorCode", "errorDesc", "cacheHit", "delta_time", "hit_query", "answer"} | {
    "similarity",
    "confidence",
    "hit_id",
    "hit_type",
    "veto",
    "asked_at",
}
KEYS = {
    "query": QUERY_KEYS,
    "insert": INSERT_KEYS,
    "remove": REMOVE_KEYS,
    "register": REMOVE_KEYS,
    "feedback": REMOVE_KEYS,
}
# Nothing is broken here, so every failure is the request's own: none of 201, 202, 301, 302, 303, 402, 502.
CODES = {
    "query": {0, 103, 105},
    "insert": {0, 103, 305},
    "remove": {0, 103, 401},
    "register": {0, 103},
    "feedback": {0, 103},
}

SYSTEM = {"role": "system", "content": "be brief"}
ASSISTANT = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
PARTS = [{"role": "user", "content": [{"type": "text", "text": "in parts"}]}]
VALID: list[Json] = [
    {"type": "query", "scope": {"model": "m"}, "query": user("q0")},
    {"type": "query", "scope": {"model": "m"}, "query": [SYSTEM, *user("q1")], "threshold": 0.5, "top_k": 3},
    {"type": "query", "scope": {"model": "m", "temperature": 0.7}, "query": PARTS},
    {"type": "query", "scope": {"model": "m"}, "query": [*user("weather?"), ASSISTANT, *user("and?")]},
    {"type": "query", "scope": {"model": "banned"}, "query": user("q2")},
    {"type": "insert", "scope": {"model": "m"}, "chat_info": [{"query": user("q3"), "answer": "a3"}]},
    {
        "type": "insert",
        "scope": {"model": "模型", "version": "2", "stream": True},
        "chat_info": [
            {"query": [SYSTEM, *user("问?")], "answer": "答", "ttl": 60, "tags": ["red", "标签"]},
            {"query": user("q4"), "answer": "a4"},
        ],
    },
    {"type": "insert", "scope": {"model": "banned"}, "chat_info": [{"query": user("q"), "answer": "a"}]},
    {"type": "remove", "scope": {"model": "m"}, "remove_type": "delete_by_id", "id_list": [1, 2]},
    {"type": "remove", "scope": {"model": "m"}, "remove_type": "delete_by_tag", "tags": ["red"]},
    {"type": "remove", "scope": {"model": "m"}, "remove_type": "truncate_by_model"},
    {"type": "register", "scope": {"model": "m"}},
    {"type": "register", "scope": {"model": "n"}, "mode": "verified", "error_rate": 0.05},
    {"type": "feedback", "scope": {"model": "m"}, "hit_id": 1, "query": user("q5"), "correct": False},
]

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**63,
    -(2**70),
    10**400,
    1e308,
    "",
    " ",
    "q",
    "0",
    "\0",
    "😀",
    "\ud83d",
    "x" * 300,
    "'; DROP TABLE modelcache_llm_answer; --",
    "query",
    "truncate_by_model",
    [],
    [[]],
    [None],
    ["q"],
    [1],
    {},
    {"": {}},
    {"model": "m"},
    {"role": "user"},
    [{"role": "user", "content": "q"}],
    [{"type": "text", "text": "q"}],
    [{"query": [], "answer": "a"}],
]

# Put in the place of a value after it was encoded: what no Python value encodes to.
MARK = "@@@"
LITERALS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 4000,
    "9" * 5000,
    "0." + "0" * 400 + "1",
    "1e-999",
    "-0.0",
    "01",
    "+1",
    "0x10",
    "undefined",
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\u0000"',
    '"\\x"',
    '"\n"',
    "/* note */ 1",
    "[1,]",
    "'q'",
]

Place = tuple[str | int, ...]


TABLES = (
    *("modelcache_llm_answer", "modelcache_answer_tag"),
    *("modelcache_observation", "modelcache_policy"),
)


class Store:
    """Reads the tables of what requests store from outside, and the vectors' files; the log may grow."""

    def __init__(self, data_dir: Path) -> None:
        self.connection = sqlite3.connect(data_dir / "modelcache.db")
        self.folder = data_dir / "faiss"
        self.remember()

    def remember(self) -> None:
        """Hold what is there now to be right."""
        self._version = self._data_version()
        self._tables = self._read_tables()
        self._files = self._list_files()

    def is_unchanged(self) -> bool:
        if self._files != self._list_files():
            return False
        version = self._data_version()
        if version != self._version:
            # Somebody has committed; it may have been a line of the query log.
            self._version = version
            return self._tables == self._read_tables()
        return True

    def _data_version(self) -> int:
        """Return a number that changes whenever another connection has committed."""
        number: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return number

    def _read_tables(self) -> list[list[Any]]:
        return [
            self.connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES
        ]

    def _list_files(self) -> set[tuple[str, int]]:
        return {(file.name, file.stat().st_mtime_ns) for file in os.scandir(self.folder)}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app for all bodies; nothing in it changes the tables but the requests and their hit counts."""
    values = {
        "data_dir": tmp_path_factory.mktemp("fuzz"),
        "model_blacklist": ("banned",),
        "max_body_bytes": MAX_BODY_BYTES,
        "sweep_interval": 3600.0,
    }
    app = create_app(values, embedder=HashEmbedder())
    client = CacheClient(app.test_client())
    client.insert(("q0", "a0"), ("weather?", "sunny"), tags=["red"])
    client.insert((user("other model"), "a"), model="模型")
    yield app
    get_service(app).close()


@pytest.fixture
def store(app: Flask) -> Iterator[Store]:
    store = Store(get_service(app).settings.data_dir)
    with closing(store.connection):
        yield store


def send(http: FlaskClient, body: bytes) -> Json:
    """Post a body and check all that must hold for any; the reply's body is returned."""
    response = http.post("/modelcache", data=body, content_type="application/json")
    assert response.status_code == (413 if len(body) > MAX_BODY_BYTES else 200)
    assert response.content_type == "application/json; charset=utf-8"
    reply = response.get_json()
    assert type(reply["errorCode"]) is int
    assert isinstance(reply["errorDesc"], str)
    assert (reply["errorDesc"] == "") == (reply["errorCode"] == 0)
    if reply["errorCode"] in (101, 102, 413):
        assert set(reply) == QUERY_KEYS
    else:
        request_type = type_of(body)
        assert set(reply) == KEYS[request_type]
        assert reply["errorCode"] in CODES[request_type], reply
    return dict(reply)


def type_of(body: bytes) -> str:
    """Read the type of a request that was understood as far as that."""
    fields = json.loads(body.decode("utf-8-sig"))
    if isinstance(fields, str):
        fields = json.loads(fields)
    request_type: str = fields["type"]
    return request_type


# Where bodies come from: each takes a source of randomness and returns one body.


def encode(chosen: random.Random, value: Any) -> bytes:
    """Encode as clients do: once or twice, escaped or in UTF-8."""
    escaped = chosen.random() < 0.5 or not is_encodable(value)
    text = json.dumps(value, ensure_ascii=escaped)
    if chosen.random() < 0.3:
        text = json.dumps(text, ensure_ascii=escaped)
    return text.encode()


def is_encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def random_bytes(chosen: random.Random) -> bytes:
    return chosen.randbytes(chosen.randrange(200))


def random_json_characters(chosen: random.Random) -> bytes:
    return bytes(chosen.choices(b'{}[]",:0123456789eE+-.\\utrfalsn \xef\xbb\xbf', k=chosen.randrange(60)))


def cut_request(chosen: random.Random) -> bytes:
    body = encode(chosen, chosen.choice(VALID))
    return body[: chosen.randrange(len(body))]


def mutated_request(chosen: random.Random) -> bytes:
    """Change, remove or repeat a few bytes of a valid request."""
    body = bytearray(encode(chosen, chosen.choice(VALID)))
    for _ in range(chosen.randint(1, 4)):
        at = chosen.randrange(len(body))
        body[at : at + chosen.randrange(3)] = chosen.randbytes(chosen.randrange(3))
    return bytes(body)


def replaced_fields(chosen: random.Random) -> bytes:
    """Put values of random types in the place of random fields."""
    value = copy_of(chosen.choice(VALID))
    for _ in range(chosen.randint(1, 3)):
        put(value, chosen.choice(list(paths(value))), copy_of(chosen.choice(VALUES)))
    return encode(chosen, value)


def removed_or_renamed_field(chosen: random.Random) -> bytes:
    value = copy_of(chosen.choice(VALID))
    name = chosen.choice(list(value))
    moved = value.pop(name)
    if chosen.random() < 0.5:
        value[chosen.choice([name.upper(), f"{name} ", "", "😀"])] = moved
    return encode(chosen, value)


def unusual_literal(chosen: random.Random) -> bytes:
    value = copy_of(chosen.choice(VALID))
    put(value, chosen.choice(list(paths(value))), MARK)
    return json.dumps(value).replace(f'"{MARK}"', chosen.choice(LITERALS)).encode()


def deep_value(chosen: random.Random) -> bytes:
    """Nest lists or objects, in the place of a field or as the whole body."""
    depth = chosen.choice([chosen.randint(1, 200), chosen.randint(900, 1000), chosen.randint(1000, 9000)])
    opening, closing_ = chosen.choice([("[", "]"), ('{"a":', "}"), ('[{"role":', "}]")])
    deep = opening * depth + chosen.choice(["1", '"q"', "null", ""]) + closing_ * depth
    if chosen.random() < 0.2:
        return deep.encode()
    value = copy_of(chosen.choice(VALID))
    put(value, chosen.choice([*paths(value), ("note",)]), MARK)
    return json.dumps(value).replace(f'"{MARK}"', deep).encode()


def duplicate_keys(chosen: random.Random) -> bytes:
    """Give a field twice, with two values."""
    value = copy_of(chosen.choice(VALID))
    name = chosen.choice(list(value))
    other = json.dumps({name: chosen.choice([*VALUES, copy_of(chosen.choice(VALID)).get(name)])})
    pairs = [other[1:-1], json.dumps(value)[1:-1]]
    chosen.shuffle(pairs)
    return ("{" + ",".join(pairs) + "}").encode()


def lone_surrogate(chosen: random.Random) -> bytes:
    value = copy_of(chosen.choice(VALID))
    half = chr(chosen.randrange(0xD800, 0xE000))
    put(value, chosen.choice(list(paths(value))), chosen.choice([half, f"q{half}", {half: half}]))
    if chosen.random() < 0.3:
        value["scope"] = {"model": "m", half: half}
    body = json.dumps(value)
    if chosen.random() < 0.3:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return body.encode()


def other_encoding(chosen: random.Random) -> bytes:
    text = json.dumps(chosen.choice(VALID), ensure_ascii=False)
    return text.encode(chosen.choice(["utf-16", "utf-32", "utf-8-sig", "gb18030", "utf-16-le"]))


def long_text(chosen: random.Random) -> bytes:
    value = copy_of(chosen.choice(VALID))
    length = chosen.choice([300, 9000, MAX_BODY_BYTES - 1000, MAX_BODY_BYTES + 1])
    put(value, chosen.choice(list(paths(value))), chosen.choice("qx\0") * length)
    return json.dumps(value).encode()


def valid_request(chosen: random.Random) -> bytes:
    return encode(chosen, chosen.choice(VALID))


SOURCES: list[tuple[Callable[[random.Random], bytes], int]] = [
    (random_bytes, 8),
    (random_json_characters, 8),
    (cut_request, 10),
    (mutated_request, 20),
    (replaced_fields, 30),
    (removed_or_renamed_field, 6),
    (unusual_literal, 10),
    (deep_value, 8),
    (duplicate_keys, 8),
    (lone_surrogate, 8),
    (other_encoding, 3),
    (long_text, 2),
    (valid_request, 4),
]


def copy_of(value: Any) -> Any:
    return json.loads(json.dumps(value))


def paths(value: Any, at: Place = ()) -> Iterator[Place]:
    """Give the place of every value inside this one."""
    steps: Any = ()
    if isinstance(value, dict):
        steps = value.items()
    elif isinstance(value, list):
        steps = enumerate(value)
    for step, inner in steps:
        yield (*at, step)
        yield from paths(inner, (*at, step))


def put(value: Any, path: Place, new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def bodies() -> Iterator[bytes]:
    chosen = random.Random(SEED)
    sources, weights = zip(*SOURCES, strict=True)
    for source in chosen.choices(sources, weights, k=BODIES):
        yield source(chosen)


@pytest.mark.slow
def test_ten_thousand_bodies_get_proper_replies_and_refused_ones_change_nothing(
    app: Flask, store: Store
) -> None:
    http = app.test_client()
    refused = accepted = 0
    for body in bodies():
        if send(http, body)["errorCode"] != 0:
            refused += 1
            assert store.is_unchanged(), body
        else:
            accepted += 1
            # A hit is counted in the background; the count belongs to this request.
            assert get_service(app).cache.writer.flush()
            store.remember()
    assert refused > BODIES / 2
    assert accepted > BODIES / 20
    assert_vectors_match_rows(app)


def assert_vectors_match_rows(app: Flask) -> None:
    """Check that every live row has its vector, and, once swept, nothing else has one."""
    cache = get_service(app).cache
    manager = cache.data_manager
    manager.sweep(everything=True)
    models = manager.scalars.models()
    assert models
    for model in models:
        vectors = manager.vectors.ids(collection_name(model, cache.embedder.name))
        assert set(vectors.tolist()) == set(
            manager.scalars.embedded_ids(model_key(model), cache.embedder.name)
        )


@pytest.mark.parametrize("where", ["content", "tool_calls", "name", "scope", "note", "body", "twice encoded"])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_of_any_depth_is_the_clients_mistake_or_none(app: Flask, opening: str, where: str) -> None:
    http = app.test_client()
    closing_ = "]" if opening == "[" else "}"
    for depth in [*range(1, 900, 50), *range(900, 1010), 5000, 20_000]:
        deep = opening * depth + "1" + closing_ * depth
        send(http, nested_in(where, deep))


def nested_in(where: str, deep: str) -> bytes:
    if where == "body":
        return deep.encode()
    message = {"role": "user", "content": "q"}
    request: Json = {"type": "query", "scope": {"model": "deep"}, "query": [message]}
    if where in ("content", "tool_calls", "name"):
        message[where] = MARK
    elif where == "scope":
        request["scope"]["temperature"] = MARK
    else:
        request["note"] = MARK
    text = json.dumps(request).replace(f'"{MARK}"', deep)
    return (json.dumps(text) if where == "twice encoded" else text).encode()


# Any JSON at all.

FIELD_NAMES = [
    "type",
    "scope",
    "model",
    "query",
    "chat_info",
    "answer",
    "role",
    "content",
    "text",
    "remove_type",
    "id_list",
    "tags",
    "ttl",
    "threshold",
    "top_k",
    "tool_calls",
]
WORDS = [*KEYS, "delete_by_id", "delete_by_tag", "truncate_by_model", "system", "user", "text"]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)
requests_with_any_fields = st.fixed_dictionaries(
    {"type": st.sampled_from(list(KEYS)) | json_values},
    optional={name: json_values for name in FIELD_NAMES if name != "type"},
)
any_case = settings(
    max_examples=400,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check_any_value(app: Flask, store: Store, value: Any) -> None:
    assert get_service(app).cache.writer.flush()
    store.remember()
    text = json.dumps(value)
    for body in (text, json.dumps(text)):
        if send(app.test_client(), body.encode())["errorCode"] != 0:
            assert store.is_unchanged()
        store.remember()


@pytest.mark.slow
@any_case
@given(value=json_values)
def test_any_json_value_gets_a_proper_reply(app: Flask, store: Store, value: Any) -> None:
    check_any_value(app, store, value)


@pytest.mark.slow
@any_case
@given(value=requests_with_any_fields)
def test_any_values_of_fields_get_a_proper_reply(app: Flask, store: Store, value: Any) -> None:
    check_any_value(app, store, value)


@any_case
@given(body=st.binary(max_size=200))
def test_any_bytes_get_a_proper_reply(app: Flask, body: bytes) -> None:
    send(app.test_client(), body)
