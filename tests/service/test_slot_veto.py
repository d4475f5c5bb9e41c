"""What a client and the log see of the slot guard."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcache.app import create_app
from modelcache.errors import ConfigError
from modelcache.records.dialogue import Message, differing_part, splice
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient, user
from tests.support.wire import assert_miss, assistant, break_method, client_of, is_hit, select, system

LOG = "SELECT error_code, error_desc, cache_hit FROM modelcache_query_log ORDER BY id"


@pytest.mark.parametrize(
    ("cached", "asked", "veto"),
    [
        ("open the account", "close the account", "opposite"),
        ("seats for 3", "seats for 4", "number"),
        ("三张票", "四张票", "number"),
        ("train from Oslo to Bergen", "train from Bergen to Oslo", "direction"),
        ("train from Oslo to Bergen", "trains from Oslo to Bergen", ""),
    ],
)
def test_a_candidate_is_refused_by_a_named_rule(
    client: CacheClient, cached: str, asked: str, veto: str
) -> None:
    client.insert((cached, "a"))
    reply = client.query(asked, threshold=0)
    assert reply["veto"] == veto
    assert is_hit(reply) is not bool(veto)
    if veto:
        assert_miss(reply)
        assert reply["similarity"] is not None


def test_an_equal_question_is_never_refused(client: CacheClient) -> None:
    text = "not 3 but 4, from A to B and from B to A, open or closed?"
    client.insert((text, "a"))
    reply = client.query(text)
    assert (reply["hit_type"], reply["veto"]) == ("exact", "")


def test_only_candidates_over_the_threshold_are_refused(client: CacheClient) -> None:
    client.insert(("seats for 3", "a"))
    reply = client.query("seats for 4", threshold=0.99)
    assert_miss(reply)
    assert reply["veto"] == ""


def test_the_guard_can_be_off(make_app: AppFactory) -> None:
    client = client_of(make_app(slot_guard=False))
    client.insert(("seats for 3", "a"))
    reply = client.query("seats for 4", threshold=0)
    assert (reply["answer"], reply["veto"]) == ("a", "")


@pytest.fixture
def own_tables(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text("[slot.repeated]\none_sided = true\n[slot.repeated.values]\nyes = ['again']\n", "utf-8")
    return path


def test_the_next_candidate_may_answer_and_the_nearest_ones_rule_is_named(
    make_app: AppFactory, own_tables: Path
) -> None:
    client = client_of(make_app(slot_tables=own_tables))
    client.insert(("q", "near"), ("something else entirely", "far"))
    assert client.query("q" + NEAR)["veto"] == "repeated"
    reply = client.query("q" + NEAR, threshold=0)
    assert (reply["answer"], reply["hit_type"], reply["veto"]) == ("far", "semantic", "repeated")


def test_a_refusal_is_logged_and_is_no_error(make_app: AppFactory) -> None:
    app = make_app()
    client = client_of(app)
    client.insert(("seats for 3", "a"))
    client.query("seats for 4", threshold=0)
    client.query("seats for 3")
    assert select(app, LOG) == [(0, "veto: number", 0), (0, "", 1)]


def test_a_failed_query_names_no_rule(make_app: AppFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    break_method(monkeypatch, app, "embedder.embed")
    assert client_of(app).query("q")["veto"] == ""


def test_bad_tables_refuse_to_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the slot tables"):
        create_app({"data_dir": tmp_path, "slot_tables": tmp_path / "absent.toml"})


# Which part of a dialogue is compared.


def test_earlier_turns_do_not_hide_a_difference(client: CacheClient) -> None:
    context = [*system("close 3 of 4"), *user("open 3 or 4?"), *assistant("close")]
    client.insert((context + user("open the account"), "a"))
    assert client.query(context + user("close the account"), threshold=0)["veto"] == "opposite"


@pytest.mark.parametrize("conversation", ["meaning", "exact", "splice"])
@pytest.mark.parametrize("prompt", ["partition", "splice"])
def test_spliced_texts_are_compared_alike(make_app: AppFactory, conversation: str, prompt: str) -> None:
    client = client_of(make_app(conversation=conversation, system_prompt=prompt))
    context = [*system("you sell 5 cars"), *user("hello"), *assistant("hi")]
    client.insert((context + user("seats for 3"), "a"))
    assert client.query(context + user("seats for 4"), threshold=0)["veto"] == "number"
    assert is_hit(client.query(context + user("seats for three"), threshold=0))


def test_a_spliced_earlier_turn_may_differ(make_app: AppFactory) -> None:
    client = client_of(make_app(conversation="splice"))
    client.insert(([*user("a table for 3"), *assistant("ok"), *user("go")], "a"))
    reply = client.query([*user("a table for 4"), *assistant("ok"), *user("go")], threshold=0)
    assert reply["veto"] == "number"


@pytest.mark.parametrize(
    ("asked", "cached", "parts"),
    [
        ("user###a", "user###b", ("a", "b")),
        ("user###x|||bot###y|||user###a", "user###x|||bot###y|||user###b", ("a", "b")),
        ("user###a|||system###s", "user###b|||system###s", ("a", "b")),
        ("user###ab", "user###ac", ("ab", "ac")),
        ("user###q ||| r", "user###q ||| s", ("q ||| r", "q ||| s")),
        ("user###x|||user###q ||| r", "user###x|||user###q ||| s", ("q ||| r", "q ||| s")),
        ("user###### 1", "user###### 2", ("### 1", "### 2")),
        ("user###a", "assistant###a", ("user###a", "assistant###a")),
        ("", "", ("", "")),
    ],
)
def test_the_part_of_a_dialogue_that_differs(asked: str, cached: str, parts: tuple[str, str]) -> None:
    assert differing_part(asked, cached) == parts


AWKWARD = st.text(alphabet="ab|# \n", max_size=12)


@given(AWKWARD, AWKWARD, AWKWARD, AWKWARD)
def test_what_is_cut_is_equal_on_both_sides(before: str, asked: str, cached: str, behind: str) -> None:
    dialogues = [
        splice([Message("user", before), Message("user", last), Message("system", behind)])
        for last in (asked, cached)
    ]
    one, other = differing_part(*dialogues)
    assert one in dialogues[0]
    assert other in dialogues[1]
    assert len(dialogues[0]) - len(one) == len(dialogues[1]) - len(other)
    assert (one == other) is (asked == cached)
