"""The few figures that README.md and README_CN.md show, from the results and from docs/deciding.md."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.measure import Comparison, Result
from benchmarks.report import short

DECIDING = Path(__file__).parent.parent / "docs" / "deciding.md"


class Words(NamedTuple):
    """What a table in one language says."""

    head: str
    wrong: str
    """Of a language's hits; ``{}`` is its name."""
    found: str
    """``{}`` is the share."""
    languages: Mapping[str, str]
    rows: Mapping[str, tuple[str, str]]
    """By the row's name in docs/speed.md: what was measured, and what beside it."""
    confidence: str
    """Where the shares are explained."""


ENGLISH = Words(
    head="| what | ModelCache | beside it | from |",
    wrong="wrong among the hits, hard pairs, {}",
    found="{} of the rephrasings found",
    languages={"Chinese": "Chinese", "English": "English"},
    rows={
        "exact, SQLite": ("exact hits, 8 clients", "a bare Flask route"),
        "semantic": ("a semantic hit, p50", "the embedder alone"),
        "miss": ("a miss, p50", "the embedder alone"),
        "gptcache-semantic": ("a semantic hit, p50, 10,500 entries", "GPTCache in process"),
        "redisvl-semantic": ("a semantic hit, p50, 10,500 entries", "RedisVL in process"),
        "growth": ("a search in 1,000,000 entries, p50, without embedding", "in 10,000"),
        "memory": ("memory for each of 1,000,000 entries", "its vector in float32"),
    },
    confidence="[confidence](docs/deciding.md#confidence)",
)
CHINESE = Words(
    head="| 指标 | ModelCache | 对照 | 来源 |",
    wrong="命中里答错的比例，困难的{}问题对",
    found="找到 {} 的改写",
    languages={"Chinese": "中文", "English": "英文"},
    rows={
        "exact, SQLite": ("精确命中，8 个客户端", "空的 Flask 路由"),
        "semantic": ("语义命中，p50", "只算一次向量"),
        "miss": ("未命中，p50", "只算一次向量"),
        "gptcache-semantic": ("语义命中，p50，10,500 个条目", "进程内的 GPTCache"),
        "redisvl-semantic": ("语义命中，p50，10,500 个条目", "进程内的 RedisVL"),
        "growth": ("在 1,000,000 个条目中查找，p50，不含向量计算", "在 10,000 个中"),
        "memory": ("1,000,000 个条目时，每个条目的内存", "float32 向量本身"),
    },
    confidence="[置信度](docs/zh/deciding.md#置信度)",
)


def both(results: Sequence[Result]) -> tuple[str, str]:
    """Return the tables of README.md and README_CN.md."""
    deciding = DECIDING.read_text(encoding="utf-8")
    return figures(results, ENGLISH, deciding), figures(results, CHINESE, deciding)


def figures(results: Sequence[Result], words: Words, deciding: str) -> str:
    """Return the table in one language; ``deciding`` is the text of docs/deciding.md."""
    lines = [words.head, "| --- | --- | --- | --- |"]
    for language, wrong, found in chosen_thresholds(deciding):
        what = words.wrong.format(words.languages[language])
        lines.append(f"| {what} | {wrong} | {words.found.format(found)} | {words.confidence} |")
    by_name = {result.name: result for result in results if isinstance(result, Comparison)}
    for name, (what, beside) in words.rows.items():
        row = by_name[name]
        ours, theirs = (f"{short(median(side))} {row.unit}" for side in (row.ours, row.theirs))
        lines.append(f"| {what} | {ours} | {beside}: {theirs} | `{name}` |")
    return "\n".join(lines)


def chosen_thresholds(deciding: str) -> Iterator[tuple[str, str, str]]:
    """Yield a language, its wrong hits and what is found: the bold cells of the table of thresholds."""
    table = deciding.split("<!-- confidence -->")[1].split("<!-- /confidence -->")[0]
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()]
    for row in rows:
        for column, cell in enumerate(row):
            wrong = re.fullmatch(r"wrong hits, (\w+)", head[column])
            if wrong and cell.startswith("**"):
                yield wrong[1], cell.strip("*"), row[column + 1].strip("*")
