"""One question to what the cache holds for it: an equal one first, then the nearest that means the same.

Every API and every mode asks here. What is found is served or not by the caller.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelcache.admission import Admission
from modelcache.decision.judge import Judge, Judged, Verdict
from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.learning.feedback import FeedbackRule
from modelcache.manager.data_manager import SSDataManager
from modelcache.records.entry import CachedAnswer, Candidate
from modelcache.records.found import EQUAL, NOTHING_COMPARED, Found, Likeness
from modelcache.records.observation import Observation
from modelcache.records.question import Question
from modelcache.records.vectors import Embeddings, from_bytes
from modelcache.settings import Settings
from modelcache.spans import DECISION, EMBEDDING, SEARCH, Spans

Observations = dict[int, list[Observation]]


@dataclass(frozen=True, slots=True)
class Rated:
    """How sure the decision is of one entry for a question, and the question's embedding."""

    confidence: float
    """0..1."""
    embedding: Embeddings


class Lookup:
    """Finds the entry that answers a question; safe to call from many threads."""

    def __init__(
        self,
        gathering: GatheringEmbedder,
        data_manager: SSDataManager,
        judge: Judge,
        feedback_rule: FeedbackRule,
        admission: Admission,
        settings: Settings,
        spans: Spans | None = None,
    ) -> None:
        """``admission`` is for the part of a look-up between its embedding and its end."""
        self._gathering = gathering
        self._data_manager = data_manager
        self._judge = judge
        self._feedback_rule = feedback_rule
        self._admission = admission
        self._settings = settings
        self._spans = spans or Spans()

    def find(
        self,
        question: Question,
        threshold: float | None = None,
        top_k: int | None = None,
        *,
        unsure: bool = False,
        exact_only: bool = False,
    ) -> Found:
        """Return the entry of an equal question, or the surest one over the threshold that no rule refuses.

        ``threshold`` (0..1) takes the place of the configured or calibrated one, ``top_k`` that of the
        setting. ``unsure`` finds entries under the threshold of all as well, for modes that learn from them.
        ``exact_only`` looks for the entry of an equal question and no further.
        Raises EmbeddingError and StoreError.
        """
        exact = self._data_manager.find_exact(question.fingerprint)
        if exact is not None:
            return Found(exact, exact=True, likeness=EQUAL)
        if exact_only or not (self._judge.searches and self.compares(question)):
            return Found()
        if threshold is None:
            threshold = 0.0 if unsure else self.threshold(question)
        # What was observed of an entry raises the threshold of all for it; it has none of its own.
        common = math.inf if unsure else threshold
        verdict, observations = self._decide(question, threshold, common, top_k or self._settings.top_k)
        if verdict.chosen is None:
            nearest = verdict.nearest
            return Found(
                likeness=_likeness_of(nearest),
                veto=verdict.veto,
                nearest_id=None if nearest is None else nearest.candidate.entry.id,
            )
        entry = verdict.chosen.candidate.entry
        return Found(
            entry,
            score=min(max(verdict.chosen.confidence, 0.0), 1.0),
            likeness=_likeness_of(verdict.chosen),
            veto=verdict.veto,
            observations=tuple(observations.get(entry.id, ())),
        )

    def rate(self, question: Question, entry: CachedAnswer) -> Rated | None:
        """Judge one live entry as ``find`` did; None where it cannot have answered the question.

        An entry that is not near any more is judged by its row.
        """
        if not self.compares(question):
            return None
        embedding, context = self._embedded(question, urgent=False)
        if entry.partition != question.partition:
            context = None
        top_k = self._settings.top_k
        near = self._data_manager.search(question.model, entry.partition, embedding, top_k, context)
        candidate = next((one for one in near if one.entry.id == entry.id), None)
        if candidate is None:
            stored = self._data_manager.scalars.embeddings([entry.id])
            if not stored or stored[0].embedder != self._data_manager.embedder:
                return None
            similarity = float(from_bytes(stored[0].embedding)[: len(embedding)] @ embedding)
            candidate = Candidate(entry, similarity)
        return Rated(self._judge.judge(question, [candidate])[0].confidence, embedding)

    def would_answer(self, question: Question, other: Question, threshold: float | None = None) -> bool:
        """Tell whether an entry of the other question, of one partition, would answer this one."""
        if not (self._judge.searches and self.compares(question) and self.compares(other)):
            return False
        if threshold is None:
            threshold = self.threshold(question)
        embedding, context = self._embedded(question, urgent=True)
        others, others_context = self._embedded(other, urgent=True)
        alike: tuple[float, ...] = ()
        if context is not None and others_context is not None and len(context) == len(others_context):
            alike = tuple((others_context * context).sum(axis=1).tolist())
        entry = CachedAnswer(
            0, other.model_key, other.partition, other.fingerprint, other.dialogue, "", 0, None
        )
        candidate = Candidate(entry, float(others @ embedding), alike)
        verdict, _ = self.judge_nearest_first(question, embedding, [candidate], threshold, threshold)
        return verdict.chosen is not None

    def compares(self, question: Question) -> bool:
        """Tell whether the question is compared by meaning: it is a user's, and short enough."""
        return question.is_comparable and len(question.text) <= min(
            self._settings.max_embed_chars, self._gathering.max_chars
        )

    def threshold(self, question: Question) -> float:
        """Return the threshold for a question of this length: the configured one, else the calibrated."""
        is_long = self._judge.is_long(question)
        settings = self._settings
        configured = settings.similarity_threshold_long if is_long else settings.similarity_threshold
        return self._judge.threshold(question) if configured is None else configured

    def judge_nearest_first(
        self,
        question: Question,
        embedding: Embeddings,
        candidates: Sequence[Candidate],
        threshold: float,
        common: float,
    ) -> tuple[Verdict, Observations]:
        """Judge as many of the candidates as it takes: the most alike come first.

        As a rule the nearest answers or none does, and the others need not be read. An entry's own
        threshold, by what was observed of it, is not under ``common``. Returns observations by id.
        """
        judge = self._judge
        worth = max(1, judge.worth_judging(question, candidates, threshold))
        judged: list[Judged] = []
        for count in (1, worth) if worth > 1 and judge.nearest_decides(question) else (worth,):
            judged = judge.judge(question, candidates[:count], judged, threshold)
            found, observations = self._observed(question, judged, embedding, common)
            verdict = judge.choose(question, found, threshold)
            if verdict.chosen is not None:
                break
        return verdict, observations

    def _decide(
        self, question: Question, threshold: float, common: float, top_k: int
    ) -> tuple[Verdict, Observations]:
        """Search and judge.

        Where no entry of the conversation answers, those cached without one may, if the question stands
        alone.
        """
        with self._spans.span(EMBEDDING):
            embedding, context = self._embedded(question, urgent=True)

        def judged(partition: str, context: Embeddings | None) -> tuple[Verdict, Observations]:
            with self._spans.span(SEARCH):
                near = self._data_manager.search(question.model, partition, embedding, top_k, context)
            with self._spans.span(DECISION):
                return self.judge_nearest_first(question, embedding, near, threshold, common)

        with self._admission.admitted():
            verdict = judged(question.partition, context)
            if verdict[0].chosen is None and self._judge.conversations.stands_alone(question):
                alone = judged(question.without_context, None)
                if alone[0].chosen is not None or verdict[0].nearest is None:
                    return alone
        return verdict

    def _embedded(self, question: Question, *, urgent: bool) -> tuple[Embeddings, Embeddings | None]:
        """Return the embeddings of the last turn, (dimension,), and of earlier ones, (turns, dimension)."""
        embedding, *turns = self._gathering.embed(question.texts, urgent=urgent)
        return embedding, np.stack(turns) if turns else None

    def _observed(
        self, question: Question, judged: list[Judged], embedding: Embeddings, common: float
    ) -> tuple[list[Judged], Observations]:
        """Refuse what observations speak against.

        They cost a read only where a row said, when it was read, that there are some.
        """
        ids = [one.candidate.entry.id for one in judged if one.candidate.entry.observed]
        observations = self._data_manager.scalars.observations(ids) if ids else {}
        refused = [
            self._feedback_rule.refuse(one, question.fingerprint, embedding, seen, common)
            if (seen := observations.get(one.candidate.entry.id))
            else one
            for one in judged
        ]
        return refused, observations


def _likeness_of(judged: Judged | None) -> Likeness:
    if judged is None:
        return NOTHING_COMPARED
    return Likeness(_shown(judged.candidate.similarity), _shown(judged.confidence))


def _shown(share: float) -> float:
    """Clip to 0..1, where rounding may have left it, and keep six digits."""
    return round(min(1.0, max(0.0, share)), 6)
