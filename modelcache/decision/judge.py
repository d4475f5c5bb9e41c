"""Decide which candidate answers a question, if any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from modelcache.decision.confidence import Confidence, Pair
from modelcache.decision.conversations import CONTEXT, Conversations
from modelcache.decision.features import NEIGHBOURS
from modelcache.decision.rerank import Reranker
from modelcache.embedding.base import Embeddings, Thresholds
from modelcache.manager.data_manager import Candidate
from modelcache.manager.reconcile import from_bytes
from modelcache.processor.post import first
from modelcache.processor.pre import Question, differing_part, last_turn
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.slots.guard import SlotGuard

RERANK = "rerank"
# How much higher the odds are at the same point of the same conversation. A calibration is fitted to the
# nearest of thousands of questions; the few that are asked next here are less like each other.
SAME_CONVERSATION = 3.0


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
        reranker: Reranker | None = None,
    ) -> None:
        """Without ``confidence`` the evaluation's rank takes its place; ``thresholds`` are cosines."""
        self.slot_guard = slot_guard
        self.conversations = conversations
        self._reranker = reranker
        self._evaluation = evaluation
        self._post_process = post_process
        self._thresholds = thresholds
        self._confidence = confidence
        self._long_text_chars = long_text_chars

    @property
    def neighbours(self) -> int:
        """How many candidates are needed to judge one."""
        return 1 if self._confidence is None else NEIGHBOURS + 1

    def is_long(self, question: Question) -> bool:
        """Tell whether the text is of the kind that has a threshold of its own."""
        return len(question.text) > self._long_text_chars

    def close(self) -> None:
        """Release what it holds; harmless when repeated."""
        if self._reranker is not None:
            self._reranker.close()

    def threshold(self, question: Question) -> float:
        """Return the calibrated threshold for a question of this length."""
        if self._confidence is not None:
            return self._confidence.threshold(question.text)
        own = self._thresholds
        return self._evaluation.threshold(own.long if self.is_long(question) else own.short)

    def nearest_decides(self, question: Question) -> bool:
        """Tell whether the nearest candidate answers if it may, whatever the others are."""
        return self._post_process is first and self._reranker is None and not question.without_context

    def worth_judging(self, question: Question, candidates: Sequence[Candidate], threshold: float) -> int:
        """Return how many of the first candidates it takes to judge all that may reach the threshold."""
        if self._confidence is None or threshold <= 0 or self.is_long(question):
            return len(candidates)
        least = self._confidence.least(
            question.text,
            _odds_times(1 / SAME_CONVERSATION, threshold) if question.without_context else threshold,
        )
        near = [place for place, one in enumerate(candidates, start=1) if one.similarity >= least]
        return near[-1] if near else 0

    def judge(
        self,
        question: Question,
        embedding: Embeddings,
        candidates: Sequence[Candidate],
        count: int | None = None,
    ) -> list[Judged]:
        """Return the first ``count`` candidates, or all, in their order: the most alike first.

        The others are their neighbours only. ``embedding`` is that of the question, without its context.
        """
        neighbours, candidates = candidates, candidates[:count]
        texts = [_compared(question, candidate) for candidate in candidates]
        rules = [self.slot_guard.differences(*pair) for pair in texts]
        vetoes = [
            self.conversations.veto(question, candidate)
            if question.without_context
            else (found[0] if found else "")
            for candidate, found in zip(candidates, rules, strict=True)
        ]
        if self._confidence is None:
            highest = self._evaluation.highest
            shares = [self._evaluation.rank(question, candidate) / highest for candidate in candidates]
        elif self.is_long(question):
            height = self._confidence.threshold(question.text)
            # What is fitted to short texts says nothing of long ones. The embedder's threshold for these
            # is put where the confidence's own is.
            shares = [
                _between(candidate.similarity, self._thresholds.long, height) for candidate in candidates
            ]
        else:
            # What is said in another conversation makes nothing ambiguous in this one.
            elsewhere = {
                one.entry.id for one, veto in zip(candidates, vetoes, strict=True) if veto == CONTEXT
            }
            here = [one for one in neighbours if one.entry.id not in elsewhere]
            shares = self._confidence.rate(
                [
                    Pair(
                        *pair,
                        found,
                        candidate.similarity,
                        _others(candidate, here),
                        _embeddings(embedding, candidate),
                    )
                    for candidate, pair, found in zip(candidates, texts, rules, strict=True)
                ]
            )
            shares = [
                _odds_times(SAME_CONVERSATION, share)
                if candidate.context_similarities and veto != CONTEXT
                else share
                for share, candidate, veto in zip(shares, candidates, vetoes, strict=True)
            ]
        return [
            Judged(candidate, share, veto)
            for candidate, share, veto in zip(candidates, shares, vetoes, strict=True)
        ]

    def choose(self, question: Question, judged: Sequence[Judged], threshold: float) -> Verdict:
        """Choose among the candidates whose confidence reaches the threshold and that no rule refuses.

        A reranker then refuses those that it scores under its own threshold; the best of the others answers.
        """
        near = [one for one in judged if self._evaluation.accepts(one.confidence, threshold)]
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


def _compared(question: Question, candidate: Candidate) -> tuple[str, str]:
    """Return the texts of both questions that their similarity is of."""
    if question.without_context:
        return last_turn(question.dialogue), last_turn(candidate.entry.question)
    return differing_part(question.dialogue, candidate.entry.question)


def _embeddings(asked: Embeddings, candidate: Candidate) -> tuple[Embeddings, Embeddings] | None:
    """Return those of both questions without their contexts, which follow in a row."""
    cached = from_bytes(candidate.entry.embedding)[: len(asked)]
    return (asked, cached) if len(cached) == len(asked) else None


def _others(candidate: Candidate, candidates: Sequence[Candidate]) -> list[float]:
    answer = candidate.entry.answer
    return [other.similarity for other in candidates if other.entry.answer != answer]


def _odds_times(factor: float, share: float) -> float:
    """Return the share whose odds are so many times those of this one."""
    return factor * share / (1.0 + (factor - 1.0) * share)


def _between(cosine: float, knee: float, height: float) -> float:
    """Map 0, ``knee`` and 1 to 0, ``height`` and 1, and what is between by straight lines."""
    cosine = min(1.0, max(0.0, cosine))
    if cosine < knee:
        return cosine / knee * height
    return 1.0 if knee >= 1.0 else height + (cosine - knee) / (1.0 - knee) * (1.0 - height)


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
