"""Decide which candidate answers a question, if any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from modelcache.decision.conversations import Conversations
from modelcache.decision.rerank import Reranker
from modelcache.manager.data_manager import Candidate
from modelcache.processor.pre import Question, last_turn
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.slots.guard import SlotGuard

RERANK = "rerank"


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
    """The rule that refused the surest candidate, which would have answered; "" if none did."""


class Judge:
    """Weighs candidates by an evaluation, the slot guard and, inside a conversation, its earlier turns.

    Safe to call from many threads.
    """

    def __init__(
        self,
        evaluation: SimilarityEvaluation,
        slot_guard: SlotGuard,
        conversations: Conversations,
        post_process: Callable[[Sequence[Candidate]], Candidate],
        reranker: Reranker | None = None,
    ) -> None:
        self.evaluation = evaluation
        self.slot_guard = slot_guard
        self.conversations = conversations
        self._post_process = post_process
        self._reranker = reranker

    def close(self) -> None:
        """Release what it holds; harmless when repeated."""
        if self._reranker is not None:
            self._reranker.close()

    def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Judged]:
        """Return all candidates with their confidence, in their order: the most alike first."""
        return [
            Judged(
                candidate,
                self.evaluation.rank(question, candidate) / self.evaluation.highest,
                self._veto(question, candidate),
            )
            for candidate in candidates
        ]

    def _veto(self, question: Question, candidate: Candidate) -> str:
        guard = self.conversations if question.without_context else self.slot_guard
        return guard.veto(question, candidate)

    def choose(self, question: Question, judged: Sequence[Judged], threshold: float) -> Verdict:
        """Choose among the candidates whose confidence reaches the threshold and that no rule refuses.

        A reranker then refuses those that it scores under its own threshold; the best of the others answers.
        """
        near = [one for one in judged if self.evaluation.accepts(one.confidence, threshold)]
        if self._reranker is not None:
            near = _reranked(self._reranker, question, near)
        best_first = sorted(near, key=lambda one: one.score or 0, reverse=True)
        accepted = {id(one.candidate): one for one in best_first if not one.veto}
        chosen = self._post_process([one.candidate for one in accepted.values()]) if accepted else None
        return Verdict(
            None if chosen is None else accepted[id(chosen)],
            judged[0] if judged else None,
            near[0].veto if near else "",
        )


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
