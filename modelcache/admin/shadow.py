"""What each threshold would have answered of a model's queries, and the thresholds in use."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from modelcache.access.gate import Caller
from modelcache.admin.entries import Name, Reply, read_fields
from modelcache.core import Cache
from modelcache.learning.tallies import EXACT, SCORES, Point, curve, queries_in
from modelcache.processor.pre import make_question
from modelcache.records.dialogue import USER, Message
from modelcache.records.names import model_key

# A threshold may be another one in each language; these are short questions in them.
ASKED_IN = {"en": "How do I pay?", "zh": "怎么付款？"}


class Shadow(BaseModel):
    """Of which model it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name

    @classmethod
    def read(cls, fields: Mapping[str, Sequence[str]]) -> "Shadow":
        """Read the query of an address. Raises AskedError, which names the field."""
        return read_fields(cls, fields)

    @property
    def audited(self) -> dict[str, Any]:
        """What an audit wants to know."""
        return self.model_dump()


def shadow(cache: Cache, caller: Caller, asked: Shadow) -> Reply:
    """Return a model's curve; its modes ``shadow`` and ``verified`` count what it is drawn from."""
    tallies = cache.data_manager.scalars.tallies(model_key(asked.model))
    queries = queries_in(tallies)
    return 200, {
        "model": asked.model,
        "queries": queries,
        "thresholds": {language: _threshold(cache, text) for language, text in ASKED_IN.items()},
        "points": [_shown(point, queries) for point in curve(tallies)],
    }


def _threshold(cache: Cache, text: str) -> float:
    """Return the threshold in use for a short question."""
    return cache.lookup.threshold(make_question("", {}, [Message(USER, text)], cache.settings))


def _shown(point: Point, queries: int) -> dict[str, Any]:
    compared = point.compared
    return {
        "threshold": None if point.threshold == EXACT else point.threshold / SCORES,
        "hits": point.hits,
        "hit_rate": point.hits / queries if queries else None,
        "right": point.right,
        "wrong": point.wrong,
        "unclear": point.unclear,
        "wrong_rate": point.wrong / compared if compared else None,
        "wrong_interval": list(point.wrong_interval) if compared else None,
    }
