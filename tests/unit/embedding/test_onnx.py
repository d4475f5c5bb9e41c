"""ONNX graphs, exported here of small random models and of a real checkpoint."""

import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import quantize_dynamic
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, RobertaConfig, RobertaModel

from modelcache.backends import EMBEDDERS
from modelcache.embedding.onnx import OnnxEmbedder
from modelcache.embedding.text2vec import Text2VecEmbedder
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.settings import make_settings
from modelcache.testing.embedder import TEXTS, EmbedderContract
from tests.unit.embedding.exporting import BERT_INPUTS, export
from tests.unit.embedding.test_text2vec import LONG_TEXT, WINDOW, Pooling, minilm_folder, write_bert

pytestmark = pytest.mark.packages

SHORT_TEXTS = ["a", "a b c", "你好 cache ?", "", "b a a a"]
LONG_TEXTS = [LONG_TEXT, "a b " * 300]
ROBERTA_WORDS = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "c", "cache"]


def open_onnx(folder: Path, **options: Any) -> OnnxEmbedder:
    embedder = OnnxEmbedder(folder, **options)
    embedder.open()
    return embedder


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / folder.name))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def change_json(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


class OneTokenPooling(Pooling):
    """The state of each window's first or last token, weighted by the windows' numbers of tokens."""

    def __init__(self, folder: Path, window: int, token: int) -> None:
        super().__init__(folder, window)
        self.token = token

    def embed(self, text: str) -> NDArray[np.float64]:
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        size = self.window - 2
        states, weights = [], []
        for start in range(0, max(len(ids), 1), size):
            window = [self.tokenizer.cls_token_id, *ids[start : start + size], self.tokenizer.sep_token_id]
            with torch.no_grad():
                states.append(self.model(torch.tensor([window])).last_hidden_state[0, self.token].numpy())
            weights.append(len(window))
        mean: NDArray[np.float64] = np.average(states, axis=0, weights=weights)
        return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("weights") / "tiny", seed=1)


