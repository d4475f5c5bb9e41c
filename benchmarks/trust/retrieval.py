"""Whether a rephrasing's own question is among the nearest, by language: no decision makes good for it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.trust import suites
from benchmarks.trust.own_cases import language_rows, statements
from modelcache.records.vectors import Embeddings
from tests.support.question_pairs import FILES, data_folder, read_pairs

NEAREST = (1, 5, 10)
# Real questions are cached four for each that is asked.
CACHED_FOR_ONE = 4
BATCH = 200
ALL = "all of them"

Embed = Callable[[Sequence[str]], Embeddings]


@dataclass(frozen=True, slots=True)
class Recalled:
    """How many of a language's questions have their own among so many nearest."""

    language: str
    asked: int
    among: tuple[int, ...]
    """For each of ``NEAREST``."""
    entries: int

    def line(self) -> str:
        shares = "  ".join(
            f"{'the nearest' if most == 1 else f'among {most}'} {count / self.asked:6.1%}"
            for most, count in zip(NEAREST, self.among, strict=True)
        )
        return f"own question, {self.language:11} n {self.asked:4} of {self.entries} entries: {shares}"


def recall(embed: Embed, dev_pairs: int) -> Iterator[Recalled]:
    """Ask for each rephrasing among all questions, traps and statements of our own, in every language.

    And, where real pairs are at hand, for the duplicates of so many of them.
    """
    traps = [trap for *_, trap in language_rows()]
    yield from _recalled(embed, list(_rephrasings()), [*traps, *_slot_texts()])
    data = data_folder()
    for language, file in FILES.items() if data is not None else ():
        assert data is not None
        pairs = read_pairs(data, language)[: CACHED_FOR_ONE * dev_pairs]
        name = file.removesuffix(".tsv")
        asked = [(name, pair.cached, pair.asked) for pair in pairs[:dev_pairs] if pair.same]
        # An equal question would be found without being compared.
        equal = {text for _, _, text in asked}
        yield from _recalled(embed, asked, [pair.cached for pair in pairs if pair.cached not in equal])


def _recalled(
    embed: Embed, asked: Sequence[tuple[str, str, str]], others: Sequence[str]
) -> Iterator[Recalled]:
    """``asked``: language, question and rephrasing."""
    entries = list(dict.fromkeys([*(cached for _, cached, _ in asked), *others]))
    index, vectors = _embedded(embed, entries), _embedded(embed, [text for *_, text in asked])
    place = {text: number for number, text in enumerate(entries)}
    languages = list(dict.fromkeys(language for language, *_ in asked))
    ranks: dict[str, list[int]] = {name: [] for name in languages}
    for (language, cached, _), vector in zip(asked, vectors, strict=True):
        cosines = index @ vector
        rank = int((cosines > cosines[place[cached]]).sum())
        ranks[language].append(rank)
    if len(languages) > 1:
        ranks[ALL] = [rank for found in ranks.values() for rank in found]
    for language, found in ranks.items():
        among = tuple(sum(rank < most for rank in found) for most in NEAREST)
        yield Recalled(language, len(found), among, len(entries))


def _rephrasings() -> Iterator[tuple[str, str, str]]:
    """Yield language, question and rephrasing."""
    for language, _, cached, rephrased, _ in language_rows():
        yield language, cached, rephrased
    for pair in statements():
        cached, asked = pair.cached[0]["content"], pair.asked[0]["content"]
        yield "zh" if suites.language_of(cached) == "Chinese" else "en", cached, asked


def _slot_texts() -> Iterator[str]:
    for entry in suites.slots("slots").entries:
        yield entry[0]["content"]


def _embedded(embed: Embed, texts: Sequence[str]) -> Embeddings:
    return np.concatenate([embed(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])
