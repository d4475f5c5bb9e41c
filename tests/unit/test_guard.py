"""A store that keeps failing is left alone for a while, and comes back by itself."""

import threading
from functools import partial
from time import monotonic

import pytest

from modelcache.errors import ScalarStoreError, StoreError, VectorStoreError
from modelcache.manager.guard import Guard, GuardedVectors
from modelcache.manager.patience import LEAST_SECONDS, one_request, progressed, time_left, waiting
from modelcache.manager.vector_data.proxy import VectorStoreProxy
from modelcache.testing.waiting import wait_until

FAILURES = 3
SECONDS = 0.2
LIMIT = 0.6


class Flaky:
    """A store whose method fails while told to, and counts its calls."""

    def __init__(self) -> None:
        self.fails = True
        self.calls = 0
        self.may_return = threading.Event()
        self.may_return.set()

    def limit_of_a_step(self) -> float:
        return time_left(LIMIT)

    def take(self, seconds: float) -> None:
        wait_until(partial(_is_past, monotonic() + seconds), "the end of a slow call")

    def take_steps(self, count: int) -> list[bool]:
        """Take a good part of the limit for each step; tell for each whether there was time left."""
        in_time = []
        for _ in range(count):
            self.take(LIMIT / 2)
            in_time.append(time_left(LIMIT) > LIMIT / 10)
            progressed()
        return in_time

    def ask(self, question: str) -> str:
        self.calls += 1
        self.may_return.wait()
        if self.fails:
            raise ScalarStoreError("down")
        if question == "bad":
            raise ValueError(question)
        return f"answer to {question}"


class Guarded:
    """The same behind a guard, method by method as the proxies of the stores have it."""

    def __init__(self, store: Flaky, guard: Guard) -> None:
        self.store = store
        self.guard = guard

    def limit_of_a_step(self) -> float:
        return self.guard.call(self.store.limit_of_a_step)

    def take(self, seconds: float) -> None:
        self.guard.call(self.store.take, seconds)

    def take_steps(self, count: int) -> list[bool]:
        return self.guard.call(self.store.take_steps, count=count)

    def ask(self, question: str) -> str:
        return self.guard.call(self.store.ask, question)


class FlakyVectors(VectorStoreProxy):
    """A vector store without a server: pinging fails, opening and saving do not."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def open(self) -> None:
        self.done.append("open")

    def close(self) -> None:
        self.done.append("close")

    def save(self) -> None:
        self.done.append("save")

    def ping(self) -> None:
        self.done.append("ping")
        raise VectorStoreError("down")


def _is_past(moment: float) -> bool:
    return monotonic() > moment


@pytest.fixture
def store() -> Flaky:
    return Flaky()


@pytest.fixture
def guarded(store: Flaky) -> Guarded:
    return Guarded(store, Guard(ScalarStoreError, FAILURES, SECONDS, LIMIT))


def fail(guarded: Guarded, times: int) -> None:
    for _ in range(times):
        with pytest.raises(StoreError):
            guarded.ask("q")


def answers(guarded: Guarded) -> bool:
    try:
        return guarded.ask("q") == "answer to q"
    except StoreError:
        return False


def test_a_healthy_store_is_passed_through(store: Flaky, guarded: Guarded) -> None:
    store.fails = False
    assert guarded.ask("q") == "answer to q"


def test_after_some_failures_in_a_row_it_is_not_tried_any_more(store: Flaky, guarded: Guarded) -> None:
    fail(guarded, 50)
    assert store.calls == FAILURES


def test_failures_with_success_between_do_not_count(store: Flaky, guarded: Guarded) -> None:
    for _ in range(5):
        store.fails = True
        fail(guarded, FAILURES - 1)
        store.fails = False
        assert answers(guarded)


def test_it_comes_back_by_itself(store: Flaky, guarded: Guarded) -> None:
    fail(guarded, FAILURES)
    store.fails = False
    wait_until(lambda: answers(guarded), "coming back")
    calls = store.calls
    assert all(answers(guarded) for _ in range(20))
    assert store.calls == calls + 20


def test_while_one_call_tries_the_others_fail_at_once(store: Flaky, guarded: Guarded) -> None:
    fail(guarded, FAILURES)
    store.may_return.clear()
    trials: list[threading.Thread] = []

    def try_once_more() -> bool:
        if store.calls == FAILURES:
            thread = threading.Thread(target=answers, args=(guarded,))
            trials.append(thread)
            thread.start()
            thread.join(0.01)
        return store.calls > FAILURES

    wait_until(try_once_more, "a trial")
    fail(guarded, 10)
    assert store.calls == FAILURES + 1
    store.may_return.set()
    for thread in trials:
        thread.join()


def test_a_failed_trial_leaves_it_alone_again(store: Flaky, guarded: Guarded) -> None:
    fail(guarded, FAILURES)

    def has_tried_again() -> bool:
        fail(guarded, 1)
        return store.calls > FAILURES

    wait_until(has_tried_again, "a trial")
    fail(guarded, 10)
    assert store.calls == FAILURES + 1


def test_other_errors_are_none_of_its_business(store: Flaky, guarded: Guarded) -> None:
    store.fails = False
    for _ in range(2 * FAILURES):
        with pytest.raises(ValueError, match="bad"):
            guarded.ask("bad")
    assert answers(guarded)


def test_opening_saving_and_closing_are_done_all_the_same_and_do_not_tell_that_the_store_is_back() -> None:
    vectors = FlakyVectors()
    guarded = GuardedVectors(vectors, Guard(VectorStoreError, FAILURES, 10 * LIMIT, LIMIT))
    for _ in range(FAILURES - 1):
        with pytest.raises(VectorStoreError, match="down"):
            guarded.ping()
    guarded.open()
    guarded.save()
    with pytest.raises(VectorStoreError, match="down"):
        guarded.ping()
    with pytest.raises(VectorStoreError, match="ping was not tried"):
        guarded.ping()
    guarded.save()
    guarded.close()
    assert vectors.done == [*["ping"] * (FAILURES - 1), "open", "save", "ping", "save", "close"]


def test_a_request_does_not_wait_again_for_a_store_that_it_has_waited_for(
    store: Flaky, guarded: Guarded
) -> None:
    store.fails = False
    with one_request():
        assert answers(guarded)
        guarded.take(LIMIT)
        fail(guarded, 10)
    assert store.calls == 1
    assert answers(guarded)


def test_the_limit_shrinks_while_a_request_waits_and_each_request_has_its_own(guarded: Guarded) -> None:
    assert guarded.limit_of_a_step() == LIMIT
    with one_request():
        assert guarded.limit_of_a_step() <= LIMIT
        guarded.take(LIMIT / 2)
        assert 0 < guarded.limit_of_a_step() < LIMIT / 2
    with one_request():
        assert guarded.limit_of_a_step() > LIMIT / 2


def test_long_work_has_the_limit_for_each_of_its_steps(guarded: Guarded) -> None:
    with one_request():
        assert guarded.take_steps(3) == [True] * 3


def test_another_store_is_waited_for_all_the_same(guarded: Guarded) -> None:
    other_store = Flaky()
    other_store.fails = False
    other = Guarded(other_store, Guard(VectorStoreError, FAILURES, SECONDS, LIMIT))
    with one_request():
        with waiting(ScalarStoreError, LIMIT):
            wait_until(lambda: time_left(LIMIT) <= LEAST_SECONDS, "no time being left")
        assert not answers(guarded)
        assert answers(other)