@pytest.fixture(scope="module")
def tiny_folder(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(bert_folder, tmp_path_factory.mktemp("graphs") / "tiny")


@pytest.fixture(scope="module")
def pooled_folder(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(bert_folder, tmp_path_factory.mktemp("graphs") / "pooled", pooled=True)


@pytest.fixture(scope="module")
def real_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(minilm_folder(), tmp_path_factory.mktemp("graphs") / "minilm", weights_beside=True)


@pytest.fixture(scope="module")
def int8_folder(real_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs") / "int8"
    shutil.copytree(real_folder, folder, ignore=shutil.ignore_patterns("*.onnx*"))
    graph = onnx.load(real_folder / "model.onnx")
    # The exporter's shapes contradict those that the quantiser finds.
    del graph.graph.value_info[:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(graph, folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Iterator[OnnxEmbedder]:
    embedder = open_onnx(tiny_folder)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def tiny_cls(tiny_folder: Path) -> Iterator[OnnxEmbedder]:
    embedder = open_onnx(tiny_folder, pooling="cls")
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def real(real_folder: Path) -> Iterator[OnnxEmbedder]:
    embedder = open_onnx(real_folder)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def int8(int8_folder: Path) -> Iterator[OnnxEmbedder]:
    embedder = open_onnx(int8_folder)
    yield embedder
    embedder.close()


class TestTinyBert(EmbedderContract):
    @pytest.fixture
    def embedder(self, tiny: OnnxEmbedder) -> OnnxEmbedder:
        return tiny

    def test_vectors_are_mean_pooled(self, embedder: OnnxEmbedder, bert_folder: Path) -> None:
        pooling = Pooling(bert_folder, WINDOW)
        texts = [*SHORT_TEXTS, *LONG_TEXTS]
        expected = [pooling.embed(text) for text in texts]
        np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-5)

    def test_both_ends_of_an_overlong_text_count(self, embedder: OnnxEmbedder) -> None:
        half = embedder.max_chars // 2
        overlong = "a " * half + "c " * 1000 + "b " * half
        whole, ends = embedder.embed([overlong, overlong[:half] + overlong[-half:]])
        np.testing.assert_array_equal(whole, ends)

    def test_unknown_tokens_are_told(self, embedder: OnnxEmbedder) -> None:
        assert embedder.unknown_tokens("a b 你好 cache") == []
        assert embedder.unknown_tokens("a 龘 cab abc Zürich ?") == [(2, 3), (8, 11), (12, 18)]
        assert embedder.unknown_tokens("") == []

    def test_unknown_tokens_in_every_window_are_told(self, embedder: OnnxEmbedder) -> None:
        assert embedder.unknown_tokens("a b " * 50 + "龘") == [(200, 201)]

    def test_unknown_tokens_behind_what_is_left_out_are_told_where_they_are(
        self, embedder: OnnxEmbedder
    ) -> None:
        text = "龘 " + "a " * 5000 + "龘"
        assert embedder.unknown_tokens(text) == [(0, 1), (10_002, 10_003)]


class TestRealCheckpoint(EmbedderContract):
    @pytest.fixture
    def embedder(self, real: OnnxEmbedder) -> OnnxEmbedder:
        return real

    def test_vectors_are_those_of_transformers(self, embedder: OnnxEmbedder) -> None:
        beside = Text2VecEmbedder(minilm_folder())
        beside.open()
        texts = [*TEXTS, "", "   ", "a\0b", " ".join(TEXTS) * 20]
        np.testing.assert_allclose(embedder.embed(texts), beside.embed(texts), atol=1e-3)
        assert beside.unknown_tokens("a 龘 b") == embedder.unknown_tokens("a 龘 b") == [(2, 3)]


class TestInt8(EmbedderContract):
    @pytest.fixture
    def embedder(self, int8: OnnxEmbedder) -> OnnxEmbedder:
        return int8

    def test_a_vector_does_not_depend_on_what_is_embedded_with_it(self, embedder: OnnxEmbedder) -> None:
        alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
        mates = ["x" * 40, "What is the weather like in Paris today? " * 30, ""]
        np.testing.assert_array_equal(embedder.embed(TEXTS), alone)
        np.testing.assert_array_equal(embedder.embed([*mates, *TEXTS])[len(mates) :], alone)
        np.testing.assert_array_equal(embedder.embed(TEXTS[::-1])[::-1], alone)

    def test_it_is_near_the_graph_it_was_made_of(self, embedder: OnnxEmbedder, real: OnnxEmbedder) -> None:
        assert (embedder.embed(TEXTS) * real.embed(TEXTS)).sum(axis=1).min() > 0.85


class TestCls(EmbedderContract):
    @pytest.fixture
    def embedder(self, tiny_cls: OnnxEmbedder) -> OnnxEmbedder:
        return tiny_cls

    def test_vectors_are_of_the_first_token(self, embedder: OnnxEmbedder, bert_folder: Path) -> None:
        pooling = OneTokenPooling(bert_folder, WINDOW, 0)
        expected = [pooling.embed(text) for text in [*SHORT_TEXTS, *LONG_TEXTS]]
        np.testing.assert_allclose(embedder.embed([*SHORT_TEXTS, *LONG_TEXTS]), expected, atol=1e-5)


def test_last_pooling_is_of_the_last_token(tiny_folder: Path, bert_folder: Path) -> None:
    pooling = OneTokenPooling(bert_folder, WINDOW, -1)
    expected = [pooling.embed(text) for text in [*SHORT_TEXTS, *LONG_TEXTS]]
    vectors = open_onnx(tiny_folder, pooling="last").embed([*SHORT_TEXTS, *LONG_TEXTS])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["lasttoken"]}, "last"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"word_embedding_dimension": 32}, "mean"),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_pooling_is_read_from_the_folder(
    tiny_folder: Path, tmp_path: Path, config: dict[str, Any], setting: str, listed: bool
) -> None:
    folder = copy(tiny_folder, tmp_path)
    write_json(folder / ("own" if listed else "1_Pooling") / "config.json", config)
    if listed:
        kinds = [("", "Transformer"), ("own", "Pooling"), ("2_Normalize", "Normalize")]
        modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
        write_json(folder / "modules.json", modules)
    expected = open_onnx(tiny_folder, pooling=setting).embed(SHORT_TEXTS)
    np.testing.assert_array_equal(open_onnx(folder).embed(SHORT_TEXTS), expected)


def test_the_setting_goes_before_the_folder(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": "cls"})
    expected = open_onnx(tiny_folder).embed(SHORT_TEXTS)
    np.testing.assert_array_equal(open_onnx(folder, pooling="mean").embed(SHORT_TEXTS), expected)


def test_what_the_graph_pooled_itself_is_taken_unless_pooling_is_set(
    pooled_folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = copy(pooled_folder, tmp_path)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": "cls"})
    texts = [*SHORT_TEXTS, LONG_TEXT]
    embedder = open_onnx(folder)
    assert "-graph-" in embedder.name
    np.testing.assert_allclose(embedder.embed(texts), open_onnx(tiny_folder).embed(texts), atol=1e-5)
    expected = open_onnx(tiny_folder, pooling="cls").embed(texts)
    np.testing.assert_allclose(open_onnx(folder, pooling="cls").embed(texts), expected, atol=1e-5)


@pytest.mark.parametrize("inputs", [BERT_INPUTS[:2], ("input_ids",)], ids=["no types", "ids only"])
def test_a_graph_gets_only_the_inputs_it_wants(
    bert_folder: Path, tiny: OnnxEmbedder, tmp_path: Path, inputs: tuple[str, ...]
) -> None:
    folder = export(bert_folder, tmp_path / "tiny", inputs)
    texts = [*SHORT_TEXTS, LONG_TEXT]
    np.testing.assert_allclose(open_onnx(folder).embed(texts), tiny.embed(texts), atol=1e-5)


def write_roberta(folder: Path) -> Path:
    """Write a random RoBERTa, whose positions start behind the padding's row, and its tokenizer."""
    torch.manual_seed(3)
    config = RobertaConfig(
        vocab_size=len(ROBERTA_WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW + 2,
        initializer_range=0.5,
        type_vocab_size=1,
    )
    RobertaModel(config).save_pretrained(folder)
    words = {word: index for index, word in enumerate(ROBERTA_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **special})
    return folder


@pytest.mark.parametrize("inputs", [BERT_INPUTS[:2], (*BERT_INPUTS[:2], "position_ids")], ids=len)
def test_positions_of_a_roberta_start_behind_the_padding(tmp_path: Path, inputs: tuple[str, ...]) -> None:
    source = write_roberta(tmp_path / "source")
    embedder = open_onnx(export(source, tmp_path / "roberta", inputs))
    texts = ["a b cache", "", "a b c cache " * 10]
    expected = [Pooling(source, WINDOW).embed(text) for text in texts]
    np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-5)
    assert embedder.unknown_tokens("a ﬁ b") == [(2, 3)]


def test_a_prefix_is_put_before_each_text(tiny_folder: Path, tiny: OnnxEmbedder) -> None:
    embedder = open_onnx(tiny_folder, prefix="cache ? ")
    expected = tiny.embed(["cache ? a b", "cache ? ", f"cache ? {LONG_TEXT}"])
    np.testing.assert_array_equal(embedder.embed(["a b", "", LONG_TEXT]), expected)
    assert embedder.unknown_tokens("a 龘") == [(2, 3)]


def test_a_prefix_that_is_not_to_be_pooled_is_not(
    tiny_folder: Path, bert_folder: Path, tmp_path: Path
) -> None:
    folder = copy(tiny_folder, tmp_path)
    config = {"pooling_mode": "mean", "include_prompt": False}
    write_json(folder / "1_Pooling" / "config.json", config)
    tokenizer, model = AutoTokenizer.from_pretrained(bert_folder), AutoModel.from_pretrained(bert_folder)
    with torch.no_grad():
        encoded = tokenizer("cache ? a b", return_tensors="pt")
        states = model(**encoded).last_hidden_state[0].numpy()
    expected = states[3:].mean(axis=0)
    vector = open_onnx(folder, prefix="cache ? ").embed(["a b"])[0]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("file", "limit"),
    [("tokenizer_config.json", "model_max_length"), ("sentence_bert_config.json", "max_seq_length")],
)
def test_a_smaller_limit_counts(
    tiny_folder: Path, bert_folder: Path, tmp_path: Path, file: str, limit: str
) -> None:
    folder = copy(tiny_folder, tmp_path)
    write_json(folder / file, {limit: 9})
    expected = Pooling(bert_folder, 9).embed(LONG_TEXT)
    np.testing.assert_allclose(open_onnx(folder).embed([LONG_TEXT])[0], expected, atol=1e-5)


def test_texts_are_lowered_where_the_folder_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    change_json(
        folder / "tokenizer.json",
        normalizer={"type": "BertNormalizer", "lowercase": False, "clean_text": True}
        | {"handle_chinese_chars": True, "strip_accents": False},
    )
    cased = open_onnx(folder)
    assert cased.unknown_tokens("A b") == [(0, 1)]
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": True})
    lowered = open_onnx(folder)
    assert lowered.unknown_tokens("A b") == []
    np.testing.assert_array_equal(lowered.embed(["A B"]), cased.embed(["a b"]))


def test_settings_name_folder_pooling_prefix_and_threads(tiny_folder: Path) -> None:
    own = {"onnx_pooling": "cls", "onnx_prefix": "a: ", "embedding_threads": "1"}
    settings = make_settings({"embedder": "onnx", "onnx_path": str(tiny_folder), **own})
    embedder = EMBEDDERS.load("onnx").from_settings(settings)
    embedder.open()
    assert embedder.dimension == 32
    assert embedder.name.startswith("onnx-tiny-cls-")
    assert embedder.parallel == len(os.sched_getaffinity(0))
    expected = open_onnx(tiny_folder, pooling="cls", prefix="a: ").embed(["b"])
    np.testing.assert_allclose(embedder.embed(["b"]), expected, atol=1e-6)


@pytest.mark.parametrize("place", ["onnx/model.onnx", "encoder.onnx", "onnx/model_int8.onnx"])
def test_the_graph_is_found(tiny_folder: Path, tmp_path: Path, place: str) -> None:
    folder = copy(tiny_folder, tmp_path)
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / place)
    expected = open_onnx(tiny_folder).embed(SHORT_TEXTS)
    np.testing.assert_array_equal(open_onnx(folder).embed(SHORT_TEXTS), expected)


def test_names_tell_apart_what_gives_other_vectors(tiny_folder: Path, tmp_path: Path) -> None:
    name = open_onnx(tiny_folder).name
    same = copy(tiny_folder, tmp_path / "same")
    assert open_onnx(same).name == name
    names = {
        name,
        open_onnx(tiny_folder, pooling="cls").name,
        open_onnx(tiny_folder, prefix="query: ").name,
    }
    change_json(same / "tokenizer_config.json", model_max_length=9)
    names.add(open_onnx(same).name)
    change_layer_norms(same, 2.0)
    names.add(open_onnx(same).name)
    assert len(names) == 5


def change_layer_norms(folder: Path, value: float) -> None:
    """Give the scales of the graph's layer norms another value."""
    graph = onnx.load(folder / "model.onnx")
    changed = [tensor for tensor in graph.graph.initializer if "LayerNorm.weight" in tensor.name]
    for tensor in changed:
        values = np.full(onnx.numpy_helper.to_array(tensor).shape, value, np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    assert changed
    onnx.save(graph, folder / "model.onnx")


def with_weights_beside(folder: Path, target: Path) -> Path:
    """Write the graph anew with its weights in a file of their own."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.onnx*"))
    graph = onnx.load(folder / "model.onnx")
    onnx.save(
        graph, target / "model.onnx", save_as_external_data=True, location="own.weights", size_threshold=64
    )
    return target


def test_weights_beside_the_graph_are_part_of_the_name(tiny_folder: Path, tmp_path: Path) -> None:
    folder = with_weights_beside(tiny_folder, tmp_path / "tiny")
    embedder = open_onnx(folder)
    np.testing.assert_allclose(
        embedder.embed(SHORT_TEXTS), open_onnx(tiny_folder).embed(SHORT_TEXTS), atol=1e-6
    )
    weights = np.fromfile(folder / "own.weights", np.uint8)
    weights[-64:] = 0
    weights.tofile(folder / "own.weights")
    assert open_onnx(folder).name != embedder.name


def test_missing_weights_beside_the_graph_are_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = with_weights_beside(tiny_folder, tmp_path / "tiny")
    (folder / "own.weights").unlink()
    assert "has no own.weights" in refusal(folder)


def refusal(folder: Path, **options: Any) -> str:
    """Return why the folder cannot be opened, checked to be one sentence that names it."""
    with pytest.raises(ConfigError) as caught:
        open_onnx(folder, **options)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    assert ". " not in message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(tiny_folder: Path, tmp_path: Path, file: str) -> None:
    folder = copy(tiny_folder, tmp_path)
    (folder / file).unlink()
    assert f"has no {file}" in refusal(folder)


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    assert "onnx_path" in refusal(tmp_path / "nothing")


def test_several_graphs_are_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    shutil.copy(folder / "model.onnx", folder / "b.onnx")
    (folder / "model.onnx").rename(folder / "a.onnx")
    assert "(a.onnx, b.onnx)" in refusal(folder)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"
DAMAGES = [b"", b"{", b"\xff\xfe\x00", b"[]", POINTER]


@pytest.mark.parametrize("damage", DAMAGES, ids=repr)
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx"])
def test_a_damaged_file_is_named(tiny_folder: Path, tmp_path: Path, file: str, damage: bytes) -> None:
    folder = copy(tiny_folder, tmp_path)
    (folder / file).write_bytes(damage)
    assert file in refusal(folder)


def test_a_graph_that_ends_early_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    graph = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(graph[: len(graph) // 2])
    assert "model.onnx" in refusal(folder)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode": "attention"}, "'attention'"),
        ({"pooling_mode": ["mean", 3]}, "3"),
        ({"pooling_mode": {}}, "{}"),
        ({"pooling_mode_attention": True}, "'pooling_mode_attention'"),
    ],
)
def test_an_unknown_pooling_is_named(
    tiny_folder: Path, tmp_path: Path, config: dict[str, Any], named: str
) -> None:
    folder = copy(tiny_folder, tmp_path)
    write_json(folder / "1_Pooling" / "config.json", config)
    message = refusal(folder)
    assert f"names the pooling {named}; known are: cls, max, mean" in message


def test_a_module_that_the_graph_lacks_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    modules = [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    write_json(folder / "modules.json", modules)
    assert "module Dense" in refusal(folder)
    write_json(folder / "modules.json", [{"path": "own", "type": "own_code.Pooling"}])
    assert "module own_code.Pooling" in refusal(folder)
    write_json(folder / "modules.json", [{"path": "own", "type": "sentence_transformers.models.Pooling"}])
    assert "has no own/config.json" in refusal(folder)
    write_json(folder / "modules.json", {"modules": 1})
    assert "modules.json" in refusal(folder)


def test_a_graph_with_other_inputs_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    graph = onnx.load(folder / "model.onnx")
    graph.graph.input.append(onnx.helper.make_tensor_value_info("task_id", onnx.TensorProto.INT64, [1]))
    onnx.save(graph, folder / "model.onnx")
    assert "task_id" in refusal(folder)


def test_a_graph_without_token_states_is_refused(pooled_folder: Path, tmp_path: Path) -> None:
    folder = copy(pooled_folder, tmp_path)
    graph = onnx.load(folder / "model.onnx")
    graph.graph.output[0].CopyFrom(graph.graph.output[1])
    del graph.graph.output[1]
    onnx.save(graph, folder / "model.onnx")
    assert "gives no token states" in refusal(folder, pooling="cls")
    assert open_onnx(folder).dimension == 32


def test_a_tokenizer_of_another_model_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    change_json(folder / "config.json", vocab_size=99)
    assert "not of one model" in refusal(folder)


def test_a_limit_without_room_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    change_json(folder / "tokenizer_config.json", model_max_length=2)
    assert "no room" in refusal(folder)
    change_json(folder / "tokenizer_config.json", model_max_length="many")
    assert "'many'" in refusal(folder)


def test_weights_that_are_not_finite_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path)
    change_layer_norms(folder, float("nan"))
    assert "no finite vectors" in refusal(folder)


def test_an_absent_package_is_named(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match="'onnx' needs the Python package 'tokenizers'"):
        open_onnx(tiny_folder)


def test_a_closed_embedder_says_so(tiny_folder: Path) -> None:
    embedder = open_onnx(tiny_folder)
    embedder.close()
    embedder.close()
    with pytest.raises(EmbeddingError, match="not open"):
        embedder.embed(["a"])
    with pytest.raises(EmbeddingError, match="not open"):
        embedder.unknown_tokens("a")
