"""Whether an entry belongs to the conversation that a question is asked in, or the question needs none."""

from collections.abc import Callable
from functools import partial

from modelcache.decision.confidence import Confidence, odds_times
from modelcache.embedding.base import Thresholds
from modelcache.language.small_talk import Turns, told_in
from modelcache.language.standing import Standing
from modelcache.language.tokens import words_of
from modelcache.processor.pre import embedded_places
from modelcache.records.dialogue import ASSISTANT, USER, normalise
from modelcache.records.entry import Candidate
from modelcache.records.question import Question
from modelcache.settings import Settings
from modelcache.slots.guard import SlotGuard

CONTEXT = "context"
# How much higher the odds are for earlier questions that got one and the same reply.
ANSWERED_ALIKE = 10.0
# In a longer conversation no question stands alone, so that the cost is bounded.
TURNS_READ = 32
# The kinds of things that a conversation may be about, without its last turn naming them again.
SUBJECTS = ("name", "language")
# A reply of fewer bytes may be a phrase that answers anything; so many are about 100 letters or 32 characters
# of Chinese.
TELLING_BYTES = 96


class Conversations:
    """Compares the earlier turns of a question with a candidate's; safe to call from many threads."""

    def __init__(
        self,
        slot_guard: SlotGuard,
        standing: Standing,
        threshold: float,
        answered: float,
        embedded: Callable[[Turns], tuple[int, ...]],
        confidence: Confidence | None = None,
    ) -> None:
        """``threshold`` is the cosine from which on two earlier turns count as the same.

        ``answered`` is that of a user's turns which got one and the same reply. With a confidence, that
        decides instead. ``embedded`` tells the places of the turns that are embedded.
        """
        self._embedded = embedded
        self._slot_guard = slot_guard
        self._standing = standing
        self._threshold = threshold
        self._answered = answered
        self._confidence = confidence

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        slot_guard: SlotGuard,
        calibrated: Thresholds,
        confidence: Confidence | None = None,
    ) -> "Conversations":
        """Take the confidence or the embedder's thresholds, unless the settings name a cosine."""
        own = settings.context_threshold
        context, answered = (calibrated.context, calibrated.answered) if own is None else (own, own)
        embedded = partial(embedded_places, settings=settings)
        rated_by = confidence if own is None else None
        return cls(slot_guard, Standing.shipped(), context, answered, embedded, rated_by)

    def veto(self, question: Question, candidate: Candidate) -> str:
        """Return the rule that refuses the candidate of a question with earlier turns, "" if none does.

        ``context``: another conversation; otherwise it is the slot guard's rule for the last turns.
        """
        asked: Turns = question.turns
        cached = told_in(candidate.entry.question)
        if candidate.entry.partition == question.without_context:
            asked = asked[-1:]
        # Fails only where a content looks like a turn's beginning: who said what is unknown then.
        if [role for role, _ in asked] != [role for role, _ in cached]:
            return CONTEXT
        rule = self._slot_guard.compare(asked[-1][1], cached[-1][1])
        if rule:
            return rule
        similarities: dict[int, float] = {}
        if candidate.context_similarities and self._embedded(cached) == question.context_places:
            similarities = dict(zip(question.context_places, candidate.context_similarities, strict=True))
        for place in range(len(asked) - 1):
            if not self._is_same_turn(asked, cached, place, similarities.get(place)):
                return CONTEXT
        return ""

    def _is_same_turn(self, asked: Turns, cached: Turns, place: int, similarity: float | None) -> bool:
        """Tell whether two earlier turns say the same; ``similarity`` is None where they are not embedded."""
        ours, theirs = normalise(asked[place][1]), normalise(cached[place][1])
        if ours == theirs:
            return True
        # "Option 1 is …, option 2 is …", exchanged: what follows may speak of the second.
        if sorted(words_of(ours)) == sorted(words_of(theirs)) and words_of(ours) != words_of(theirs):
            return False
        if self._slot_guard.compare(ours, theirs):
            return False
        answered_alike = _got_one_reply(asked, cached, place)
        if self._confidence is None:
            told = self._answered if answered_alike else self._threshold
            # An equal turn's cosine is 1 up to rounding; a negative one counts as 0.
            return similarity is not None and max(0.0, round(similarity, 6)) >= told
        share = self._confidence.rate(ours, theirs, similarity)
        if answered_alike:
            share = odds_times(ANSWERED_ALIKE, share)
        return share >= self._confidence.threshold(ours)

    def stands_alone(self, question: Question) -> bool:
        """Tell whether a question with earlier turns means the same without them; in doubt it does not.

        It does where each earlier turn of a user only asks something that stands alone as well: then nothing
        was stated, ordered or pasted that the answer depends on.
        """
        if not question.without_context or not self._standing.stands_alone(question.text):
            return False
        earlier = question.turns[:-1]
        # What is not a user's answers a user, except at the beginning.
        if not earlier or len(earlier) > TURNS_READ or earlier[0][0] != USER:
            return False
        asked = [text for role, text in earlier if role == USER]
        if not all(self._standing.only_asks(text) for text in asked):
            return False
        named = {subject for text in asked for subject in self._subjects(text)}
        return named <= self._subjects(question.text)

    def _subjects(self, text: str) -> set[str]:
        """Return the kinds of things that the text names."""
        slots = self._slot_guard.read(text)
        found = {subject for subject in SUBJECTS if (subject, subject) in slots.values}
        return found | {"name"} if slots.names or slots.titles else found


def _got_one_reply(asked: Turns, cached: Turns, place: int) -> bool:
    """Tell whether the turns here are a user's, and the same reply of some length follows on both."""
    if asked[place][0] != USER or asked[place + 1][0] != ASSISTANT:
        return False
    reply = normalise(asked[place + 1][1])
    return len(reply.encode()) >= TELLING_BYTES and reply == normalise(cached[place + 1][1])
