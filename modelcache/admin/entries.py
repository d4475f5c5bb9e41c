"""Entries as an operator looks at them: list, search, show and delete; no Flask here."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from time import time
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from modelcache.access.gate import ADMIN, Caller
from modelcache.core import Cache
from modelcache.errors import FieldError, RequestError
from modelcache.processor.canonical import canonical
from modelcache.processor.texts import encodable, is_deep
from modelcache.records.dialogue import turns_in
from modelcache.records.entry import EntrySearch, Place, StoredEntry
from modelcache.records.names import model_key

MOST_ENTRIES = 200
MAX_CHARS = 256
MAX_TEXT_CHARS = 1000
MAX_TERMS = 8
CURSOR = re.compile(r"(\d{1,18})-(\d{1,18})")
# Of which a request may name several.
LISTS = frozenset({"tag", "source"})

Body = dict[str, Any] | None
Reply = tuple[int, Body]
"""Status and body; None for no body."""


class AskedError(FieldError):
    """A field that is missing or misshapen; ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class AbsentError(RequestError):
    """There is no such entry, or it is not this caller's to see."""

    http_status = 404


def _place(text: Any) -> Any:
    found = CURSOR.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("expected what `next` of the page before says")
    return Place(*map(int, found.groups()))


def _object(text: Any) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not value or "model" in value or is_deep(value):
        raise ValueError('expected a JSON object of keys besides model, such as {"user": "anne"}')
    encodable(json.dumps(value, ensure_ascii=False))
    return value


Name = Annotated[str, Field(min_length=1, max_length=MAX_CHARS), AfterValidator(encodable)]
Terms = Annotated[list[Name], Field(max_length=MAX_TERMS)]


Asked = TypeVar("Asked", bound=BaseModel)


def read_fields(kind: type[Asked], fields: Mapping[str, Sequence[str]], lists: Collection[str] = ()) -> Asked:
    """Read the query of an address; ``lists`` may be named several times. Raises AskedError."""
    for name, values in fields.items():
        if name not in lists and len(values) > 1:
            raise AskedError(name, "expected once")
    try:
        return kind.model_validate(
            {name: list(values) if name in lists else values[0] for name, values in fields.items()}
        )
    except ValidationError as exc:
        raise asked_error(exc) from exc


def asked_error(exc: ValidationError, whole: str = "") -> AskedError:
    """Return what is wrong with the first field that is; ``whole`` is the name of all of them together."""
    problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    return AskedError(str((*problem["loc"], whole)[0]), problem["msg"].removeprefix("Value error, "))


class Listing(BaseModel):
    """Which entries are asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name | None = None
    q: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS), AfterValidator(encodable)] | None = None
    tag: Terms = []
    source: Terms = []
    scope: Annotated[dict[str, Any], BeforeValidator(_object)] = {}
    order: Literal["newest", "hits"] = "newest"
    cursor: Annotated[Place | None, BeforeValidator(_place)] = None
    limit: int = Field(50, ge=1, le=MOST_ENTRIES)

    @classmethod
    def read(cls, fields: Mapping[str, Sequence[str]]) -> "Listing":
        """Read the query of an address. Raises AskedError, which names the field."""
        asked = read_fields(cls, fields, LISTS)
        if asked.model is None and (asked.tag or asked.source or asked.scope or asked.order == "hits"):
            raise AskedError("model", "expected with tag, source, scope and order=hits")
        return asked

    @property
    def audited(self) -> dict[str, Any]:
        """What an audit wants to know: no text of a question."""
        return self.model_dump(include={"model", "tag", "source", "order"}, exclude_defaults=True)

    def search(self) -> EntrySearch:
        """Return it as the store is asked."""
        return EntrySearch(
            model_key="" if self.model is None else model_key(self.model),
            text=self.q or "",
            tags=tuple(self.tag),
            sources=tuple(self.source),
            scope=canonical(self.scope),
            by_hits=self.order == "hits",
            after=self.cursor,
            limit=self.limit,
        )


def listed(cache: Cache, caller: Caller, asked: Listing) -> Reply:
    """Return a page of entries, those alone that the caller may see, and where the next one begins."""
    page = cache.data_manager.scalars.find_entries(asked.search(), time())
    entries = [shown(entry) for entry in page.entries if caller.may(ADMIN, entry.model)]
    following = None if page.next is None else f"{page.next.hit_count}-{page.next.id}"
    return 200, {"entries": entries, "next": following}


def got(cache: Cache, caller: Caller, id_: int) -> Reply:
    """Return one entry. Raises AbsentError."""
    return 200, shown(visible(cache, caller, id_))


def deleted(cache: Cache, caller: Caller, id_: int) -> Reply:
    """Remove one entry; it answers no more. Raises AbsentError."""
    entry = visible(cache, caller, id_)
    if not cache.data_manager.delete(entry.model, [id_]):
        raise AbsentError("there is no such entry")
    return 204, None


def shown(entry: StoredEntry) -> dict[str, Any]:
    """Return what is told of an entry."""
    turns = turns_in(entry.question) or [("user", entry.question)]
    return {
        "id": entry.id,
        "model": entry.model,
        "question": [{"role": role, "content": content} for role, content in turns],
        "answer": entry.answer,
        "scope": None if entry.scope is None else json.loads(entry.scope),
        "tags": sorted(entry.tags),
        "sources": sorted(entry.sources),
        "metadata": None if entry.metadata is None else json.loads(entry.metadata),
        "created": entry.created_at,
        "expires": entry.expires_at,
        "hits": entry.hit_count,
        "last_hit": entry.last_used_at if entry.hit_count else None,
        "embedder": entry.embedder,
    }


def visible(cache: Cache, caller: Caller, id_: int) -> StoredEntry:
    """Return an entry that the caller may see. Raises AbsentError."""
    entry = cache.data_manager.scalars.entry(id_, time())
    if entry is None or not caller.may(ADMIN, entry.model):
        raise AbsentError("there is no such entry")
    return entry
