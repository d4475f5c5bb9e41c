"""Count hits, right and wrong ones, at a threshold and along all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelcache.evaluation.asking import Asker, Found, numbered
from modelcache.evaluation.linked import components
from modelcache.evaluation.pairs import Dialogue, LabelledPair, key
from modelcache.learning.verified import wilson_95

# A share of fewer hits says nothing of how it moves with the threshold.
LEAST_HITS = 30
POINTS = 60


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened to a number of questions at one threshold."""

    asked: int
    answerable: int
    """Of these: questions that an entry answers."""
    right: int
    wrong: int

    @property
    def hits(self) -> int:
        return self.right + self.wrong

    @property
    def wrong_share(self) -> float:
        """Share of the hits that is wrong, 0 where there are none."""
        return self.wrong / self.hits if self.hits else 0.0

    @property
    def found_share(self) -> float:
        """Share of the questions that have an answer and got it."""
        return self.right / self.answerable if self.answerable else 0.0

    @property
    def wrong_interval(self) -> tuple[float, float]:
        return wilson_95(self.wrong, self.hits)

    @property
    def found_interval(self) -> tuple[float, float]:
        return wilson_95(self.right, self.answerable)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question, the entries that answer it, and what it found."""

    asked: Dialogue
    entries: Sequence[Dialogue]
    kind: str
    answers: frozenset[int]
    own: int
    """The entry that it is labelled with."""
    found: Found

    def hit(self, threshold: float | None) -> int | None:
        return self.found.at(threshold)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """All that was asked, and how many questions were left out since an equal one is cached."""

    questions: Sequence[Outcome]
    equal: int

    def at(self, threshold: float | None, kind: str | None = None) -> Tally:
        """Count at a threshold, or at the default; ``kind``: the questions of one kind only."""
        asked = answerable = right = wrong = 0
        for one in self.questions:
            if kind is not None and one.kind != kind:
                continue
            hit = one.hit(threshold)
            asked, answerable = asked + 1, answerable + bool(one.answers)
            right, wrong = right + (hit in one.answers), wrong + (hit is not None and hit not in one.answers)
        return Tally(asked, answerable, right, wrong)

    def thresholds(self, count: int = POINTS) -> list[float]:
        """Return so many thresholds, rising, between which about as many hits each are lost."""
        every = sorted({step.threshold for one in self.questions for step in one.found.steps})
        last = len(every) - 1
        return [every[round(number * last / (count - 1))] for number in range(count)] if every else []

    def most_rise(self) -> tuple[float, float] | None:
        """Return by how much a higher threshold raises the wrong share at worst, as seen and at least.

        The latter takes the lower end of the interval of the higher threshold: of a few hits a single one
        moves the share by points. None where there are too few hits from the start.
        """
        tallies = [tally for tally in map(self.at, self.thresholds()) if tally.hits >= LEAST_HITS]
        lowest, worst, least = 1.0, 0.0, 0.0
        for tally in tallies:
            lowest = min(lowest, tally.wrong_share)
            worst = max(worst, tally.wrong_share - lowest)
            least = max(least, tally.wrong_interval[0] - lowest)
        return (worst, least) if tallies else None


def alone(asker: Asker, model: str, pairs: Sequence[LabelledPair]) -> Outcomes:
    """Ask each pair in a cache of its own; equal texts labelled the same are left out."""
    asked = [pair for pair in pairs if not (pair.same and key(pair.cached) == key(pair.asked))]
    found = asker.alone(model, [(pair.cached, pair.asked) for pair in asked])
    return Outcomes(
        [
            Outcome(pair.asked, [pair.cached], pair.kind, frozenset({0} if pair.same else ()), 0, one)
            for pair, one in zip(asked, found, strict=True)
        ],
        len(pairs) - len(asked),
    )


def together(
    asker: Asker, model: str, pairs: Sequence[LabelledPair], unasked: Sequence[LabelledPair] = ()
) -> Outcomes:
    """Ask all of one cache, each different question once; of the ``unasked`` there are the entries only.

    A hit is right on every entry that labels link with the question, over any number of others, and wrong
    on any other. A question that is cached itself is left out.
    """
    entries = list({key(pair.cached): pair.cached for pair in (*pairs, *unasked)}.values())
    place = {key(entry): number for number, entry in enumerate(entries)}
    asked = {key(pair.asked): pair for pair in reversed(pairs) if key(pair.asked) not in place}
    answers = _answers([*pairs, *unasked], place)
    ids = {id_: number for number, id_ in enumerate(asker.insert(model, entries))}
    found = asker.together(model, [pair.asked for pair in asked.values()])
    return Outcomes(
        [
            Outcome(
                pair.asked, entries, pair.kind, answers[name], place[key(pair.cached)], numbered(one, ids)
            )
            for (name, pair), one in zip(asked.items(), found, strict=True)
        ],
        len({key(pair.asked) for pair in pairs}) - len(asked),
    )


def _answers(pairs: Sequence[LabelledPair], place: dict[str, int]) -> dict[str, frozenset[int]]:
    """Return for each question the places of the entries that answer it by the labels."""
    same = ((key(pair.cached), key(pair.asked)) for pair in pairs if pair.same)
    # A text that nothing answers is linked with itself.
    itself = ((text, text) for pair in pairs for text in (key(pair.cached), key(pair.asked)))
    of = components([*same, *itself])
    linked: dict[str, set[int]] = {}
    for text, number in place.items():
        linked.setdefault(of[text], set()).add(number)
    return {text: frozenset(linked.get(component, ())) for text, component in of.items()}
