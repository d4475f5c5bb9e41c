"""Each evaluation's rank, and what its threshold means."""

from collections.abc import Iterator
from typing import Any

import pytest

from modelcache.core import Cache
from modelcache.decision.factory import make_judge, open_confidence
from modelcache.decision.judge import Judge
from modelcache.embedding.e5 import E5Embedder
from modelcache.processor.post import first, random_one
from modelcache.processor.pre import make_question
from modelcache.records.dialogue import Message
from modelcache.records.entry import CachedAnswer, Candidate
from modelcache.settings import make_settings
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.similarity_evaluation.factory import get_evaluation
from modelcache.slots.guard import SlotGuard
from modelcache.testing.hash_embedder import NEAR
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.wire import assert_miss, break_method

QUESTION = make_question("m", {}, [Message("user", "q")], make_settings({}))


def candidate(similarity: float, fingerprint: str = "f", id_: int = 1, question: str = "q") -> Candidate:
    return Candidate(CachedAnswer(id_, "k", "p", fingerprint, question, "a", 0, None), similarity)


def accepts(judge: SimilarityEvaluation, asked: Candidate, threshold: float) -> bool:
    return judge.accepts(judge.rank(QUESTION, asked) / judge.highest, threshold)


def evaluation(**settings: Any) -> SimilarityEvaluation:
    return get_evaluation(make_settings(settings))


@pytest.mark.parametrize(
    ("settings", "similarity", "rank"),
    [
        ({"evaluation": "cosine"}, 0.9, 0.9),
        ({"evaluation": "cosine"}, -0.5, 0.0),
        ({"evaluation": "cosine"}, 1.0000001, 1.0),
        ({"evaluation": "distance"}, 1.0, 4.0),
        ({"evaluation": "distance"}, 0.9, 3.8),
        ({"evaluation": "distance"}, -1.0, 0.0),
        ({"evaluation": "distance", "distance_max": 2.0}, 0.5, 1.0),
        ({"evaluation": "distance", "distance_positive": True}, 0.9, 0.9),
        ({"evaluation": "exact_match"}, 1.0, 0.0),
    ],
)
def test_rank(settings: dict[str, Any], similarity: float, rank: float) -> None:
    assert evaluation(**settings).rank(QUESTION, candidate(similarity)) == pytest.approx(rank)


def test_an_equal_fingerprint_is_an_exact_match() -> None:
    assert evaluation(evaluation="exact_match").rank(QUESTION, candidate(0.1, QUESTION.fingerprint)) == 1.0


@pytest.mark.parametrize(
    "settings",
    [
        {"evaluation": "cosine"},
        {"evaluation": "distance"},
        {"evaluation": "distance", "distance_positive": True},
    ],
)
@pytest.mark.parametrize("cosine", [0.5, 0.9, 0.99])
def test_a_calibrated_cosine_means_the_same_under_every_evaluation(
    settings: dict[str, Any], cosine: float
) -> None:
    judge = evaluation(**settings)
    threshold = judge.threshold(cosine)
    assert accepts(judge, candidate(cosine + 1e-6), threshold)
    assert not accepts(judge, candidate(cosine - 1e-6), threshold)


def test_the_reference_threshold_of_the_distance_evaluation() -> None:
    judge = evaluation(evaluation="distance")
    assert accepts(judge, candidate(0.91), 0.95)
    assert not accepts(judge, candidate(0.89), 0.95)


def test_exact_match_ignores_the_threshold() -> None:
    assert not accepts(evaluation(evaluation="exact_match"), candidate(1.0), 0.0)


@pytest.mark.parametrize("name", ["cosine", "distance"])
def test_near_copies_hit_under_it(make_app: AppFactory, name: str) -> None:
    client = CacheClient(make_app(evaluation=name).test_client())
    client.insert(("q", "a"))
    assert client.query("q" + NEAR)["hit_type"] == "semantic"
    assert not client.query("something else")["cacheHit"]


