"""Decide which candidate answers a question, if any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelcache.decision.conversations import Conversations
from modelcache.manager.data_manager import Candidate
from modelcache.processor.pre import Question
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.slots.guard import SlotGuard


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and what was found about it."""

    candidate: Candidate
    confidence: float
    """How sure it is that the answer may be reused, 0..1."""
    veto: str
    """The rule that refuses it whatever its confidence, "" if none does."""


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
    ) -> None:
        self.evaluation = evaluation
        self.slot_guard = slot_guard
        self.conversations = conversations
        self._post_process = post_process

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

    def choose(self, judged: Sequence[Judged], threshold: float) -> Verdict:
        """Choose among the candidates whose confidence reaches the threshold and that no rule refuses."""
        near = [one for one in judged if self.evaluation.accepts(one.confidence, threshold)]
        accepted = {id(one.candidate): one for one in near if not one.veto}
        chosen = self._post_process([one.candidate for one in accepted.values()]) if accepted else None
        return Verdict(
            None if chosen is None else accepted[id(chosen)],
            judged[0] if judged else None,
            near[0].veto if near else "",
        )
