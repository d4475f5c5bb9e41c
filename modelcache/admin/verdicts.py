"""What an operator says of a hit, whichever API it was of."""

from dataclasses import replace
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError

from modelcache.access.gate import Caller
from modelcache.admin.entries import AskedError, Reply, asked_error, shown, visible
from modelcache.core import Cache
from modelcache.processor.pre import make_question
from modelcache.processor.texts import encodable, has_text
from modelcache.records.dialogue import SYSTEM_ROLES, Message
from modelcache.telling import tell, tell_of_itself

Text = Annotated[str, AfterValidator(encodable)]


class Turn(BaseModel):
    """A turn of the question, as ``/admin/recent`` shows it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Annotated[Text, Field(min_length=1)]
    content: Text


class Said(BaseModel):
    """What was asked, and whether the entry's answer was right for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: Annotated[list[Turn], Field(min_length=1)]
    correct: StrictBool

    @classmethod
    def read(cls, body: bytes) -> "Said":
        """Read a body. Raises AskedError, which names the field."""
        try:
            said = cls.model_validate_json(body)
        except ValidationError as exc:
            raise asked_error(exc, "body") from exc
        if said.query[-1].role in SYSTEM_ROLES or not has_text(said.query[-1].content):
            raise AskedError("query", "expected to end with what was asked")
        return said


def judged(cache: Cache, caller: Caller, id_: int, body: bytes) -> Reply:
    """Record the verdict, and return what became of it. Raises AbsentError and AskedError."""
    entry = visible(cache, caller, id_)
    said = Said.read(body)
    live = cache.data_manager.find_live(entry.model, id_)
    messages = [Message(turn.role, turn.content) for turn in said.query]
    question = make_question(entry.model, shown(entry)["scope"] or {}, messages, cache.settings)
    told = partial(tell, cache, question, id_)
    if live is not None and live.partition not in (question.partition, question.without_context):
        # Other APIs keep more apart than an entry tells: what it was asked in is the entry's own.
        told = partial(tell, cache, replace(question, partition=live.partition), id_)
        if question.dialogue == live.question:
            told = partial(tell_of_itself, cache, entry.model, live)
    return 200, {"status": told(correct=said.correct)}
