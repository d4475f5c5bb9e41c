"""Reading labelled questions: what is taken, and what is said of what is not."""

import json
import re
from pathlib import Path

import pytest

from modelcache.errors import ConfigError
from modelcache.evaluation.pairs import LabelledPair, read_pairs, shown, user
from tests.support.running import ROOT

DIALOGUE = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}, *user("Why?")]


def written(folder: Path, *lines: str) -> Path:
    path = folder / "pairs"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_tabs_separate_texts_label_and_kind(tmp_path: Path) -> None:
    path = written(tmp_path, "a\tb\t1", "", r"one\ntwo\tthree\\n" + "\tb\t0\tan escape")
    assert read_pairs(path) == [
        LabelledPair(user("a"), user("b"), True),
        LabelledPair(user("one\ntwo\tthree\\n"), user("b"), False, "an escape"),
    ]


def test_a_json_object_a_line_holds_texts_or_dialogues(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        json.dumps({"id": "1", "group": "g", "a": "a", "b": "b\u2028c", "same": 1}, ensure_ascii=False),
        json.dumps({"a": DIALOGUE, "b": "b", "same": False}),
    )
    assert read_pairs(path) == [
        LabelledPair(user("a"), user("b\u2028c"), True, "g"),
        LabelledPair(DIALOGUE, user("b"), False),
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a\tb\t1", "a\tb"], "line 2: expected text A, text B, 0 or 1"),
        (["a\tb\t2"], "line 1: expected text A, text B, 0 or 1"),
        (["a\t \t1"], "line 1: query: the last message has no text"),
        (['{"a": "a", "b": "b", "same": 1}', "a\tb\t1"], 'line 2: expected a JSON object with "a", "b"'),
        (['{"a": "a", "b": "b", "same": 2}'], 'line 1: expected a JSON object with "a", "b"'),
        (['{"a": "a", "b": 3, "same": 1}'], 'line 1: expected a JSON object with "a", "b"'),
        (['{"a": "a", "b": [{"role": "user"}], "same": 1}'], "line 1: query: the last message has no text"),
        ([""], "holds no pairs"),
    ],
)
def test_what_is_no_pair_is_named_by_file_and_line(tmp_path: Path, lines: list[str], told: str) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(ConfigError) as failed:
        read_pairs(path)
    assert str(path) in str(failed.value)
    assert told in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "pairs").write_bytes(b"\xff\xfe\t")
    for path in (tmp_path / "pairs", tmp_path / "none"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_pairs(path)


def test_a_dialogue_is_shown_as_a_line() -> None:
    assert shown(user("a\n b")) == "a b"
    assert shown(DIALOGUE) == "user: Hi | assistant: Yes? | user: Why?"


@pytest.mark.parametrize("page", ["docs/measuring.md", "docs/zh/measuring.md"])
def test_the_lines_that_the_page_shows_can_be_read(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    [shown_lines] = re.findall(r'```json\n(\{"a": .*?)```', text, re.DOTALL)
    first, second = read_pairs(written(tmp_path, shown_lines))
    assert (first.same, second.same) == (True, False)
    assert (len(first.cached), len(second.cached)) == (1, 3)
