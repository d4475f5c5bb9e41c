"""The cross-encoder that may have the last word."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from modelcache.app import create_app, get_service
from modelcache.decision.rerank import Reranker
from modelcache.embedding.base import usable_cores
from modelcache.errors import ConfigError
from modelcache.testing.hash_embedder import HashEmbedder
from tests.conftest import AppFactory
from tests.support.client import CacheClient, user
from tests.support.wire import assert_miss, assistant, client_of, is_hit, system

pytestmark = pytest.mark.packages

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "asked", "plain", "bad", "fair", "good"]
WIDTH = 16
SURE = 60_000.0
# The logit of a pair that has the word in it; 0 for one that has none of them.
LOGITS = {"bad": -6.0, "fair": 2.0, "good": 6.0}


def write_scorer(
    folder: Path,
    logits: Mapping[str, float] = LOGITS,
    labels: int = 1,
    names: Mapping[int, str] | None = None,
) -> Path:
    """Write a BERT that scores a pair by its words.

    Each word has an axis of its own; attention is even, so that the first token's state is the mean of all
    words; what the pooler passes on of an axis decides the logit. With two labels the first has the
    negated logit.
    """
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=WIDTH,
        max_position_embeddings=64,
        num_labels=labels,
    )
    if names:
        config.id2label = dict(names)
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
        layer = model.bert.encoder.layer[0]
        for matrix in (layer.attention.self.value, layer.attention.output.dense, model.bert.pooler.dense):
            matrix.weight.copy_(10 * torch.eye(WIDTH))
        for axis, (word, logit) in enumerate(logits.items()):
            model.bert.embeddings.word_embeddings.weight[WORDS.index(word), axis] = 1.0
            signs = [1.0] if labels == 1 else [-1.0, 1.0, *([0.0] * (labels - 2))]
            for label, sign in enumerate(signs):
                model.classifier.weight[label, axis] = sign * logit
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scorer(tmp_path_factory.mktemp("scorer"))


@pytest.fixture
def make_client(make_app: AppFactory, scorer: Path) -> Callable[..., CacheClient]:
    """Build a client of an app whose reranker has all the time it needs."""

    def make(**settings: Any) -> CacheClient:
        return client_of(make_app(**({"rerank_path": scorer, "rerank_budget_ms": SURE} | settings)))

    return make


@pytest.fixture
def opened() -> Iterator[Callable[[Path], Reranker]]:
    rerankers = []

    def open_one(folder: Path) -> Reranker:
        reranker = Reranker(folder, 0.5, SURE / 1000)
        rerankers.append(reranker)
        reranker.open()
        return reranker

    yield open_one
    for reranker in rerankers:
        reranker.close()


def reranker_of(client: CacheClient) -> Reranker:
    reranker = get_service(client.http.application).cache.judge._reranker
    assert reranker is not None
    return reranker


def test_a_candidate_that_scores_low_is_refused(make_client: Callable[..., CacheClient]) -> None:
    client = make_client()
    client.insert(("bad", "wrong"))
    reply = client.query("asked", threshold=0)
    assert_miss(reply)
    assert reply["veto"] == "rerank"
    assert reply["similarity"] is not None


def test_the_best_score_answers_whatever_the_cosine(make_client: Callable[..., CacheClient]) -> None:
    client = make_client()
    client.insert(("bad", "wrong"), ("fair", "second"), ("good", "best"), ("bad bad", "wrong"))
    for asked in ("asked", "asked asked", "plain"):
        reply = client.query(asked, threshold=0)
        assert (reply["answer"], reply["hit_type"]) == ("best", "semantic")


def test_without_it_the_nearest_answers(make_client: Callable[..., CacheClient]) -> None:
    client = make_client(rerank_path=None)
    client.insert(("bad", "nearest"), ("good", "best"))
    answers = {client.query(text, threshold=0)["answer"] for text in ("asked", "plain", "asked plain", "x")}
    assert "nearest" in answers


def test_only_candidates_over_the_threshold_are_scored(make_client: Callable[..., CacheClient]) -> None:
    client = make_client()
    client.insert(("good", "unlike"))
    reply = client.query("asked", threshold=0.999)
    assert_miss(reply)
    assert reply["veto"] == ""


def test_its_threshold_is_a_setting(make_client: Callable[..., CacheClient]) -> None:
    client = make_client(rerank_threshold=0.999999)
    client.insert(("good", "best"))
    assert client.query("asked", threshold=0)["veto"] == "rerank"


def test_what_a_rule_refuses_is_not_brought_back(make_client: Callable[..., CacheClient]) -> None:
    client = make_client()
    client.insert(("good 3", "wrong"))
    assert client.query("asked 4", threshold=0)["veto"] == "number"


def test_an_equal_last_turn_needs_no_score(make_client: Callable[..., CacheClient]) -> None:
    client = make_client()
    client.insert((user("good") + assistant("fair") + user("bad"), "a"))
    rephrased = user("good") + assistant("fair (again)") + user("bad")
    assert client.query(rephrased)["answer"] == "a"
    assert client.query(user("good") + assistant("fair") + user("bad"))["hit_type"] == "exact"


def test_the_last_turn_is_scored_without_what_was_before(make_client: Callable[..., CacheClient]) -> None:
    client = make_client()
    prompt = system("bad bad bad")
    client.insert((prompt + user("good"), "a"))
    assert is_hit(client.query(prompt + user("asked"), threshold=0))


def test_a_slow_model_is_not_waited_for(make_client: Callable[..., CacheClient]) -> None:
    client = make_client(rerank_budget_ms=1)
    client.insert(("bad", "a"))
    reranker = reranker_of(client)
    go, begun = threading.Event(), threading.Event()
    model = reranker._model

    class Slow:
        device = model.device

        def __call__(self, **inputs: Any) -> Any:
            begun.set()
            go.wait()
            return model(**inputs)

    reranker._model = Slow()
    try:
        # The first are left to the model, the others wait behind them: all are answered without it.
        for _ in range(usable_cores() + 2):
            assert client.query("asked", threshold=0)["answer"] == "a"
        assert begun.wait(60)
    finally:
        go.set()
    reranker._model, reranker._budget = model, SURE
    assert client.query("asked", threshold=0)["veto"] == "rerank"


def test_a_model_that_fails_is_done_without(
    make_client: Callable[..., CacheClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    client.insert(("bad", "a"))

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(reranker_of(client), "_score", fail)
    assert client.query("asked", threshold=0)["answer"] == "a"


# Models.


@pytest.mark.parametrize(
    ("names", "likelier"),
    [
        ({0: "LABEL_0", 1: "LABEL_1"}, "good"),
        ({0: "not_equivalent", 1: "equivalent"}, "good"),
        ({0: "duplicate", 1: "not_duplicate"}, "bad"),
    ],
)
def test_of_two_labels_that_of_duplicates_counts(
    tmp_path: Path, opened: Callable[[Path], Reranker], names: dict[int, str], likelier: str
) -> None:
    reranker = opened(write_scorer(tmp_path, labels=2, names=names))
    scores = reranker.score("asked", ["good", "bad", "plain"])
    assert scores is not None
    by_word = dict(zip(("good", "bad", "plain"), scores, strict=True))
    assert max(by_word, key=by_word.__getitem__) == likelier
    assert by_word["plain"] == pytest.approx(0.5)
    assert by_word["good"] + by_word["bad"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("text", ["", " ", "\0", "a \ud83d b", "good " * 3000, "不在词表里"])
def test_any_text_is_scored(scorer: Path, opened: Callable[[Path], Reranker], text: str) -> None:
    scores = opened(scorer).score(text, [text, "good", ""])
    assert scores is not None
    assert all(0 <= score <= 1 for score in scores)


def test_an_absent_folder_refuses_to_start(tmp_path: Path) -> None:
    settings = {"data_dir": tmp_path / "data", "rerank_path": tmp_path / "absent"}
    with pytest.raises(ConfigError, match=r"rerank_path: .* has no config\.json"):
        create_app(settings, embedder=HashEmbedder())
    # Nothing is left open: the same data can be served.
    get_service(create_app({"data_dir": tmp_path / "data"}, embedder=HashEmbedder())).close()


def test_a_model_without_a_head_is_refused(tmp_path: Path, opened: Callable[[Path], Reranker]) -> None:
    write_scorer(tmp_path)
    BertModel(BertConfig.from_pretrained(tmp_path)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"no sequence-classification model: it has no classifier"):
        opened(tmp_path)


def test_a_model_of_many_labels_is_refused(tmp_path: Path, opened: Callable[[Path], Reranker]) -> None:
    with pytest.raises(ConfigError, match="has 3 labels instead of one or two"):
        opened(write_scorer(tmp_path, labels=3))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_file_is_refused(tmp_path: Path, opened: Callable[[Path], Reranker], name: str) -> None:
    write_scorer(tmp_path)
    (tmp_path / name).write_bytes(b"{ damaged")
    with pytest.raises(ConfigError, match="no sequence-classification model that can be read"):
        opened(tmp_path)


def test_weights_that_give_no_numbers_are_refused(tmp_path: Path, opened: Callable[[Path], Reranker]) -> None:
    with pytest.raises(ConfigError, match="no finite scores"):
        opened(write_scorer(tmp_path, {"bad": float("nan")}))
