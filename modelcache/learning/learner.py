"""What a process knows of the modes of its models and of what was observed, and how it learns more.

Queries read what is in memory only. Two threads beside them: one reads every second what other processes
set and observed, one compares the answers that are inserted with those that entries would have given.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import time
from typing import Any

from cachetools import LRUCache

from modelcache.background import BackgroundWriter
from modelcache.embedding.base import Thresholds
from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.errors import ModelCacheError
from modelcache.events import Events
from modelcache.learning.answers import AnswerComparison
from modelcache.learning.policy import SHADOW, VERIFIED, Policy
from modelcache.learning.tallies import ASKED, NO_ENTRY, RIGHT, UNCLEAR, WRONG, bucket_of
from modelcache.learning.verified import Curve, Evidence, Verifier
from modelcache.manager.data_manager import SSDataManager
from modelcache.records.entry import CachedAnswer
from modelcache.records.event import Compared
from modelcache.records.found import Found
from modelcache.records.names import model_key
from modelcache.records.observation import ModelPolicy, Observation, PendingLookup, Tally
from modelcache.records.question import Question
from modelcache.settings import Settings

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
# An insert is compared this long after it came: until then, other processes have written their look-ups.
LINGER_SECONDS = 0.5
CLOSE_SECONDS = 10.0
WAITING_INSERTS = 1000
KEPT_MODELS = 256
POOL_OBSERVATIONS = 2000
# After so long an observation counts half: answers age.
HALF_LIFE_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class _Inserted:
    model_key: str
    answers: Sequence[tuple[str, int, str]]
    """Fingerprint, id and answer of each."""


class Learner:
    """Knows policies and estimates, and learns from inserts; safe to call from many threads.

    Nothing that a query or an insert calls here waits for a store, or fails when one does.
    """

    def __init__(
        self,
        data_manager: SSDataManager,
        gathering: GatheringEmbedder,
        thresholds: Thresholds,
        writer: BackgroundWriter,
        settings: Settings,
        events: Events,
    ) -> None:
        self._events = events
        self._scalars = data_manager.scalars
        self._eviction = data_manager.eviction
        self._writer = writer
        self._lookup_seconds = settings.lookup_seconds
        self._default = Policy(settings.mode, settings.error_rate, settings.default_ttl)
        self._compare = AnswerComparison(
            gathering,
            thresholds.short if settings.answers_same is None else settings.answers_same,
            thresholds.different if settings.answers_different is None else settings.answers_different,
        )
        self._policies: dict[str, Policy] = {}
        self._verifiers: LRUCache[str, Verifier] = LRUCache(KEPT_MODELS)
        self._lock = threading.Lock()
        self._inserts: queue.SimpleQueue[_Inserted | None] = queue.SimpleQueue()
        self._failing = False
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=run, name=f"modelcache-{name}", daemon=True)
            for name, run in (("refresher", self._keep_fresh), ("comparer", self._keep_comparing))
        ]

    def open(self) -> None:
        """Read the policies and start to learn; raises ScalarStoreError."""
        self._read_policies()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop after the work that is under way; harmless when repeated."""
        self._closing.set()
        self._inserts.put(None)
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    def policy(self, model_key: str) -> Policy:
        """Return what holds for a model, as it was known a second ago."""
        return self._policies.get(model_key, self._default)

    def set_policy(self, model: str, **given: Any) -> None:
        """Set the fields of ModelPolicy that are given for one model, for all processes.

        Raises ScalarStoreError.
        """
        key = model_key(model)
        before = next((one for one in self._scalars.policies() if one.model_key == key), None)
        policy = before or ModelPolicy(key, model)
        self._scalars.set_policy(replace(policy, **given))
        self._read_policies()

    def verifier(self, model_key: str) -> Verifier:
        """Return what decides for a model; a new one explores until its observations are read."""
        with self._lock:
            verifier = self._verifiers.get(model_key)
            if verifier is None:
                verifier = self._verifiers[model_key] = Verifier()
            return verifier

    def serves(self, question: Question, found: Found, policy: Policy) -> bool:
        """Tell whether what was found answers under this policy, and learn from the query.

        In shadow mode nothing does. A query that is told a miss awaits its answer, to compare it with the
        entry's.
        """
        entry = found.entry
        bucket = NO_ENTRY if entry is None else bucket_of(found.score, exact=found.exact)
        self._writer.tally(Tally(question.model_key, ASKED, bucket, 1))
        if entry is None:
            return False
        if policy.mode == VERIFIED and self._is_verified(question, found, entry, policy.error_rate):
            return True
        self._writer.lookup(
            PendingLookup(
                question.fingerprint, question.partition, question.model_key, entry.id, found.score, time()
            )
        )
        return False

    def _is_verified(self, question: Question, found: Found, entry: CachedAnswer, error_rate: float) -> bool:
        """Tell whether observations let the entry answer at this error rate; raises ScalarStoreError."""
        verifier = self.verifier(question.model_key)
        asked = question.fingerprint
        if found.exact:
            seen = self._scalars.observations([entry.id]).get(entry.id, []) if entry.observed else []
            own = [one for one in seen if one.fingerprint == asked]
            return verifier.serves_exact(asked, evidence(own), error_rate)
        seen = list(found.observations)
        if any(one.told and one.correct and one.fingerprint == asked for one in seen):
            return True
        others = [one for one in seen if one.fingerprint != entry.fingerprint]
        return verifier.serves(asked, found.score, evidence(others), error_rate)

    def inserted(self, model_key: str, answers: Sequence[tuple[str, int, str]]) -> None:
        """Have answers that were inserted (fingerprint, id, answer) compared, where that is awaited."""
        if self.policy(model_key).mode in (SHADOW, VERIFIED) and self._inserts.qsize() < WAITING_INSERTS:
            self._inserts.put(_Inserted(model_key, answers))

    def _read_policies(self) -> None:
        policies = self._scalars.policies()
        self._policies = {
            one.model_key: Policy(
                one.mode or self._default.mode,
                one.error_rate or self._default.error_rate,
                self._default.ttl if one.ttl is None else one.ttl or None,
            )
            for one in policies
        }
        if self._eviction is not None:
            self._eviction.limit_models(
                {one.model_key: one.max_size for one in policies if one.max_size is not None}
            )

    def _keep_fresh(self) -> None:
        while not self._closing.wait(REFRESH_SECONDS):
            self._attempt(self._refresh, "reading what other processes learned")

    def _refresh(self) -> None:
        if not self._scalars.exclusive:
            self._read_policies()
        with self._lock:
            verifiers = dict(self._verifiers)
        for key, verifier in verifiers.items():
            observations = self._scalars.model_observations(key, POOL_OBSERVATIONS)
            # A question that is equal tells nothing of those that are only alike.
            verifier.curve = Curve.fit(evidence([one for one in observations if not is_exact(one)]))

    def _keep_comparing(self) -> None:
        while (first := self._inserts.get()) is not None:
            self._closing.wait(LINGER_SECONDS)
            batch = [first]
            while not self._inserts.empty() and (more := self._inserts.get()) is not None:
                batch.append(more)
            self._attempt(partial(self._learn, batch), "comparing answers")
            if self._closing.is_set():
                return

    def _attempt(self, work: Callable[[], None], what: str) -> None:
        """Do what no request waits for; a failure is logged when it begins, not every second."""
        try:
            work()
            self._failing = False
        except ModelCacheError:
            if not self._failing:
                logger.exception("%s failed and will be tried again", what)
            self._failing = True
        except Exception:
            logger.exception("%s failed unexpectedly", what)

    def _learn(self, batch: Sequence[_Inserted]) -> None:
        """Compare what was inserted with what the entries that might have answered hold."""
        self._writer.flush()
        answers = {fingerprint: (id_, text) for one in batch for fingerprint, id_, text in one.answers}
        lookups = self._scalars.take_lookups(list(answers), time() - self._lookup_seconds)
        entries = self._scalars.answers([lookup.answer_id for lookup in lookups])
        observations = []
        for lookup in lookups:
            entry = entries.get(lookup.answer_id)
            if entry is None or entry.model_key != lookup.model_key:
                continue
            new_id, text = answers[lookup.fingerprint]
            correct = self._compare.are_same(entry.answer, text)
            exact = entry.fingerprint == lookup.fingerprint
            outcome = UNCLEAR if correct is None else RIGHT if correct else WRONG
            self._writer.tally(Tally(lookup.model_key, outcome, bucket_of(lookup.score, exact=exact), 1))
            self._events.tell(Compared(lookup.model_key, outcome))
            if correct is not None:
                # The entry of an equal question was just replaced: it is its successor that this is about.
                observations.append(_observation(lookup, new_id if exact else entry.id, correct=correct))
        if observations:
            self._scalars.observe(observations)


def evidence(observations: Sequence[Observation]) -> list[Evidence]:
    """Return observations as the estimates take them: the older, the less they weigh."""
    now = time()
    return [
        Evidence(one.score, one.correct, 0.5 ** (max(0.0, now - one.at) / HALF_LIFE_SECONDS))
        for one in observations
    ]


def is_exact(one: Observation) -> bool:
    """Tell whether an observation is of an equal question, which scores 1."""
    return one.score >= 1.0


def _observation(lookup: PendingLookup, answer_id: int, *, correct: bool) -> Observation:
    return Observation(
        answer_id=answer_id,
        fingerprint=lookup.fingerprint,
        told=False,
        model_key=lookup.model_key,
        score=lookup.score,
        correct=correct,
        at=lookup.at,
    )
