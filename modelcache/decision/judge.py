"""Decide which candidate answers a question, if any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from modelcache.decision.confidence import Confidence, odds_times
from modelcache.decision.conversations import Conversations
from modelcache.decision.rerank import Reranker
from modelcache.embedding.base import Thresholds
from modelcache.language.small_talk import sole_turn
from modelcache.processor.post import first
from modelcache.records.dialogue import differing_part, last_turn
from modelcache.records.entry import Candidate
from modelcache.records.question import Question
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.slots.guard import SlotGuard

RERANK = "rerank"
# How much higher the odds are at the same point of the same conversation. A calibration is fitted to hard
# pairs; the few questions that are asked next here are less like each other.
SAME_CONVERSATION = 3.0

# Nobody wants to know more of a pair than that its confidence is under this, unless the threshold is lower.
FAR = 0.1


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and what was found about it."""

    candidate: Candidate
    confidence: float
    """How sure it is that the answer may be reused, 0..1."""
    veto: str
    """The rule that refuses it whatever its confidence, "" if none does."""
    score: float | None = None
    """The reranker's, 0..1; None where it was not asked or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``chosen`` answers the question; None: nothing does. ``nearest`` is the most alike, chosen or not."""

    chosen: Judged | None
    nearest: Judged | None
    veto: str = ""
    """The rule that refused the nearest candidate which would or might have answered; "" if none did."""


class Judge:
    """Weighs candidates by confidence, the slot guard and, inside a conversation, its earlier turns.

    Safe to call from many threads.
    """

    def __init__(
        self,
        evaluation: SimilarityEvaluation,
        slot_guard: SlotGuard,
        conversations: Conversations,
        post_process: Callable[[Sequence[Candidate]], Candidate],
        thresholds: Thresholds,
        confidence: Confidence | None = None,
        long_text_chars: int = 256,
        read_candidates: int = 2,
        reranker: Reranker | None = None,
    ) -> None:
        """Without ``confidence`` the evaluation's rank takes its place; ``thresholds`` are cosines."""
        self._read_candidates = read_candidates
        self.slot_guard = slot_guard
        self.conversations = conversations
        self._reranker = reranker
        self._evaluation = evaluation
        self._post_process = post_process
        self._thresholds = thresholds
        self._confidence = confidence
        self._long_text_chars = long_text_chars

    @property
    def searches(self) -> bool:
        """Whether anything but an equal question may answer."""
        return self._evaluation.searches

    def is_long(self, question: Question) -> bool:
        """Tell whether the text is of the kind that has a cosine threshold of its own."""
        return len(question.text) > self._long_text_chars

    def threshold(self, question: Question) -> float:
        """Return the calibrated threshold for a question of this length."""
        if self._confidence is not None:
            return self._confidence.threshold(question.text)
        own = self._thresholds
        return self._evaluation.threshold(own.long if self.is_long(question) else own.short)

    def nearest_decides(self, question: Question) -> bool:
        """Tell whether the nearest candidate answers if it may, whatever the others are."""
        return self._post_process is first and self._reranker is None and not question.in_conversation

    def worth_judging(self, question: Question, candidates: Sequence[Candidate], threshold: float) -> int:
        """Return how many of the first candidates it takes to judge all that may reach the threshold."""
        least = self._least(question, threshold)
        near = [place for place, one in enumerate(candidates, start=1) if one.similarity >= least]
        return near[-1] if near else 0

    def judge(
        self,
        question: Question,
        candidates: Sequence[Candidate],
        known: Sequence[Judged] = (),
        threshold: float = 0.0,
    ) -> list[Judged]:
        """Return the candidates in their order, the most alike first.

        With a confidence, only the first few that no rule refuses are read; those behind are left out, and
        what is too far for any threshold in use is not read. ``known`` are the first of them, judged before.
        """
        found = list(known)
        at_least = min(FAR, _eased(question, threshold))
        unread = self._read_candidates - sum(not one.veto for one in known)
        for candidate in candidates[len(known) :]:
            texts = _compared(question, candidate)
            if question.in_conversation:
                veto = self.conversations.veto(question, candidate)
            else:
                veto = self.slot_guard.compare(*texts)
            if self._confidence is None:
                share = self._evaluation.rank(question, candidate) / self._evaluation.highest
            elif veto:
                share = self._confidence.unread(texts[0], candidate.similarity)
            elif unread:
                unread -= 1
                share = self._confidence.rate(*texts, candidate.similarity, at_least)
                if candidate.context_similarities:
                    share = odds_times(SAME_CONVERSATION, share)
            else:
                break
            found.append(Judged(candidate, share, veto))
        return found

    def choose(self, question: Question, judged: Sequence[Judged], threshold: float) -> Verdict:
        """Choose the surest of the candidates that reach the threshold and that no rule refuses.

        A reranker then refuses those that it scores under its own threshold; the best of the others answers.
        """
        near = [one for one in judged if not one.veto and self._evaluation.accepts(one.confidence, threshold)]
        if self._reranker is not None:
            near = _reranked(self._reranker, question, near)
        best_first = sorted(near, key=lambda one: (one.score or 0.0, one.confidence), reverse=True)
        accepted = {id(one.candidate): one for one in best_first if not one.veto}
        chosen = self._post_process([one.candidate for one in accepted.values()]) if accepted else None
        nearest = judged[0] if judged else None
        return Verdict(
            None if chosen is None else accepted[id(chosen)],
            nearest,
            self._refusal(question, judged, near, threshold),
        )

    def _refusal(
        self, question: Question, judged: Sequence[Judged], near: Sequence[Judged], threshold: float
    ) -> str:
        """Return the rule that refused the nearest candidate which would or might have answered, else ""."""
        reranked = {id(one.candidate): one.veto for one in near}
        for one in judged:
            if one.veto and self._might_answer(question, one, threshold):
                return one.veto
            if id(one.candidate) in reranked:
                return reranked[id(one.candidate)]
        return ""

    def _might_answer(self, question: Question, one: Judged, threshold: float) -> bool:
        """Tell whether a refused candidate, which is not read, may reach the threshold."""
        if self._confidence is None:
            return self._evaluation.accepts(one.confidence, threshold)
        return one.candidate.similarity >= self._least(question, threshold)

    def _least(self, question: Question, threshold: float) -> float:
        """Return the cosine under which hardly any candidate reaches the threshold."""
        if self._confidence is None:
            return -1.0
        return self._confidence.least(question.text, _eased(question, threshold))


