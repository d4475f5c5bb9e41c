"""SentenceTransformers folders, beside the package that writes them."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Dropout, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

from modelcache.backends import EMBEDDERS
from modelcache.embedding.sentence_transformers import SentenceTransformersEmbedder
from modelcache.embedding.text2vec import Text2VecEmbedder
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.settings import make_settings
from modelcache.testing.embedder import TEXTS, EmbedderContract
from tests.unit.embedding.test_text2vec import LONG_TEXT, WINDOW, Pooling, minilm_folder, write_bert

pytestmark = pytest.mark.packages

HIDDEN = 32
# None is longer than a window: the package cuts such texts.
SHORT_TEXTS = ["a", "a b c", "你好 cache ?", "", "b a a a", "cab 龘"]


def open_folder(folder: Path) -> SentenceTransformersEmbedder:
    embedder = SentenceTransformersEmbedder(folder)
    embedder.open()
    return embedder


def write_model(folder: Path, bert: Path, *others: Any, **options: Any) -> Path:
    """Have the package write a model of this BERT and these modules."""
    SentenceTransformer(modules=[Transformer(str(bert)), *others], device="cpu", **options).save(str(folder))
    return folder


def encode(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """Return the package's own vectors."""
    model = SentenceTransformer(str(folder), device="cpu")
    vectors: NDArray[np.float32] = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    return vectors


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / folder.name))


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("weights") / "bert", seed=1)


