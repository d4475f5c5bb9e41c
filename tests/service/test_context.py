"""The same last turn in another conversation is another question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelcache.__main__ import main
from modelcache.app import create_app, get_service
from modelcache.core import Cache
from modelcache.manager.names import collection_name
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.conftest import AppFactory
from tests.support.client import CacheClient, Json, user
from tests.support.running import RunningService
from tests.support.wire import (
    TOOL_CALLS,
    assert_miss,
    assistant,
    break_method,
    client_of,
    is_hit,
    system,
)

PARIS = [*user("tell me about Paris"), *assistant("a city in France")]
ROME = [*user("tell me about Rome"), *assistant("a city in Italy")]
REPHRASED = [*user("tell me about Paris" + NEAR), *assistant("a city in France")]
# Questions that stand on their own, as the one after them does.
RIVERS = [*user("How many rivers flow through Germany?"), *assistant("about 7,000")]
# Stands on its own, as a question and by the tables.
WHOLE = "How many bridges cross the Thames in central London?"


# Inside one conversation.


def test_an_equal_dialogue_is_an_exact_hit(client: CacheClient) -> None:
    client.insert((PARIS + user("why?"), "a"))
    reply = client.query(PARIS + user("why?"))
    assert (reply["answer"], reply["hit_type"], reply["similarity"]) == ("a", "exact", 1.0)


@pytest.mark.parametrize("earlier", [PARIS, REPHRASED])
@pytest.mark.parametrize("last", ["how big is it?", "how big is it?" + NEAR])
def test_rephrased_turns_hit(client: CacheClient, earlier: list[Json], last: str) -> None:
    client.insert((PARIS + user("how big is it?"), "105 km2"))
    reply = client.query(earlier + user(last))
    assert reply["answer"] == "105 km2"
    assert reply["veto"] == ""


def test_the_similarity_is_that_of_the_last_turns(client: CacheClient) -> None:
    client.insert((PARIS + user("why?"), "a"))
    assert client.query(REPHRASED + user("why?"))["similarity"] == 1.0
    assert client.query(PARIS + user("why?" + NEAR))["similarity"] == pytest.approx(0.958, abs=0.001)


def test_the_same_last_turn_in_another_conversation_misses(client: CacheClient) -> None:
    client.insert((PARIS + user("why?"), "a"))
    reply = client.query(ROME + user("why?"))
    assert_miss(reply)
    assert (reply["similarity"], reply["veto"]) == (1.0, "context")
    assert_miss(client.query(ROME + user("why?"), threshold=0))


def test_one_turn_that_differs_is_enough(client: CacheClient) -> None:
    long = [*PARIS, *user("and its rivers?"), *assistant("the Seine")]
    client.insert((long + user("why?"), "a"))
    for place in range(len(long)):
        other = [dict(turn) for turn in long]
        other[place]["content"] = "something else"
        assert client.query(other + user("why?"))["veto"] == "context"
    assert is_hit(client.query(long + user("why?" + NEAR)))


HELLO = [*user("Hello!"), *assistant("Hi there! How can I help you today?")]
THANKS = [*user("thank you"), *assistant("You're welcome!")]
NI_HAO = [*user("你好"), *assistant("您好！请问有什么可以帮您？")]


@pytest.mark.parametrize("polite", [HELLO, HELLO[:1], NI_HAO, [*HELLO, *NI_HAO]])
@pytest.mark.parametrize("last", ["how big is it?", "how big is it?" + NEAR])
def test_greetings_and_thanks_make_no_other_conversation(
    client: CacheClient, polite: list[Json], last: str
) -> None:
    client.insert((PARIS + user("how big is it?"), "105 km2"))
    assert client.query(polite + PARIS + THANKS + user(last))["answer"] == "105 km2"
    assert_miss(client.query(polite + ROME + THANKS + user(last)))
    client.insert((polite + user("where is the Louvre?"), "in Paris"))
    assert client.query(user("where is the Louvre?" + NEAR))["answer"] == "in Paris"


@pytest.mark.parametrize(
    "said",
    [
        HELLO[:1] + assistant("Hi! Your number is 4711."),
        HELLO[:1] + assistant("Hi! Shall we speak about the red one or about the blue one?"),
        user("Hello, I am Bob") + HELLO[1:],
        assistant("Hello!"),
    ],
)
def test_a_greeting_that_says_more_is_a_turn(client: CacheClient, said: list[Json]) -> None:
    client.insert((PARIS + user("why?"), "a"))
    assert_miss(client.query(said + PARIS + user("why?"), threshold=0))


def test_long_turns_that_are_equal_are_no_difference(client: CacheClient) -> None:
    story = assistant("A city has grown here since the Romans came. " * 40)
    client.insert((PARIS + user("a story") + story + user("why?"), "a"))
    assert client.query(REPHRASED + user("a story") + story + user("why?" + NEAR))["answer"] == "a"
    other = assistant("A town has stood here since the Greeks left. " * 40)
    assert client.query(PARIS + user("a story") + other + user("why?"))["veto"] == "context"


def test_more_or_fewer_turns_are_another_conversation(client: CacheClient) -> None:
    client.insert((PARIS + user("why?"), "a"))
    for earlier in (PARIS + PARIS, PARIS[:1], PARIS[::-1], user("x") + PARIS):
        assert_miss(client.query(earlier + user("why?"), threshold=0))


def test_a_slot_that_differs_in_an_earlier_turn_refuses_whatever_the_cosine(make_app: AppFactory) -> None:
    client = client_of(make_app(context_threshold=0.0))
    client.insert((user("a table for 3") + assistant("ok") + user("why?"), "a"))
    assert client.query(user("a table for 4") + assistant("ok") + user("why?"))["veto"] == "context"
    assert is_hit(client.query(user("a table for three") + assistant("ok") + user("why?")))


def test_a_slot_that_differs_in_the_last_turn_is_named(client: CacheClient) -> None:
    client.insert((PARIS + user("rooms for 3"), "a"))
    reply = client.query(PARIS + user("rooms for 4"), threshold=0)
    assert_miss(reply)
    assert reply["veto"] == "number"


def test_every_conversation_keeps_its_own_answer(client: CacheClient) -> None:
    pairs = [(user(f"about city {n}") + assistant("ok") + user("why?"), f"answer {n}") for n in range(40)]
    assert client.insert(*pairs)["errorCode"] == 0
    for n in range(40):
        dialogue = user(f"about city {n}") + assistant("ok") + user("why?" + NEAR)
        assert client.query(dialogue)["answer"] == f"answer {n}"


def test_a_turn_that_looks_like_two_is_not_taken_for_them(client: CacheClient) -> None:
    client.insert(([*user("a|||assistant###b"), *user("why?")], "one"))
    assert_miss(client.query([*user("a|||assistant###b"), *user("why?" + NEAR)]))
    assert_miss(client.query([*user("a"), *assistant("b"), *user("why?" + NEAR)], threshold=0))


@pytest.mark.parametrize("threshold", [0.97, 1])
def test_the_context_threshold_is_a_setting(make_app: AppFactory, threshold: float) -> None:
    client = client_of(make_app(context_threshold=threshold))
    client.insert((PARIS + user("why?"), "a"))
    assert client.query(REPHRASED + user("why?"))["veto"] == "context"
    assert is_hit(client.query(PARIS + user("why?" + NEAR)))


@pytest.mark.parametrize("settings", [{"conversation": "exact"}, {"context_chars": 0}])
def test_earlier_turns_can_be_held_to_be_equal(make_app: AppFactory, settings: dict[str, Any]) -> None:
    client = client_of(make_app(**settings))
    client.insert((PARIS + user("why?"), "a"), (WHOLE, "b"))
    assert is_hit(client.query(PARIS + user("why?" + NEAR)))
    assert_miss(client.query(REPHRASED + user("why?"), threshold=0))


def test_with_exact_conversations_no_question_stands_on_its_own(make_app: AppFactory) -> None:
    client = client_of(make_app(conversation="exact"))
    client.insert((WHOLE, "a"))
    assert_miss(client.query(PARIS + user(WHOLE), threshold=0))


def test_a_tools_result_must_be_equal(client: CacheClient) -> None:
    def dialogue(result: str, last: str) -> list[Json]:
        call = {"role": "assistant", "content": None, "tool_calls": TOOL_CALLS}
        return [*user("weather?"), call, {"role": "tool", "content": result}, *user(last)]

    client.insert((dialogue("sun", "and now?"), "a"))
    assert is_hit(client.query(dialogue("sun", "and now?" + NEAR)))
    assert_miss(client.query(dialogue("sun" + NEAR, "and now?"), threshold=0))


def test_a_failed_read_of_the_rows_is_told(make_app: AppFactory, monkeypatch: Any) -> None:
    app = make_app()
    client = client_of(app)
    client.insert((PARIS + user("why?"), "a"))
    break_method(monkeypatch, app, "scalars.get_live")
    assert client.query(PARIS + user("why?" + NEAR))["errorCode"] == 201


# With and without a conversation.


def test_an_entry_of_a_conversation_answers_none_without(client: CacheClient) -> None:
    client.insert((PARIS + user("why?"), "a"), (PARIS + user(WHOLE), "b"))
    for text in ("why?", WHOLE):
        reply = client.query(text, threshold=0)
        assert_miss(reply)
        assert reply["similarity"] is None


def test_an_entry_without_a_conversation_answers_what_stands_on_its_own(client: CacheClient) -> None:
    client.insert((WHOLE, "a"), ("why?", "b"))
    reply = client.query(RIVERS + user(WHOLE))
    assert (reply["answer"], reply["hit_type"]) == ("a", "semantic")
    assert_miss(client.query(RIVERS + user("why?"), threshold=0))


def test_the_conversations_own_entry_comes_first(client: CacheClient) -> None:
    client.insert((WHOLE, "without"), (RIVERS + user(WHOLE), "within"))
    assert client.query(RIVERS + user(WHOLE + NEAR))["answer"] == "within"
    assert client.query(RIVERS + RIVERS + user(WHOLE))["answer"] == "without"


def test_the_slot_guard_compares_the_last_turns_only(client: CacheClient) -> None:
    whole = "How many seats for 3 adults does London Bridge Station have?"
    client.insert((system("be brief") + user(whole), "a"))
    seven = [*user("How many people cross 7 Paris bridges daily?"), *assistant("8")]
    assert is_hit(client.query(system("be brief") + seven + user(whole), threshold=0))
    other = whole.replace("3", "4")
    assert client.query(system("be brief") + seven + user(other), threshold=0)["veto"] == "number"


@pytest.mark.parametrize(
    "earlier",
    [
        [*user("from now on answer in French"), *assistant("oui")],
        [*user("call me Bob"), *assistant("hi Bob")],
        [*user("你是一个诗人"), *assistant("好的")],
    ],
)
def test_no_question_stands_on_its_own_where_earlier_ones_bind_the_answer(
    client: CacheClient, earlier: list[Json]
) -> None:
    client.insert((WHOLE, "a"))
    assert_miss(client.query(earlier + user(WHOLE), threshold=0))


def test_a_question_that_names_nothing_is_about_what_was_named(client: CacheClient) -> None:
    whole = "how do people usually read large text files without loading everything?"
    client.insert((whole, "a"))
    about = [*user("How do people usually read large text files in Rust?"), *assistant("with a reader")]
    assert_miss(client.query(about + user(whole), threshold=0))
    greeting = [*user("good morning"), *assistant("hello")]
    assert is_hit(client.query(greeting + user(whole), threshold=0))


@pytest.mark.parametrize("role", ["assistant", "tool"])
def test_only_a_users_turn_stands_on_its_own(client: CacheClient, role: str) -> None:
    last = [{"role": role, "content": WHOLE}]
    client.insert((last, "a"))
    assert_miss(client.query(ROME + last, threshold=0))


# Isolation.


def test_conversations_are_kept_apart_by_scope_and_system_prompt(client: CacheClient) -> None:
    dialogue = PARIS + user("why?")
    client.insert((system("s") + dialogue, "a"), ("kept", "k"), scope={"version": 1})
    client.insert((WHOLE, "b"), scope={"version": 1})
    assert is_hit(client.query(system("s") + dialogue, scope={"version": 1}))
    for prompt, model, version in (("s", "m2", 1), ("s", "m", 2), ("t", "m", 1)):
        for last in ("why?" + NEAR, WHOLE):
            reply = client.query(
                system(prompt) + PARIS + user(last), model=model, scope={"version": version}, threshold=0
            )
            assert_miss(reply)
            assert reply["similarity"] is None


# Rows, vectors and restarts.

MIXED: list[tuple[str | list[Json], str]] = [
    (PARIS + user("why?"), "Paris"),
    (ROME + user("why?"), "Rome"),
    (PARIS + ROME + user("why?"), "both"),
    ("why?", "nothing"),
    (PARIS + user("x" * 3000), "long"),
    (user("x" * 300) + assistant("ok") + user("why?"), "long before"),
]
REASKED: list[tuple[str | list[Json], str]] = [
    (REPHRASED + user("why?" + NEAR), "Paris"),
    (ROME + user("why?" + NEAR), "Rome"),
    (PARIS + ROME + user("why?" + NEAR), "both"),
    ("why?" + NEAR, "nothing"),
    (PARIS + user("x" * 3000), "long"),
    (user("x" * 300) + assistant("ok" + NEAR) + user("why?" + NEAR), "long before"),
]


def assert_all_answer(client: CacheClient) -> None:
    for dialogue, answer in REASKED:
        assert client.query(dialogue)["answer"] == answer


def test_a_batch_of_mixed_conversations_is_stored_at_once(client: CacheClient) -> None:
    assert len(client.insert(*MIXED)["ids"]) == len(MIXED)
    assert_all_answer(client)


def test_everything_is_found_again_after_a_restart_and_a_rebuild(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def assert_all_in_new_app() -> None:
        app = create_app({"data_dir": tmp_path}, embedder=HashEmbedder())
        assert_all_answer(CacheClient(app.test_client()))
        get_service(app).close()

    app = create_app({"data_dir": tmp_path}, embedder=HashEmbedder())
    CacheClient(app.test_client()).insert(*MIXED)
    get_service(app).close()
    assert_all_in_new_app()

    (tmp_path / "faiss" / f"{collection_name('m', HashEmbedder.name)}.rows").unlink()
    assert_all_in_new_app()

    monkeypatch.setenv("MODELCACHE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("modelcache.cli.stores.get_embedder", lambda settings: HashEmbedder())
    assert main(["--profile", "demo", "rebuild", "--model", "m"]) == 0
    assert_all_in_new_app()


def test_an_entry_removed_meanwhile_is_left_out(cache: Cache, client: CacheClient) -> None:
    [id_] = client.insert((PARIS + user("why?"), "a"))["ids"]
    read = cache.data_manager.scalars.get_live

    def delete_first(ids: list[int], now: float) -> Any:
        cache.data_manager.scalars.get_live = read  # type: ignore[method-assign]
        client.remove("delete_by_id", id_list=[id_])
        return read(ids, now)

    cache.data_manager.scalars.get_live = delete_first  # type: ignore[method-assign, assignment]
    assert_miss(client.query(PARIS + user("why?" + NEAR)))


# Real meaning: the demo as it ships.


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("demo"), "flask4modelcache_demo.py").wait_ready()
    yield running
    assert running.terminate() == 0


ROUTER = [
    *user("How do I reset my router?"),
    *assistant("Hold the small button at the back for ten seconds."),
]
ROUTER_REPHRASED = [*user("How can I reset my router?"), *ROUTER[1:]]
PHONE = [*user("How do I reset my phone?"), *assistant("Open the settings and choose to erase it.")]
CHINESE = [*user("怎么重置路由器？"), *assistant("按住背面的小按钮十秒钟。")]
CHINESE_REPHRASED = [*user("如何重置路由器？"), *CHINESE[1:]]
CHINESE_PHONE = [*user("怎么重置手机？"), *assistant("打开设置，选择恢复出厂设置。")]
BRIDGES = "How many bridges cross the Thames in London?"


@pytest.mark.parametrize(
    ("cached", "rephrased", "elsewhere"),
    [
        (
            (ROUTER, "Will I lose my settings?"),
            (ROUTER_REPHRASED, "Will my settings be lost?"),
            (PHONE, "Will I lose my settings?"),
        ),
        (
            (CHINESE, "我的设置会丢失吗？"),
            (CHINESE_REPHRASED, "会丢失我的设置吗？"),
            (CHINESE_PHONE, "我的设置会丢失吗？"),
        ),
        ((ROUTER, "why?"), (ROUTER_REPHRASED, "why?"), (PHONE, "why?")),
        ((CHINESE, "为什么？"), (CHINESE_REPHRASED, "为什么?"), (CHINESE_PHONE, "为什么？")),
    ],
)
@pytest.mark.process
def test_a_rephrased_conversation_hits_and_another_one_misses(
    service: RunningService,
    cached: tuple[list[Json], str],
    rephrased: tuple[list[Json], str],
    elsewhere: tuple[list[Json], str],
) -> None:
    (earlier, last), model = cached, cached[1]
    ask = asker(service, model)
    pair = {"query": earlier + user(last), "answer": "a"}
    service.post({"type": "insert", "scope": {"model": model}, "chat_info": [pair]})
    for turns in (earlier, rephrased[0]):
        for text in (last, rephrased[1]):
            reply = ask(turns + user(text))
            assert is_hit(reply), (turns, text, reply)
    for text in (last, rephrased[1]):
        assert_miss(ask(elsewhere[0] + user(text)))
        assert_miss(ask(user(text)))
    assert ask(elsewhere[0] + user(last))["veto"] == "context"


LENSES = user("How much do progressive lenses cost with your frames?")
LENSES_REPHRASED = user("What's the price of progressive lenses in one of your frames?")
PRICES = (
    "A pair of progressive lenses starts at 189 euros and goes up to 890 euros, frame and eye test included."
)
LAST = "How long until they are ready?"


def ask_after(service: RunningService, first: list[Json], reply: str, last: str = LAST) -> Json:
    reply_of: Json = asker(service, "lenses")(first + assistant(reply) + user(last))
    return reply_of


@pytest.mark.process
def test_a_question_that_got_the_same_reply_may_be_put_in_other_words(service: RunningService) -> None:
    pair = {"query": LENSES + assistant(PRICES) + user(LAST), "answer": "a week"}
    service.post({"type": "insert", "scope": {"model": "lenses"}, "chat_info": [pair]})
    assert ask_after(service, LENSES_REPHRASED, PRICES)["answer"] == "a week"
    # Another reply, or one that may follow anything, tells nothing.
    for reply in (PRICES.replace("A pair", "One pair"), "From 189 euros on."):
        assert ask_after(service, LENSES_REPHRASED, reply)["veto"] == "context"
    # A slot that differs refuses whatever was replied, and so does a question about something else.
    for first in ("How much do reading lenses cost with 2 of your frames?", "Do you have sunglasses?"):
        dialogue = (
            user("How much do progressive lenses cost with 3 of your frames?")
            + assistant(PRICES)
            + user(LAST)
        )
        pair = {"query": dialogue, "answer": "b"}
        service.post({"type": "insert", "scope": {"model": "lenses"}, "chat_info": [pair]})
        assert ask_after(service, user(first), PRICES)["veto"] == "context"


@pytest.mark.process
def test_the_odds_are_higher_inside_the_same_conversation(service: RunningService) -> None:
    rephrased = "When will they be ready?"
    pairs = [
        {"query": LENSES + assistant(PRICES) + user(LAST), "answer": "a"},
        {"query": user(LAST), "answer": "b"},
    ]
    service.post({"type": "insert", "scope": {"model": "lenses"}, "chat_info": pairs})
    inside = ask_after(service, LENSES, PRICES, rephrased)
    outside = asker(service, "lenses")(user(rephrased))
    assert inside["similarity"] == pytest.approx(outside["similarity"], abs=1e-4)
    assert 0 < outside["confidence"] < inside["confidence"] < 1


@pytest.mark.process
def test_what_was_cached_without_a_conversation_answers_questions_that_stand_on_their_own(
    service: RunningService,
) -> None:
    service.insert([(BRIDGES, "35"), ("why?", "b"), ("怎么重置手机？", "c")], model="alone")
    ask = asker(service, "alone")
    router = [*user("How do I reset a router to factory settings?"), *ROUTER[1:]]
    chinese = [*user("路由器怎么恢复出厂设置？"), *CHINESE[1:]]
    for earlier in (router, chinese, router + chinese):
        for text in (BRIDGES, "How many bridges go across the Thames in London?"):
            assert ask(earlier + user(text))["answer"] == "35"
        assert_miss(ask(earlier + user("why?")))
        assert_miss(ask(earlier + user("怎么重置手机？")))


def asker(service: RunningService, model: str) -> Any:
    """Return what asks the service in a model of the test's own."""
    return lambda dialogue: service.post({"type": "query", "scope": {"model": model}, "query": dialogue})
