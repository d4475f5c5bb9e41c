"""Real question pairs, where they are at hand."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = {"Chinese": "lcqmc_dev.tsv", "English": "qqp_dev.tsv"}
HOW_TO_GET = (
    "real question pairs are not at hand: put lcqmc_dev.tsv (LCQMC, dev split) and qqp_dev.tsv "
    "(Quora Question Pairs) as text A, text B, label, separated by tabs, into a folder and name it "
    "in MODELCACHE_BENCH_DATA"
)


@dataclass(frozen=True, slots=True)
class Pair:
    cached: str
    asked: str
    same: bool


def data_folder() -> Path | None:
    """Return the folder that holds the pairs, or None."""
    named = os.environ.get("MODELCACHE_BENCH_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if all((folder / name).is_file() for name in FILES.values()) else None


def read_pairs(folder: Path, language: str) -> list[Pair]:
    """Return the labelled pairs of one language."""
    lines = (folder / FILES[language]).read_text(encoding="utf-8").splitlines()
    return [
        Pair(cached, asked, label == "1") for cached, asked, label in (line.split("\t") for line in lines)
    ]


def distinct_questions(folder: Path, count: int) -> list[str]:
    """Return this many different questions, an equal number of each language."""
    questions: list[str] = []
    for language in FILES:
        texts = dict.fromkeys(pair.cached.strip() for pair in read_pairs(folder, language))
        questions += list(texts)[: count // len(FILES)]
    return questions
