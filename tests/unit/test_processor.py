"""What makes two questions equal, comparable, or neither."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcache.processor.pre import CONTEXT_TURNS, make_question
from modelcache.records.dialogue import Message, normalise, splice, turns_in
from modelcache.records.question import Question
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


@pytest.mark.parametrize("conversation", ["meaning", "exact"])
def test_the_last_turn_is_compared_and_the_system_prompt_must_be_equal(conversation: str) -> None:
    def asked(*turns: str | tuple[str, str]) -> Question:
        return question(*turns, conversation=conversation)

    base = asked(("system", "be brief"), "a word", ("assistant", "hi"), "why?")
    assert base.text == "why?"
    same = asked(("system", " be brief"), "a word", ("assistant", "hi\n"), "how come?")
    assert same.partition == base.partition
    for other in (
        asked("a word", ("assistant", "hi"), "why?"),
        asked(("system", "be long"), "a word", ("assistant", "hi"), "why?"),
        asked(("system", "be brief"), "a word", ("assistant", "hi"), ("tool", "why?")),
        asked(("system", "be brief"), "a word", "hi", "why?"),
        asked(("system", "be brief"), "a word", ("assistant", "hi"), "a word", ("assistant", "hi"), "why?"),
        asked(("system", "be brief"), "why?"),
    ):
        assert other.partition != base.partition


def test_earlier_turns_must_be_equal_where_the_settings_say_so() -> None:
    base = question("a word", ("assistant", "hi"), "why?", conversation="exact")
    assert base.context == ()
    assert question("hallo", ("assistant", "hi"), "why?", conversation="exact").partition != base.partition


def test_earlier_turns_are_compared_by_meaning() -> None:
    base = question(("system", "s"), " a word", ("assistant", "hi"), "why?")
    assert base.context == ("a word", "hi")
    other = question(("system", "s"), "good day", ("assistant", "welcome"), "why?")
    assert other.partition == base.partition
    assert other.fingerprint != base.fingerprint
    alone = question(("system", "s"), "why?")
    assert base.without_context == alone.partition != base.partition
    assert (alone.context, alone.without_context) == ((), "")


def test_a_question_without_earlier_turns_is_in_one_partition_whatever_the_setting() -> None:
    partitions = {
        question(("system", "s"), "why?", conversation=conversation).partition
        for conversation in ("meaning", "exact", "splice")
    }
    assert len(partitions) == 1


@pytest.mark.parametrize(
    ("turn", "settings"),
    [
        (("user", "y" * 101), {"long_text_chars": 100}),
        (("user", "y" * 60), {"context_chars": 50}),
        (("assistant", " "), {}),
    ],
)
def test_an_earlier_turn_that_is_not_embedded_is_compared_when_the_entry_is_judged(
    turn: tuple[str, str], settings: dict[str, Any]
) -> None:
    base = question("a word", turn, "why?", **settings)
    assert base.context == ("a word",)
    assert base.turns == (("user", "a word"), turn, ("user", "why?"))
    assert question("good day", turn, "why?", **settings).partition == base.partition
    assert question("a word", (turn[0], turn[1] + "!"), "why?", **settings).partition == base.partition


def test_a_tools_result_must_be_equal() -> None:
    base = question("a word", ("tool", "result"), "why?")
    assert base.context == ("a word",)
    assert question("a word", ("tool", "result!"), "why?").partition != base.partition


def test_greetings_and_thanks_count_for_nothing() -> None:
    base = question("a word", ("assistant", "hm"), "why?")
    polite = question("Hello!", ("assistant", "Hi!"), "a word", ("assistant", "hm"), "thanks", "why?")
    assert (polite.partition, polite.turns) == (base.partition, base.turns)
    assert polite.fingerprint != base.fingerprint
    assert question("Hello!", ("assistant", "Hi!"), "why?").partition == question("why?").partition


def test_the_latest_turns_are_compared_by_meaning_as_far_as_there_is_room() -> None:
    turns = [("user", f"{number:02}" * 5) for number in range(12)]
    assert question(*turns, "why?", context_chars=30).context == tuple(text for _, text in turns[-3:])
    assert question(*turns, "why?").context == tuple(text for _, text in turns[-CONTEXT_TURNS:])
    assert question(*turns, "why?", context_chars=0).context == ()


AWKWARD = st.text(alphabet="ab|#", max_size=12)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), AWKWARD), min_size=1, max_size=4))
def test_a_spliced_dialogue_is_cut_into_its_turns_or_into_more(turns: list[tuple[str, str]]) -> None:
    cut = turns_in(splice([Message(*turn) for turn in turns]))
    assert cut == turns or len(cut) > len(turns)


def test_splicing_moves_the_system_prompt_into_the_text() -> None:
    spliced = question(("system", "be brief"), "why?", system_prompt="splice")
    assert spliced.text == "system###be brief|||user###why?"
    assert spliced.partition == question("why?", system_prompt="splice").partition


def test_splicing_moves_earlier_turns_into_the_text() -> None:
    spliced = question(("system", "s"), "a word", ("assistant", "hi"), "why?", conversation="splice")
    assert spliced.text == "user###a word|||assistant###hi|||user###why?"
    assert spliced.partition == question(("system", "s"), "why?", conversation="splice").partition


def test_equal_dialogues_are_equal_whatever_the_settings() -> None:
    turns = (("system", "s"), "a word", ("assistant", "hi"), "why?")
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
