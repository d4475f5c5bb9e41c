"""Two different models, or two different scopes of one, never share data: whatever they are called."""

import itertools
import json
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest
from flask import Flask
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from modelcache.app import create_app, get_service
from modelcache.manager.names import collection_name
from modelcache.records.question import ScopeValue
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.support.client import CacheClient, Json

MAX_NAME = 256
# What Milvus, the strictest of the vector stores, takes as a collection's name, and short enough for all.
COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,99}")

QUESTION = "what is the answer?"
numbers = itertools.count()

Scope = Mapping[str, ScopeValue]
NO_KEYS: Scope = {}
many = settings(max_examples=80, deadline=None, database=None)

SPELLINGS: list[Callable[[str], str]] = [
    str.swapcase,
    str.upper,
    str.casefold,
    lambda name: name + " ",
    lambda name: " " + name,
    lambda name: name + "\0",
    lambda name: name + "\u200b",
    lambda name: name + "\n",
    lambda name: name[:-1],
    lambda name: name + name,
    lambda name: name[::-1],
    lambda name: name.replace("-", "."),
    lambda name: name.replace("-", "_"),
    lambda name: name.replace(".", "_"),
    lambda name: name.replace(" ", ""),
    lambda name: name.replace("/", "\\"),
    lambda name: name.encode("utf-8").hex(),
    lambda name: collection_name(name, HashEmbedder.name),
    lambda name: unicodedata.normalize("NFC", name),
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: unicodedata.normalize("NFKC", name),
]

NASTY = [
    "gpt-4",
    "gpt.4",
    "gpt_4",
    "GPT-4",
    "gpt-4 ",
    "gpt 4",
    "café",
    "cafe\u0301",
    "ﬁne-tuned",
    "fine-tuned",
    "straße",
    "STRASSE",
    "İstanbul",
    "K",
    "\u212a",
    "模型",
    "模型一",
    "модель",
    "نموذج",
    "👩‍👩‍👧",
    "'",
    '"',
    "`",
    "'; DROP TABLE modelcache_llm_answer; --",
    "' OR '1'='1",
    "%",
    "_",
    "m%",
    "?",
    ":model",
    "%s",
    "{}",
    "../x",
    "..",
    ".",
    "/",
    "/etc/passwd",
    "C:\\x",
    "x.npz",
    "modelcache",
    "modelcache_llm_answer",
    "*",
    "null",
    "None",
    "0",
    "-0",
    "\0",
    "a\0b",
    "a",
    "\n",
    "\t",
    " ",
    "m" * MAX_NAME,
    "m" * (MAX_NAME - 1) + "n",
    "n" + "m" * (MAX_NAME - 1),
    "模" * MAX_NAME,
    "模" * (MAX_NAME - 1) + "型",
]

any_name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=MAX_NAME)
name_like = st.text(st.sampled_from("abAB-._ '\"/\\%;ée\u0301模"), min_size=1, max_size=12)
names = any_name | name_like | st.sampled_from(NASTY)


@st.composite
def two_names(draw: st.DrawFn) -> tuple[str, str]:
    """Draw two different names; often the second is another spelling of the first."""
    first = draw(names)
    second = draw(st.sampled_from(SPELLINGS).map(lambda spell: spell(first)) | names)
    assume(first != second and 0 < len(second) <= MAX_NAME)
    return first, second


scope_values = (
    st.booleans()
    | st.integers()
    | st.integers(0, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, 1.0, 2.0, -0.0, 0.7])
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(["", "0", "1", "1.0", "true", "True", "0.7"])
)
scope_keys = st.sampled_from(["temperature", "Temperature", "version", "a", "b", ""]) | st.text(
    st.characters(codec="utf-8"), max_size=10
).filter(lambda key: key != "model")
scopes = st.dictionaries(scope_keys, scope_values, max_size=3)


def meaning(scope: Scope) -> Json:
    """Give what scopes are compared by: 1 and 1.0 are one number, but no truth value and no text."""
    return {key: (isinstance(value, bool), isinstance(value, str), value) for key, value in scope.items()}


def look_alikes(value: ScopeValue) -> list[ScopeValue]:
    """Give what is easily taken for a value."""
    alike: list[ScopeValue] = [str(value), json.dumps(value), f"{value} ", f"{value}".swapcase(), bool(value)]
    if not isinstance(value, str):
        alike += [value == 1, value + 1, -value, int(value)]
    return alike


@st.composite
def two_scopes(draw: st.DrawFn) -> tuple[Scope, Scope]:
    """Draw two scopes that differ; often by a key, or by a value that looks alike."""
    first = draw(scopes)
    second = dict(first)
    change = draw(st.sampled_from(["any", "more", "fewer", "look-alike"]))
    if change == "any":
        second = draw(scopes)
    elif change == "more":
        second |= draw(scopes)
    elif first:
        key = draw(st.sampled_from(sorted(first)))
        value = second.pop(key)
        if change == "look-alike":
            second[key] = draw(st.sampled_from(look_alikes(value)))
    assume(meaning(first) != meaning(second))
    return first, second


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    data_dir = tmp_path_factory.mktemp("isolation") / "inside" / "data"
    app = create_app({"data_dir": data_dir}, embedder=HashEmbedder())
    yield app
    get_service(app).close()


@pytest.fixture(scope="module")
def client(app: Flask) -> CacheClient:
    return CacheClient(app.test_client())


def ask(client: CacheClient, model: str, scope: Scope = NO_KEYS) -> tuple[str, str]:
    """Return the answers to the question and to a rephrased one, at the most generous threshold."""
    exact = client.query(QUESTION, model=model, scope=dict(scope))
    near = client.query(QUESTION + NEAR, model=model, scope=dict(scope), threshold=0)
    assert (exact["errorCode"], near["errorCode"]) == (0, 0)
    return exact["answer"], near["answer"]


