"""Few searches at a time, and none that waits for ever."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelcache import admission
from modelcache.admission import Admission
from modelcache.app import get_service
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.wire import client_of, is_hit

THREADS = 8


def test_no_more_than_the_limit_are_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE_SECONDS", 60)
    admitting, lock, inside, most = Admission(2), threading.Lock(), 0, 0

    def take() -> None:
        nonlocal inside, most
        for _ in range(50):
            with admitting.admitted():
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1

    in_threads(take)
    assert 0 < most <= 2
    assert inside == 0


def test_a_turn_is_given_back_when_what_is_done_in_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE_SECONDS", 60)
    admitting = Admission(1)
    for _ in range(3):
        with pytest.raises(KeyError), admitting.admitted():
            raise KeyError


def test_one_that_takes_long_holds_up_no_other() -> None:
    admitting, done = Admission(1), threading.Event()
    with ThreadPoolExecutor(THREADS) as pool, admitting.admitted():
        for future in [pool.submit(lambda: run(admitting, done.set)) for _ in range(THREADS)]:
            future.result(timeout=60)
        assert done.is_set()
    # What was taken without waiting is not given back twice.
    with admitting.admitted():
        pass


def test_a_query_is_answered_while_another_one_searches_for_long(make_app: AppFactory) -> None:
    app = make_app()
    client = client_of(app)
    client.insert(("how tall is the tower?", "a"))
    with get_service(app).cache.lookup._admission.admitted():
        assert is_hit(client.query("how tall is the tower?" + NEAR))


def run(admitting: Admission, what: Callable[[], None]) -> None:
    with admitting.admitted():
        what()


def in_threads(what: Callable[[], None]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(what) for _ in range(THREADS)]:
            future.result(timeout=60)
