"""What was asked lately: the hits beside what answered them, and what an entry nearly answered."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from modelcache.access.gate import ADMIN, Caller
from modelcache.admin.entries import Name, Reply, read_fields
from modelcache.core import Cache
from modelcache.records.dialogue import turns_in
from modelcache.records.entry import CachedAnswer
from modelcache.records.log_line import VETOED, LogLine
from modelcache.records.names import model_key

HITS, NEAR = "hits", "near"
MOST = 100


class Recent(BaseModel):
    """Which queries are asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name | None = None
    kind: Literal["hits", "near"] = "hits"
    limit: Annotated[int, Field(ge=1, le=MOST)] = 20

    @classmethod
    def read(cls, fields: Mapping[str, Sequence[str]]) -> "Recent":
        """Read the query of an address. Raises AskedError, which names the field."""
        return read_fields(cls, fields)

    @property
    def audited(self) -> dict[str, Any]:
        """What an audit wants to know."""
        return self.model_dump(include={"model", "kind"}, exclude_defaults=True)


def recent(cache: Cache, caller: Caller, asked: Recent) -> Reply:
    """Return the latest hits or, of the latest near misses, the nearest; of the models of the caller."""
    scalars = cache.data_manager.scalars
    key = model_key(asked.model) if asked.model else None
    lines = scalars.recent(key, MOST, hits=asked.kind == HITS)
    if asked.kind == NEAR:
        # The nearest first: most of what misses is far from everything.
        lines.sort(key=lambda line: -(line.confidence or 0.0))
    seen = [line for line in lines if caller.may(ADMIN, line.model)][: asked.limit]
    entries = scalars.answers(list({line.entry_id: None for line in seen if line.entry_id is not None}))
    return 200, {
        "logged": cache.settings.query_log,
        "recent": [_shown(line, entries.get(line.entry_id or 0)) for line in seen],
    }


def _shown(line: LogLine, entry: CachedAnswer | None) -> dict[str, Any]:
    """Show a query; what was near to it is read from its entry, which may be gone."""
    cached, answer = line.hit_query, line.answer
    if not line.cache_hit:
        cached, answer = ("", "") if entry is None else (entry.question, entry.answer)
    return {
        "at": line.created_at,
        "model": line.model,
        "asked": _turns(line.query),
        "cached": _turns(cached),
        "answer": answer,
        "confidence": line.confidence,
        "veto": line.error_desc.removeprefix(VETOED) if line.error_desc.startswith(VETOED) else "",
        "entry_id": line.entry_id,
        "milliseconds": round(1000 * line.delta_time, 3),
    }


def _turns(dialogue: str) -> list[dict[str, str]]:
    turns = turns_in(dialogue) or ([("user", dialogue)] if dialogue else [])
    return [{"role": role, "content": content} for role, content in turns]
