"""Labelled pairs as the decision sees them: what the rules, the reader and the embedder say of each."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from modelcache.calibration.curve import Rated
from modelcache.calibration.pairs import LabelledPair
from modelcache.decision.confidence import FORM_ONLY, LanguageModel, differing_lines
from modelcache.decision.languages import language_of
from modelcache.embedding.base import Embedder, usable_cores
from modelcache.language.form import differ_in_form_only
from modelcache.records.vectors import Embeddings
from modelcache.similarity_evaluation.paraphrase import ParaphraseReader
from modelcache.slots.guard import SlotGuard

BATCH = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """A pair and what was found about it."""

    pair: LabelledPair
    suite: str
    """The set of pairs that it comes from."""
    language: str
    veto: str
    """The rule that refuses it, "" if none does."""
    form_only: bool
    cosine: float
    log_odds: float | None
    """What the reader adds to those by the cosine; None for a pair that is too long to be read."""
    mislabelled: float = 0.0
    """How likely it is that a pair labelled as different in its set is the same, where it is rated high."""
    trap: bool = False
    """Whether its set was made to be mistaken."""

    @property
    def is_fitted(self) -> bool:
        """Whether the confidence decides on it, and not a rule."""
        return not self.veto and not self.form_only and self.log_odds is not None


def see(
    suites: Mapping[str, Sequence[LabelledPair]],
    embedder: Embedder,
    slot_guard: SlotGuard,
    reader: ParaphraseReader,
    mislabelled: Mapping[str, float] | None = None,
    traps: Collection[str] = (),
) -> list[Seen]:
    """Look at all pairs, with an open embedder and reader.

    ``mislabelled`` is known of some sets, by their names; ``traps`` names those that are such.
    """
    pairs = [(name, pair) for name, suite in suites.items() for pair in suite]
    compared = {pair: differing_lines(pair.asked, pair.cached) for _, pair in pairs}
    texts = list(dict.fromkeys(text for parts in compared.values() for text in parts))
    vectors = dict(zip(texts, _embed(embedder, texts), strict=True))

    def one(named: tuple[str, LabelledPair]) -> Seen:
        suite, pair = named
        asked, cached = compared[pair]
        veto = slot_guard.compare(pair.asked, pair.cached)
        return Seen(
            pair=pair,
            suite=suite,
            language=language_of(pair.asked),
            veto=veto,
            form_only=not veto and differ_in_form_only(pair.asked, pair.cached),
            cosine=float(vectors[asked] @ vectors[cached]),
            log_odds=None if veto else reader.log_odds(asked, cached),
            mislabelled=(mislabelled or {}).get(suite, 0.0),
            trap=suite in traps,
        )

    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(tqdm(pool.map(one, pairs), total=len(pairs), desc="reading", unit="pair", disable=None))


def rate(model: LanguageModel, seen: Seen) -> float:
    """Return the confidence of a pair as the service would, but -1 where a rule refuses it."""
    if seen.veto:
        return -1.0
    if seen.form_only:
        return FORM_ONLY
    return 0.0 if seen.log_odds is None else model.confidence(seen.log_odds, seen.cosine)


def rated(seen: Sequence[Seen], model: LanguageModel) -> Rated:
    """Return the pairs by their confidence."""
    return Rated.of(
        [rate(model, one) for one in seen],
        [one.pair.same for one in seen],
        [one.suite for one in seen],
        [one.mislabelled for one in seen],
        [one.trap for one in seen],
    )


def _embed(embedder: Embedder, texts: Sequence[str]) -> list[Embeddings]:
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    found: list[Embeddings] = []
    with (
        ThreadPoolExecutor(embedder.parallel) as pool,
        tqdm(total=len(texts), desc="embedding", unit="text", disable=None) as bar,
    ):
        for vectors in pool.map(embedder.embed, batches):
            found += list(vectors)
            bar.update(len(vectors))
    return found