@pytest.fixture(scope="module")
def tiny_folder(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    return write_model(
        tmp_path_factory.mktemp("models") / "tiny",
        bert,
        PoolingModule(HIDDEN, pooling_mode=("cls", "max")),
        Dense(2 * HIDDEN, 16),
        Normalize(),
    )


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Iterator[SentenceTransformersEmbedder]:
    embedder = open_folder(tiny_folder)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def minilm() -> Iterator[SentenceTransformersEmbedder]:
    embedder = open_folder(minilm_folder())
    yield embedder
    embedder.close()


class TestTinyModel(EmbedderContract):
    @pytest.fixture
    def embedder(self, tiny: SentenceTransformersEmbedder) -> SentenceTransformersEmbedder:
        return tiny

    def test_vectors_are_those_of_the_package(
        self, embedder: SentenceTransformersEmbedder, tiny_folder: Path
    ) -> None:
        assert embedder.dimension == 16
        vectors = embedder.embed(SHORT_TEXTS)
        np.testing.assert_allclose(vectors, encode(tiny_folder, SHORT_TEXTS), atol=1e-5)

    def test_unknown_tokens_are_told(self, embedder: SentenceTransformersEmbedder) -> None:
        assert embedder.unknown_tokens("a 龘 cab abc Zürich ?") == [(2, 3), (8, 11), (12, 18)]
        assert embedder.unknown_tokens("a b " * 50 + "龘") == [(200, 201)]
        assert embedder.unknown_tokens("") == []


class TestRealCheckpoint(EmbedderContract):
    @pytest.fixture
    def embedder(self, minilm: SentenceTransformersEmbedder) -> SentenceTransformersEmbedder:
        return minilm

    def test_vectors_are_those_of_the_package(self, embedder: SentenceTransformersEmbedder) -> None:
        texts = [*TEXTS, "", " ".join(TEXTS) * 2]
        np.testing.assert_allclose(embedder.embed(texts), encode(minilm_folder(), texts), atol=1e-5)

    def test_a_long_text_is_the_weighted_mean_of_its_windows(
        self, embedder: SentenceTransformersEmbedder
    ) -> None:
        text = " ".join(TEXTS) * 20
        expected = Pooling(minilm_folder(), 256).embed(text)  # as its sentence_bert_config.json says
        np.testing.assert_allclose(embedder.embed([text])[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "modes",
    [
        "mean",
        "cls",
        "max",
        "lasttoken",
        "mean_sqrt_len_tokens",
        "weightedmean",
        ("mean_sqrt_len_tokens", "max"),
        ("weightedmean", "cls", "lasttoken"),
    ],
    ids=str,
)
def test_every_pooling_is_that_of_the_package(bert: Path, tmp_path: Path, modes: Any) -> None:
    folder = write_model(tmp_path / "model", bert, PoolingModule(HIDDEN, pooling_mode=modes))
    embedder = open_folder(folder)
    assert embedder.dimension == HIDDEN * (1 if isinstance(modes, str) else len(modes))
    np.testing.assert_allclose(embedder.embed(SHORT_TEXTS), encode(folder, SHORT_TEXTS), atol=1e-5)


def test_flags_of_older_versions_are_read(bert: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", bert, PoolingModule(HIDDEN))
    flags = {
        "pooling_mode_mean_tokens": True,
        "pooling_mode_cls_token": True,
        "pooling_mode_max_tokens": False,
    }
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": HIDDEN} | flags)
    )
    np.testing.assert_allclose(open_folder(folder).embed(SHORT_TEXTS), encode(folder, SHORT_TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        [Dense(HIDDEN, 8, bias=False, activation_function=torch.nn.Identity())],
        [Dense(HIDDEN, 48, activation_function=torch.nn.GELU()), Normalize(), Dense(48, 8)],
        [Normalize(), Dropout(0.5), Dense(HIDDEN, HIDDEN, use_residual=True)],
        [Dense(HIDDEN, 8, use_residual=True)],
    ],
    ids=["linear", "two", "residual", "residual of another size"],
)
def test_layers_do_what_the_package_does(bert: Path, tmp_path: Path, layers: list[Any]) -> None:
    folder = write_model(tmp_path / "model", bert, PoolingModule(HIDDEN), *layers)
    np.testing.assert_allclose(open_folder(folder).embed(SHORT_TEXTS), encode(folder, SHORT_TEXTS), atol=1e-5)


def test_a_layer_may_be_a_pytorch_file(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    from safetensors.torch import load_file

    torch.save(load_file(folder / "2_Dense" / "model.safetensors"), folder / "2_Dense" / "pytorch_model.bin")
    (folder / "2_Dense" / "model.safetensors").unlink()
    expected = open_folder(tiny_folder).embed(SHORT_TEXTS)
    np.testing.assert_array_equal(open_folder(folder).embed(SHORT_TEXTS), expected)


@pytest.mark.parametrize("included", [True, False])
@pytest.mark.parametrize("mode", ["mean", "cls", "weightedmean"])
def test_the_default_prompt_is_put_before_each_text(
    bert: Path, tmp_path: Path, included: bool, mode: Any
) -> None:
    pooling = PoolingModule(HIDDEN, pooling_mode=mode, include_prompt=included)
    prompts = {"query": "a b: ", "document": "b: "}
    folder = write_model(tmp_path / "model", bert, pooling, prompts=prompts, default_prompt_name="query")
    np.testing.assert_allclose(open_folder(folder).embed(SHORT_TEXTS), encode(folder, SHORT_TEXTS), atol=1e-5)
    assert open_folder(folder).unknown_tokens("a 龘") == [(2, 3)]
    change_json(folder / "config_sentence_transformers.json", default_prompt_name=None)
    np.testing.assert_allclose(open_folder(folder).embed(SHORT_TEXTS), encode(folder, SHORT_TEXTS), atol=1e-5)


def test_the_maximum_is_over_all_windows_of_a_text(bert: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", bert, PoolingModule(HIDDEN, pooling_mode="max"))
    beside = Pooling(bert, WINDOW)
    ids = beside.tokenizer.encode(LONG_TEXT, add_special_tokens=False)
    highest = []
    for start in range(0, len(ids), WINDOW - 2):
        window = [
            beside.tokenizer.cls_token_id,
            *ids[start : start + WINDOW - 2],
            beside.tokenizer.sep_token_id,
        ]
        with torch.no_grad():
            highest.append(beside.model(torch.tensor([window])).last_hidden_state[0].numpy().max(axis=0))
    expected = np.max(highest, axis=0)
    vector = open_folder(folder).embed(["a", LONG_TEXT, "b"])[1]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_a_mean_is_that_of_text2vec(bert: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", bert, PoolingModule(HIDDEN))
    beside = Text2VecEmbedder(bert)
    beside.open()
    texts = [*SHORT_TEXTS, LONG_TEXT, "a b " * 900]
    np.testing.assert_allclose(open_folder(folder).embed(texts), beside.embed(texts), atol=1e-5)
    assert beside.unknown_tokens("a 龘 b") == [(2, 3)]


def test_the_transformer_may_have_a_folder_and_lower_its_texts(bert: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", bert, PoolingModule(HIDDEN))
    own = folder / "0_Transformer"
    own.mkdir()
    for path in [*folder.glob("*token*"), folder / "config.json", folder / "model.safetensors"]:
        path.rename(own / path.name)
    (folder / "sentence_bert_config.json").unlink()
    tokenizer = json.loads((own / "tokenizer.json").read_text(encoding="utf-8"))
    change_json(own / "tokenizer.json", normalizer=tokenizer["normalizer"] | {"lowercase": False})
    change_json(own / "tokenizer_config.json", do_lower_case=False)
    (own / "sentence_bert_config.json").write_text('{"max_seq_length": 9, "do_lower_case": true}')
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    embedder = open_folder(folder)
    np.testing.assert_allclose(embedder.embed(["A B", "cache"]), encode(folder, ["A B", "cache"]), atol=1e-5)
    np.testing.assert_allclose(embedder.embed([LONG_TEXT])[0], Pooling(bert, 9).embed(LONG_TEXT), atol=1e-5)


def test_settings_name_the_folder(tiny_folder: Path) -> None:
    own = {"embedder": "sentence_transformers", "sentence_transformers_path": str(tiny_folder)}
    embedder = EMBEDDERS.load("sentence_transformers").from_settings(make_settings(own))
    embedder.open()
    assert embedder.dimension == 16
    assert embedder.name.startswith("st-tiny-cls-max-")


def test_names_tell_apart_what_gives_other_vectors(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    names = [open_folder(folder).name]
    assert names == [open_folder(tiny_folder).name]
    change_json(folder / "config_sentence_transformers.json", prompts={"q": "a "}, default_prompt_name="q")
    names.append(open_folder(folder).name)
    change_json(folder / "1_Pooling" / "config.json", pooling_mode=["max", "cls"])
    names.append(open_folder(folder).name)
    change_json(folder / "2_Dense" / "config.json", activation_function="torch.nn.modules.activation.ReLU6")
    names.append(open_folder(folder).name)
    change_json(folder / "sentence_bert_config.json", max_seq_length=9)
    names.append(open_folder(folder).name)
    assert len(set(names)) == 5


def refusal(folder: Path) -> str:
    """Return why the folder cannot be opened, checked to be one sentence that names it."""
    with pytest.raises(ConfigError) as caught:
        open_folder(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    assert ". " not in message
    return message


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("modules.json", "modules.json"),
        ("config.json", "config.json"),
        ("tokenizer.json", "vocab.txt or tokenizer.json"),
        ("model.safetensors", "pytorch_model.bin or model.safetensors"),
        ("1_Pooling/config.json", "1_Pooling/config.json"),
        ("2_Dense/config.json", "config.json"),
        ("2_Dense/model.safetensors", "pytorch_model.bin"),
    ],
)
def test_a_missing_file_is_named(tiny_folder: Path, tmp_path: Path, file: str, named: str) -> None:
    folder = copy(tiny_folder, tmp_path)
    (folder / file).unlink()
    assert f"has no {named}" in refusal(folder)


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    assert "has no modules.json" in refusal(tmp_path / "nothing")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\x00", b"[]", POINTER], ids=repr)
@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "config_sentence_transformers.json",
        "modules.json",
        "sentence_bert_config.json",
    ],
)
def test_a_damaged_file_is_named(tiny_folder: Path, tmp_path: Path, file: str, damage: bytes) -> None:
    folder = copy(tiny_folder, tmp_path)
    (folder / file).write_bytes(damage)
    assert file in refusal(folder)


def test_modules_that_are_not_known_are_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))

    def refusal_of(*listed: dict[str, Any]) -> str:
        (folder / "modules.json").write_text(json.dumps(listed))
        return refusal(folder)

    foreign = {"type": "sentence_transformers.models.LSTM", "path": "4_LSTM"}
    assert "names the module LSTM; known are: Transformer, Pooling" in refusal_of(*modules, foreign)
    own = {"type": "own_code.Transformer", "path": ""}
    assert "names the module own_code.Transformer" in refusal_of(own, *modules[1:])
    assert "must name a Transformer, then a Pooling" in refusal_of(*modules[1:])
    assert "must name a Transformer, then a Pooling" in refusal_of(*modules, modules[1])
    assert "must name a Transformer, then a Pooling" in refusal_of()


@pytest.mark.parametrize(
    ("file", "changes", "named"),
    [
        ("2_Dense/config.json", {"activation_function": "os.system"}, "'os.system'"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.functional.relu"}, "relu"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.linear.Linear"}, "Linear"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "2_Dense"),
        ("1_Pooling/config.json", {"pooling_mode": "mean"}, "takes vectors of 64 numbers, not of 32"),
        ("1_Pooling/config.json", {"pooling_mode": "attention"}, "'attention'"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "'fill-mask'"),
        ("sentence_bert_config.json", {"max_seq_length": "all"}, "'all'"),
        ("config_sentence_transformers.json", {"default_prompt_name": "absent"}, "'absent'"),
    ],
)
def test_what_is_not_supported_is_named(
    tiny_folder: Path, tmp_path: Path, file: str, changes: dict[str, Any], named: str
) -> None:
    folder = copy(tiny_folder, tmp_path)
    change_json(folder / file, **changes)
    assert named in refusal(folder)


def test_an_absent_package_is_named(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="'sentence_transformers' needs the Python package 'torch'"):
        open_folder(tiny_folder)


def test_a_closed_embedder_says_so(tiny_folder: Path) -> None:
    embedder = open_folder(tiny_folder)
    embedder.close()
    embedder.close()
    with pytest.raises(EmbeddingError, match="not open"):
        embedder.embed(["a"])
    with pytest.raises(EmbeddingError, match="not open"):
        embedder.unknown_tokens("a")