def test_only_equal_questions_hit_under_exact_match(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(evaluation="exact_match")
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    # Nothing needs to be embedded or searched for that.
    break_method(monkeypatch, app, "embedder.embed")
    break_method(monkeypatch, app, "vectors.search")
    assert client.query("q")["hit_type"] == "exact"
    assert_miss(client.query("q" + NEAR, threshold=0))


def test_thresholds_for_short_and_long_texts(make_app: AppFactory) -> None:
    app = make_app(similarity_threshold=0.9, similarity_threshold_long=0.97, long_text_chars=20)
    client = CacheClient(app.test_client())
    long = "a question that is longer than twenty characters"
    client.insert(("q", "a"), (long, "b"))
    assert client.query("q" + NEAR)["cacheHit"]
    assert not client.query(long + NEAR)["cacheHit"]
    assert client.query(long + NEAR, threshold=0.9)["cacheHit"]


def test_an_embedder_brings_its_own_thresholds(cache: Cache) -> None:
    settings = cache.settings
    short = make_question("m", {}, [Message("user", "q")], settings)
    long = make_question("m", {}, [Message("user", "q" * (settings.long_text_chars + 1))], settings)
    assert (cache.lookup.threshold(short), cache.lookup.threshold(long)) == (0.9, 0.95)


def test_post_processing() -> None:
    candidates = [candidate(1 - number / 100, id_=number) for number in range(5)]
    assert first(candidates).entry.id == 0
    assert {random_one(candidates).entry.id for _ in range(500)} == set(range(5))


def test_random_one_answers_with_any_accepted_entry(make_app: AppFactory) -> None:
    client = CacheClient(make_app(post_process="random_one", top_k=2).test_client())
    client.insert(("q" + NEAR, "near"), ("q" + NEAR + NEAR, "nearer"), ("far away", "far"))
    answers = {client.query("q", threshold=0.5)["answer"] for _ in range(100)}
    assert answers == {"near", "nearer"}


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """Return a judge with the shipped models; nothing is embedded."""
    settings, embedder = make_settings({}), E5Embedder()
    embedder.open()
    confidence = open_confidence(settings, embedder)
    guard = SlotGuard.from_settings(settings)
    judge = make_judge(settings, embedder, get_evaluation(settings), guard, confidence, None)
    yield judge
    assert confidence is not None
    confidence.close()
    embedder.close()


def test_candidates_that_cannot_reach_the_threshold_need_no_judging(judge: Judge) -> None:
    found = [
        candidate(similarity, f"f{id_}", id_, f"user###other {id_}")
        for id_, similarity in enumerate((0.99, 0.97, 0.2, 0.96, 0.1))
    ]
    assert judge.worth_judging(QUESTION, found, 0.5) == 4
    assert judge.worth_judging(QUESTION, found[2:3], 0.5) == 0
    assert judge.worth_judging(QUESTION, found, 0.0) == 5


def test_the_lower_the_threshold_the_more_candidates_are_judged(judge: Judge) -> None:
    found = [
        candidate(1 - number / 25, f"f{number}", number, f"user###other {number}") for number in range(24)
    ]
    worth = [judge.worth_judging(QUESTION, found, threshold) for threshold in (0.1, 0.5, 0.95)]
    assert sorted(worth, reverse=True) == worth
    assert worth[0] > worth[2]


def test_only_the_nearest_that_no_rule_refuses_are_read(judge: Judge) -> None:
    question = make_question("m", {}, [Message("user", "Where is the pump sold?")], make_settings({}))
    texts = [
        "Where isn't the pump sold?",
        "Which shop sells the pump?",
        "Where do they sell the pump?",
        "Pump where?",
    ]
    found = [
        candidate(0.95 - number / 100, f"f{number}", number, f"user###{text}")
        for number, text in enumerate(texts)
    ]
    judged = judge.judge(question, found)
    assert [one.candidate.entry.id for one in judged] == [0, 1, 2]
    assert [bool(one.veto) for one in judged] == [True, False, False]


def test_the_surest_answers_though_another_is_nearer(judge: Judge) -> None:
    question = make_question("m", {}, [Message("user", "How do I sell my car?")], make_settings({}))
    found = [
        candidate(0.93, "f1", 1, "user###How do I sell my boat?"),
        candidate(0.92, "f2", 2, "user###How do I sell my car???"),
    ]
    verdict = judge.choose(question, judge.judge(question, found), 0.5)
    assert verdict.chosen is not None
    assert verdict.chosen.candidate.entry.id == 2