def _eased(question: Question, threshold: float) -> float:
    """Return the confidence by two texts alone that reaches the threshold."""
    return odds_times(1 / SAME_CONVERSATION, threshold) if question.in_conversation else threshold


def _compared(question: Question, candidate: Candidate) -> tuple[str, str]:
    """Return the texts of both questions that their similarity is of."""
    if question.in_conversation:
        return last_turn(question.dialogue), last_turn(candidate.entry.question)
    cached = sole_turn(candidate.entry.question) if len(question.turns) == 1 else None
    if cached is not None:
        return question.turns[0][1], cached
    return differing_part(question.dialogue, candidate.entry.question)


def _reranked(reranker: Reranker, question: Question, near: Sequence[Judged]) -> list[Judged]:
    """Give the candidates that no rule refuses their scores, if there are any in time."""
    asked = last_turn(question.dialogue)
    cached = [last_turn(one.candidate.entry.question) for one in near]
    # An equal last turn needs no model, and what is refused already gets no better.
    doubtful = [place for place, one in enumerate(near) if not one.veto and cached[place] != asked]
    scores = reranker.score(asked, [cached[place] for place in doubtful]) if doubtful else []
    if scores is None:
        return list(near)
    found = dict(zip(doubtful, scores, strict=True))
    reranked = []
    for place, one in enumerate(near):
        score = found.get(place, 1.0)
        refused = not one.veto and score < reranker.threshold
        reranked.append(replace(one, score=score, veto=RERANK if refused else one.veto))
    return reranked
