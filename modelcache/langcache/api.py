"""One request, from its body to its reply; no Flask here."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from time import time
from typing import Any

import orjson

from modelcache.access.gate import READ, WRITE
from modelcache.answering import Answered, Asking, keep, look_up
from modelcache.core import Cache, Service
from modelcache.errors import UNEXPECTED_DESC, ModelCacheError, RequestError, UnavailableError
from modelcache.hashing import digest
from modelcache.langcache import bodies
from modelcache.manager.patience import one_request
from modelcache.processor.pre import make_question
from modelcache.records.dialogue import Message, last_turn
from modelcache.records.entry import CachedAnswer
from modelcache.records.event import CHANGE, QUERY, Failed
from modelcache.records.found import Found
from modelcache.records.question import Question

logger = logging.getLogger(__name__)

API = "langcache"
MILLISECOND = 1e-3
# As long as LangCache's own ids are.
ID_DIGITS = 32
TITLES = {
    400: ("/errors/invalid-data", "Invalid data"),
    401: ("/errors/authentication-failed", "Authentication failed"),
    403: ("/errors/forbidden", "Forbidden"),
    429: ("/errors/too-many-requests", "Too many requests"),
    404: ("/errors/resource-not-found", "Resource not found"),
    424: ("/errors/resource-unavailable", "Resource unavailable"),
    500: ("/errors/unexpected-error", "Unexpected error"),
}

Body = dict[str, Any] | None
Reply = tuple[int, Body]
"""Status and body; None for no body."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose entries, in which cache, a request may use."""

    cache_id: str
    tenant: str

    @classmethod
    def of(cls, cache_id: str, authorization: str) -> "Caller | None":
        """Tell callers apart by their keys; None without one."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return None
        return cls(cache_id, digest("langcache", key.strip()))

    def question(self, cache: Cache, prompt: str, attributes: Mapping[str, str]) -> Question:
        """Prepare a prompt; entries with other attributes do not answer it."""
        scope = {"langcache": self.tenant, "attributes": digest("attributes", dict(attributes))}
        return make_question(self.cache_id, scope, [Message("user", prompt)], cache.settings)

    def tag(self, attributes: Mapping[str, str]) -> str:
        """Return the tag of all of the caller's entries that have these attributes, among others."""
        return digest("langcache", self.tenant, dict(attributes))

    def tags(self, attributes: Mapping[str, str]) -> tuple[str, ...]:
        """Return the tags of an entry: one for each choice of its attributes, none of them included."""
        names = sorted(attributes)
        chosen = (some for count in range(len(names) + 1) for some in combinations(names, count))
        return tuple(self.tag({name: attributes[name] for name in some}) for some in chosen)


def handle(
    service: Service, work: Callable[[Cache, Caller], Reply], role: str, cache_id: str, key: str
) -> Reply:
    """Do the work for the caller with this ``Authorization``, who needs the role; nothing is raised."""
    caller = Caller.of(cache_id, key)
    if caller is None:
        return _failed(service, role, 401, "Authorization: expected Bearer and a key")
    try:
        service.gate.admit(key).permit(role, cache_id, inserts=int(role == WRITE))
        with one_request():
            return work(service.cache, caller)
    except RequestError as exc:
        status = exc.http_status if exc.http_status in TITLES else 400
        return _failed(service, role, status, exc.public)
    except ModelCacheError as exc:
        if not isinstance(exc, UnavailableError):
            logger.warning("a request failed: %s", exc, exc_info=exc.__cause__ is not None)
        return _failed(service, role, 424, exc.public)
    except Exception:
        logger.exception("a request failed unexpectedly")
        return _failed(service, role, 500, UNEXPECTED_DESC)


def refuse(service: Service, role: str, exc: RequestError) -> Reply:
    """Reply to a request that cannot be read."""
    return _failed(service, role, 400, exc.public)


def _failed(service: Service, role: str, status: int, detail: str) -> Reply:
    service.events.tell(Failed(API, QUERY if role == READ else CHANGE, status))
    return problem(status, detail)


