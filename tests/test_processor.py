"""What makes two questions equal, comparable, or neither."""

from typing import Any

import pytest

from modelcache.processor.pre import Message, Question, make_question, normalise
from modelcache.settings import make_settings


def question(*turns: str | tuple[str, str], scope: dict[str, Any] | None = None, **settings: Any) -> Question:
    """Make a question from user texts or (role, text) pairs."""
    messages = [Message("user", turn) if isinstance(turn, str) else Message(*turn) for turn in turns]
    return make_question("m", scope or {}, messages, make_settings(settings))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("  你是谁?\n", "你是谁?"),
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_what_never_changes_a_question_is_folded(one: str, other: str) -> None:
    assert question(one).fingerprint == question(other).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("polish the table", "Polish the table"),
        ("2⁵", "25"),
        ("x  = 1", "x = 1"),
        ("a\n  b", "a\nb"),
        ("你是谁?", "你是谁？"),
        ("a|||user###b", "a"),
    ],
)
def test_what_may_change_a_question_is_kept(one: str, other: str) -> None:
    assert question(one).fingerprint != question(other).fingerprint


def test_folding_twice_changes_nothing_more() -> None:
    text = " a\r\r\nb\u0301 "
    assert normalise(normalise(text)) == normalise(text)


def test_a_text_cannot_imitate_another_dialogue() -> None:
    assert (
        question("a", ("assistant", "b"), "c").fingerprint != question("a|||assistant###b", "c").fingerprint
    )
    assert question(("user", "a")).fingerprint != question(("tool", "a")).fingerprint


def test_the_last_turn_is_compared_and_the_rest_must_be_equal() -> None:
    base = question(("system", "be brief"), "hello", ("assistant", "hi"), "why?")
    assert base.text == "why?"
    same = question(("system", " be brief"), "hello", ("assistant", "hi\n"), "how come?")
    assert same.partition == base.partition
    for other in (
        question("hello", ("assistant", "hi"), "why?"),
        question(("system", "be long"), "hello", ("assistant", "hi"), "why?"),
        question(("system", "be brief"), "hallo", ("assistant", "hi"), "why?"),
        question(("system", "be brief"), "hello", ("assistant", "hi"), ("tool", "why?")),
        question(("system", "be brief"), "why?"),
    ):
        assert other.partition != base.partition


def test_splicing_moves_the_system_prompt_into_the_text() -> None:
    spliced = question(("system", "be brief"), "why?", system_prompt="splice")
    assert spliced.text == "system###be brief|||user###why?"
    assert spliced.partition == question("why?", system_prompt="splice").partition


def test_splicing_moves_earlier_turns_into_the_text() -> None:
    spliced = question(("system", "s"), "hello", ("assistant", "hi"), "why?", conversation="splice")
    assert spliced.text == "user###hello|||assistant###hi|||user###why?"
    assert spliced.partition == question(("system", "s"), "why?", conversation="splice").partition


def test_equal_dialogues_are_equal_whatever_the_settings() -> None:
    turns = (("system", "s"), "hello", ("assistant", "hi"), "why?")
    spliced = question(*turns, system_prompt="splice", conversation="splice")
    assert spliced.fingerprint == question(*turns).fingerprint


def test_the_shown_dialogue_holds_every_message() -> None:
    shown = question(("system", "s"), "你好", ("assistant", "hi"), "why?").dialogue
    assert shown == "system###s|||user###你好|||assistant###hi|||user###why?"


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"t": 1}, {"t": 1.0}, True),
        ({"t": 0.0}, {"t": -0.0}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"t": 1}, {"t": True}, False),
        ({"t": 1}, {"t": "1"}, False),
        ({"t": 1}, {}, False),
        ({"t": 1}, {"T": 1}, False),
        ({"t": 0.1}, {"t": 0.10000000000000002}, False),
    ],
)
def test_scopes_must_be_equal(one: dict[str, Any], other: dict[str, Any], equal: bool) -> None:
    first, second = question("q", scope=one), question("q", scope=other)
    assert (first.partition == second.partition) is equal
    assert (first.fingerprint == second.fingerprint) is equal


def test_a_scope_key_is_no_model() -> None:
    settings = make_settings({})
    message = [Message("user", "q")]
    one = make_question("m", {"model2": "x"}, message, settings)
    assert one.model_key == make_question("m", {}, message, settings).model_key
    assert one.partition != make_question("m", {}, message, settings).partition