def fill(client: CacheClient, model: str, answer: str, scope: Scope = NO_KEYS) -> int:
    reply = client.post(
        {
            "type": "insert",
            "scope": {"model": model, **scope},
            "chat_info": [
                {"query": [{"role": "user", "content": QUESTION}], "answer": answer, "tags": ["t"]}
            ],
        }
    )
    entry: int = reply["ids"][0]
    return entry


def truncate(client: CacheClient, model: str) -> str:
    count: str = client.remove("truncate_by_model", model=model)["response"]["ScalarDB"]
    return count


def emptied(client: CacheClient, *models: str) -> None:
    for model in models:
        truncate(client, model)


@pytest.mark.slow
@many
@given(pair=two_names())
def test_a_model_never_gets_what_another_inserted(client: CacheClient, pair: tuple[str, str]) -> None:
    first, second = pair
    emptied(client, first, second)
    fill(client, first, "of the first")
    assert ask(client, second) == ("", "")
    fill(client, second, "of the second")
    assert ask(client, first) == ("of the first", "of the first")
    assert ask(client, second) == ("of the second", "of the second")


@pytest.mark.slow
@many
@given(pair=two_names())
def test_truncating_a_model_leaves_another_alone(client: CacheClient, pair: tuple[str, str]) -> None:
    first, second = pair
    emptied(client, first, second)
    fill(client, first, "of the first")
    fill(client, second, "of the second")
    assert truncate(client, first) == "delete_count: 1"
    assert ask(client, first) == ("", "")
    assert ask(client, second) == ("of the second", "of the second")
    assert truncate(client, first) == "delete_count: 0"
    assert truncate(client, second) == "delete_count: 1"


@pytest.mark.slow
@many
@given(pair=two_names())
def test_deleting_by_id_or_tag_leaves_another_model_alone(client: CacheClient, pair: tuple[str, str]) -> None:
    first, second = pair
    emptied(client, first, second)
    entry = fill(client, first, "of the first")
    by_id = client.remove("delete_by_id", model=second, id_list=[entry])
    by_tag = client.remove("delete_by_tag", model=second, tags=["t"])
    assert {reply["response"]["ScalarDB"] for reply in (by_id, by_tag)} == {"delete_count: 0"}
    assert ask(client, first) == ("of the first", "of the first")


@many
@given(pair=two_names())
def test_models_are_registered_apart(client: CacheClient, pair: tuple[str, str]) -> None:
    # Examples share the app and nothing takes a registration back, so names must be new.
    number = next(numbers)
    first, second = (f"{number}:{name}"[:MAX_NAME] for name in pair)
    assume(first != second)
    assert client.register(first)["response"] == "create_success"
    assert client.register(second)["response"] == "create_success"
    assert client.register(first)["response"] == "already_exists"


@pytest.mark.slow
@many
@given(model=names, pair=two_scopes())
def test_scopes_of_a_model_never_share_entries(
    client: CacheClient, model: str, pair: tuple[Scope, Scope]
) -> None:
    first, second = pair
    emptied(client, model)
    fill(client, model, "of the first", first)
    assert ask(client, model, second) == ("", "")
    fill(client, model, "of the second", second)
    assert ask(client, model, first) == ("of the first", "of the first")
    assert ask(client, model, second) == ("of the second", "of the second")
    assert truncate(client, model) == "delete_count: 2"


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, database=None)
@given(pair=two_names())
def test_two_names_have_two_collections(pair: tuple[str, str]) -> None:
    first, second = (collection_name(model, HashEmbedder.name) for model in pair)
    assert first.lower() != second.lower()


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, database=None)
@given(model=names, embedder=names)
def test_a_collections_name_suits_every_vector_store(model: str, embedder: str) -> None:
    assert COLLECTION.fullmatch(collection_name(model, embedder))


@pytest.mark.parametrize("model", NASTY)
def test_nasty_names_suit_every_vector_store(model: str) -> None:
    assert COLLECTION.fullmatch(collection_name(model, HashEmbedder.name))


@settings(max_examples=300, deadline=None, database=None)
@given(model=names, pair=two_names())
def test_two_embedders_have_two_collections_of_a_model(model: str, pair: tuple[str, str]) -> None:
    assert collection_name(model, pair[0]) != collection_name(model, pair[1])


def test_nasty_names_all_live_side_by_side(client: CacheClient) -> None:
    emptied(client, *NASTY)
    for number, model in enumerate(NASTY):
        fill(client, model, f"answer {number}")
    for number, model in enumerate(NASTY):
        assert ask(client, model) == (f"answer {number}", f"answer {number}")


def test_no_name_reaches_the_file_system_or_the_schema(app: Flask, client: CacheClient) -> None:
    for model in NASTY:
        client.register(model)
        fill(client, model, "a")
    data_dir = get_service(app).settings.data_dir
    assert {path.name for path in data_dir.parent.parent.iterdir()} == {"inside"}
    assert {path.name for path in data_dir.parent.iterdir()} == {"data"}
    assert all(COLLECTION.fullmatch(path.stem) for path in (data_dir / "faiss").glob("[!.]*"))
    with closing(sqlite3.connect(data_dir / "modelcache.db")) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert {name for (name,) in rows if name.startswith("modelcache")} == {
        "modelcache_llm_answer",
        "modelcache_answer_tag",
        "modelcache_answer_source",
        "modelcache_removal",
        "modelcache_envelope",
        "modelcache_query_log",
        "modelcache_schema",
        "modelcache_lease",
        "modelcache_observation",
        "modelcache_lookup",
        "modelcache_policy",
        "modelcache_tally",
        "modelcache_day_count",
        "modelcache_model_limit",
        "modelcache_probe",
    }