def problem(status: int, detail: str) -> Reply:
    """Make an error in the shape of RFC 7807, as LangCache's clients read it."""
    kind, title = TITLES[status]
    return status, {"type": kind, "title": title, "status": status, "detail": detail}


def search(body: bytes) -> Callable[[Cache, Caller], Reply]:
    """Find the entry that answers a prompt; there is one at most."""
    asked = bodies.read(bodies.Search, body)

    def work(cache: Cache, caller: Caller) -> Reply:
        question = caller.question(cache, asked.prompt, asked.attributes)
        exact_only = "semantic" not in asked.search_strategies
        with Asking(cache, API, question) as asking:
            asking.found, served = look_up(cache, question, exact_only=exact_only)
            # Theirs is a cosine: it can only refuse what the decision here would have served.
            least, similarity = asked.similarity_threshold, asking.found.likeness.similarity
            asking.served = served and (least is None or (similarity is not None and similarity >= least))
        if asking.found.entry is None or not asking.served:
            return 200, {"data": []}
        return 200, {"data": [_shown(asking.found, asking.found.entry, asked)]}

    return work


def insert(body: bytes) -> Callable[[Cache, Caller], Reply]:
    """Store a prompt with its response."""
    new = bodies.read(bodies.New, body)

    def work(cache: Cache, caller: Caller) -> Reply:
        answered = Answered(
            caller.question(cache, new.prompt, new.attributes),
            new.response,
            None if new.ttl_millis is None else time() + new.ttl_millis * MILLISECOND,
            caller.tags(new.attributes),
            envelope=orjson.dumps({"langcache": caller.tenant}).decode(),
        )
        return 201, {"entryId": shown_id(keep(cache, caller.cache_id, [answered], api=API)[0])}

    return work


def delete(body: bytes) -> Callable[[Cache, Caller], Reply]:
    """Remove the caller's entries that have all of these attributes."""
    asked = bodies.read(bodies.Delete, body)

    def work(cache: Cache, caller: Caller) -> Reply:
        tags = [caller.tag(asked.attributes)]
        return 200, {"deletedEntriesCount": cache.data_manager.delete_tagged(caller.cache_id, tags)}

    return work


def delete_one(entry_id: str) -> Callable[[Cache, Caller], Reply]:
    """Remove one of the caller's entries; harmless when repeated."""

    def work(cache: Cache, caller: Caller) -> Reply:
        try:
            id_ = int(entry_id, 16)
        except ValueError:
            return problem(400, "entryId: expected the id of an entry")
        entry = cache.data_manager.find_live(caller.cache_id, id_)
        if entry is not None and _is_of(cache, entry, caller):
            cache.data_manager.delete(caller.cache_id, [entry.id])
        return 204, None

    return work


def flush(cache: Cache, caller: Caller) -> Reply:
    """Remove all of the caller's entries."""
    cache.data_manager.delete_tagged(caller.cache_id, [caller.tag({})])
    return 204, None


def shown_id(id_: int) -> str:
    """Return the id of an entry as replies show it."""
    return f"{id_:0{ID_DIGITS}x}"


def _shown(found: Found, entry: CachedAnswer, asked: bodies.Search) -> dict[str, Any]:
    is_exact = found.exact and "exact" in asked.search_strategies
    return {
        "id": shown_id(entry.id),
        "prompt": last_turn(entry.question),
        "response": entry.answer,
        # An entry answers under equal attributes only.
        "attributes": dict(asked.attributes),
        "similarity": found.likeness.similarity,
        "searchStrategy": "exact" if is_exact else "semantic",
    }


def _is_of(cache: Cache, entry: CachedAnswer, caller: Caller) -> bool:
    try:
        kept = orjson.loads(cache.data_manager.scalars.envelope(entry.id))
    except orjson.JSONDecodeError:
        return False
    return isinstance(kept, dict) and kept.get("langcache") == caller.tenant
