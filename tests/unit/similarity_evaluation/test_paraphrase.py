"""The model that reads both questions, on the shipped files."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.embedding.e5_weights import E5Weights, wheel_file
from modelcache.embedding.shipped import ABOUT, shipped_folder
from modelcache.errors import ConfigError
from modelcache.similarity_evaluation.paraphrase import (
    FOLDER,
    GRAPH,
    MOST_TOKENS,
    SURROUNDINGS,
    ParaphraseReader,
    arranged,
    averaging,
)

# Written for this: a question, one that the same answer serves, and one that it does not.
TRIPLES = [
    (
        "How do I reset my password?",
        "I forgot my password, how can I set a new one?",
        "How do I reset my phone?",
    ),
    ("what's github", "can you explain what GitHub is", "what's gitlab"),
    (
        "Turn on the lights in the kitchen",
        "Switch the kitchen lights on",
        "Turn off the lights in the kitchen",
    ),
    (
        "Who beat Spain in the final?",
        "Which team won against Spain in the final?",
        "Who did Spain beat in the final?",
    ),
    ("怎么重置密码？", "密码忘了，怎样设置新的？", "怎么重置手机？"),
    ("大模型是什么？", "什么是大模型？", "大模型怎么训练？"),
    ("北京到上海的高铁要多久", "从北京坐高铁去上海需要几个小时", "上海到北京的高铁票多少钱"),
]


@pytest.fixture(scope="module")
def reader() -> Iterator[ParaphraseReader]:
    reader = ParaphraseReader()
    reader.open()
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def inputs() -> E5Inputs:
    return E5Inputs(E5Weights(wheel_file()))


@pytest.mark.parametrize(("asked", "same", "other"), TRIPLES)
def test_a_rephrasing_scores_above_a_look_alike(
    reader: ParaphraseReader, asked: str, same: str, other: str
) -> None:
    of_same, of_other = reader.log_odds(asked, same), reader.log_odds(asked, other)
    assert of_same is not None
    assert of_other is not None
    assert of_same > of_other


def test_the_order_of_the_two_does_not_matter(reader: ParaphraseReader) -> None:
    for asked, same, other in TRIPLES:
        assert reader.log_odds(asked, same) == reader.log_odds(same, asked)
        assert reader.log_odds(asked, other) == reader.log_odds(other, asked)


def test_a_pair_scores_the_same_whoever_is_read_beside_it(reader: ParaphraseReader) -> None:
    alone = [reader.log_odds(asked, same) for asked, same, _ in TRIPLES]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: reader.log_odds(one[0], one[1]), TRIPLES * 4)) == alone * 4


def test_long_texts_are_read_where_they_differ(reader: ParaphraseReader) -> None:
    story = "The committee met on Monday and spoke about many things of which few were settled. " * 20
    asked = f"{story}Please switch the heating on. {story}"
    same = f"{story}Please turn the heating on. {story}"
    other = f"{story}Please switch the heating off. {story}"
    of_same, of_other = reader.log_odds(asked, same), reader.log_odds(asked, other)
    assert of_same is not None
    assert of_other is not None
    assert of_same > of_other


def test_what_differs_in_too_much_is_not_read(reader: ParaphraseReader) -> None:
    one, other = ("a long story about nothing " * 60, "another one, which has no end " * 60)
    assert reader.log_odds(one, other) is None
    assert reader.log_odds("a" * 5000, "b") is None


@pytest.mark.parametrize("text", ["", " ", "?", "a\0b", "\ud800", "𓀀", "\n\t"])
def test_odd_texts_are_read(reader: ParaphraseReader, text: str) -> None:
    assert reader.log_odds(text, "How are you?") is not None
    assert reader.log_odds(text, text) is not None


def test_what_both_begin_and_end_with_is_cut_to_its_surroundings(inputs: E5Inputs) -> None:
    common = list(range(10, 300))
    pair = arranged(inputs, [*common, 5, *common], [*common, 6, 7, *common], MOST_TOKENS)
    asked, cached = (pair.ids[slice(*place)] for place in (pair.asked, pair.cached))
    assert asked == [*common[-SURROUNDINGS:], 5, *common[:SURROUNDINGS]]
    assert cached == [*common[-SURROUNDINGS:], 6, 7, *common[:SURROUNDINGS]]
    assert pair.whole
    short = arranged(inputs, [5, 6], [5, 7], MOST_TOKENS)
    assert short.ids == [inputs.begin, 5, 6, inputs.end, inputs.end, 5, 7, inputs.end]
    assert averaging(short).tolist() == [[[0, 0.5, 0.5, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.5, 0.5, 0]]]


@pytest.mark.parametrize("name", [ABOUT, GRAPH])
@pytest.mark.parametrize("damage", ["missing", "cut short", "of another processor"])
def test_a_damaged_folder_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    folder = tmp_path / FOLDER
    shutil.copytree(shipped_folder(FOLDER), folder)
    if damage == "missing":
        (folder / name).unlink()
    elif damage == "cut short":
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    else:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        about["kept"] = {pair: [kept + 9.0] for pair, [kept] in about["kept"].items()}
        (folder / ABOUT).write_text(json.dumps(about))
    with pytest.raises(ConfigError):
        ParaphraseReader(folder=folder).open()


def test_a_reader_that_is_closed_says_so() -> None:
    with pytest.raises(ConfigError, match="not open"):
        ParaphraseReader().log_odds("a", "b")
