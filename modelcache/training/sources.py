"""The labelled pairs at hand: the public sets that the shipped weights are taught with, or a user's own."""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelcache.decision.languages import CHINESE, language_of
from modelcache.errors import ConfigError
from modelcache.evaluation.linked import components, share_of
from modelcache.evaluation.pairs import read_pairs as read_labelled
from modelcache.records.dialogue import normalise
from modelcache.training.examples import Example

HOW_TO_GET = (
    "It needs question pairs in a folder: qqp.tsv, oppo.tsv, afqmc.tsv, atec.tsv, bq.tsv, simclue.tsv and "
    "paws.tsv (text A, text B, label), intents.tsv (text, intent) and, there or in the folder above, "
    "lcqmc_dev.tsv, tab-separated, without a header. They come from Quora Question Pairs, OPPO Xiaobu, "
    "AFQMC, ATEC, BQ, SimCLUE, PAWS-X, banking77, CLINC150 and LCQMC."
)
INTENTS = "intents"
LONGEST = 400
# Of SimCLUE only what looks like one question and the same again: its other pairs are of titles and novels.
LONGEST_SIMCLUE = 30
LEAST_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class Share:
    """How many pairs of a set are taken, of those that are the same and those that are not."""

    same: int
    other: int


# Everyday Chinese, of which there is little else: of these pairs one half is taught, the other one measured.
HALVED = "lcqmc_dev"
TAUGHT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Mixture:
    """What a model is taught with."""

    sets: Mapping[str, Share]
    half_times: int
    """How often the half is seen, among so many other pairs."""


# Banks' questions are many and narrow: they are kept from drowning the rest.
OF_EMBEDDER = Mixture(
    {
        "qqp": Share(15_000, 20_000),
        "oppo": Share(5_000, 7_000),
        "afqmc": Share(4_000, 5_000),
        "atec": Share(2_700, 3_000),
        "bq": Share(4_500, 4_500),
        "simclue": Share(8_000, 2_000),
        "paws": Share(700, 900),
        INTENTS: Share(0, 3_000),
    },
    half_times=2,
)
# The reader took theirs for all of Chinese.
OF_READER = Mixture(
    {
        "qqp": Share(6_500, 8_500),
        "oppo": Share(3_006, 6_890),
        "afqmc": Share(1_000, 1_300),
        "atec": Share(800, 800),
        "bq": Share(1_000, 1_000),
        "simclue": Share(3_000, 1_000),
        "paws": Share(700, 900),
        INTENTS: Share(0, 2_000),
    },
    half_times=2,
)


def shipped_mixture(folder: Path, mixture: Mixture, seed: int, share: float = 1.0) -> list[Example]:
    """Return the pairs of all sets in their shares, shuffled; ConfigError where a set is not there.

    ``share`` takes only so much of each set.
    """
    drawing = random.Random(seed)
    found: list[Example] = []
    for name, wanted in mixture.sets.items():
        path = folder / f"{name}.tsv"
        if not path.is_file():
            raise ConfigError(f"{path} is not there. {HOW_TO_GET}")
        if name == INTENTS:
            found += _of_intents(path, round(wanted.other * share), drawing)
            continue
        examples = list(read_pairs(path, name))
        if name == "simclue":
            examples = [one for one in examples if _is_one_question(one)]
        for same, most in ((True, wanted.same), (False, wanted.other)):
            kept = [one for one in examples if one.same is same]
            drawing.shuffle(kept)
            found += kept[: round(most * share)]
    half = _half(folder)
    found += half[: round(len(half) * share)] * mixture.half_times
    drawing.shuffle(found)
    return found


def _half(folder: Path) -> list[Example]:
    """Return the taught half of the dev set beside the folder; no question is in both halves."""
    paths = [place / f"{HALVED}.tsv" for place in (folder, folder.parent)]
    path = next((path for path in paths if path.is_file()), paths[0])
    if not path.is_file():
        raise ConfigError(f"{path} is not there. {HOW_TO_GET}")
    examples = list(read_pairs(path, HALVED))
    linked = components((normalise(one.asked), normalise(one.cached)) for one in examples)
    return [one for one in examples if share_of(linked[normalise(one.asked)]) < TAUGHT_SHARE]


def read_pairs(path: Path, kind: str) -> Iterator[Example]:
    """Give the pairs of a file of text A, text B and label; ConfigError names the line that is none."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.rstrip("\n").split("\t")
            if len(fields) < 3 or fields[2] not in ("0", "1"):
                raise ConfigError(f"{path}, line {number}: expected text A, text B and 0 or 1, tab-separated")
            asked, cached = fields[0].strip(), fields[1].strip()
            if asked and cached and asked != cached and max(len(asked), len(cached)) <= LONGEST:
                yield Example(asked, cached, fields[2] == "1", kind, language(asked))


def own_pairs(path: Path) -> Iterator[Example]:
    """Give the pairs of a file as ``evaluate`` takes it, each by its last turns."""
    for pair in read_labelled(path):
        asked, cached = (side[-1]["content"].strip() for side in (pair.asked, pair.cached))
        if asked != cached:
            yield Example(asked, cached, pair.same, path.stem, language(asked))


def language(text: str) -> str:
    """Return ``zh``, or ``en``, as which all other languages count."""
    return "zh" if language_of(text) == CHINESE else "en"


def _of_intents(path: Path, count: int, drawing: random.Random) -> Iterator[Example]:
    """Give pairs of two intents of one set: different questions. Those of one only share a topic."""
    by_set: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        text, intent = line.split("\t")
        by_set[intent.split("/")[0]].append((text, intent))
    for one in by_set.values():
        for text, intent in drawing.sample(one, min(len(one), max(1, count // len(by_set)))):
            others = [other for other, its in drawing.sample(one, min(200, len(one))) if its != intent]
            if others:
                yield Example(text, _most_alike(text, others), False, INTENTS, language(text))


def _most_alike(text: str, others: Sequence[str]) -> str:
    """Return the one that shares most words: random pairs teach nothing."""
    words = set(text.lower().split())
    return max(others, key=lambda other: len(words & set(other.lower().split())))


def _is_one_question(example: Example) -> bool:
    lengths = sorted((len(example.asked), len(example.cached)))
    return lengths[1] <= LONGEST_SIMCLUE and lengths[0] >= LEAST_RATIO * lengths[1]
