"""One request for an answer on its way through the gateway."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from modelcache.gateway.access import KEY_HEADER
from modelcache.gateway.chat import BypassError, Chat, Form
from modelcache.gateway.control import Control, read_control
from modelcache.gateway.dialect import Dialect
from modelcache.gateway.headers import BYPASS, HIT, MISS, Told
from modelcache.gateway.messages import HttpRequest
from modelcache.hashing import digest
from modelcache.processor.pre import make_question
from modelcache.records.event import COLLAPSED, EXACT, SEMANTIC, Queried, Usage
from modelcache.records.found import Found
from modelcache.records.question import Question

if TYPE_CHECKING:
    from modelcache.settings import Settings

API = "gateway"
SHARED = "shared"
HEADER_RULE = "header:"
# Where callers of different services put their key.
KEY_HEADERS = ("authorization", "api-key", "x-api-key", KEY_HEADER)


@dataclass(slots=True)
class Asked:
    """One request: what is asked, how, by whom, and what becomes of it."""

    request: HttpRequest
    dialect: Dialect
    fields: Mapping[str, Any]
    """The request's body."""
    body: bytes
    """What is sent on."""
    control: Control
    form: Form
    model: str = ""
    """As the body names it; "" where it names none."""
    tenant: str = ""
    question: Question | None = None
    """None where the cache has no part in the request."""
    asked_at: float = field(default_factory=time)
    """When the request came in (epoch seconds)."""
    told: Told = field(default_factory=lambda: Told(uuid4().hex))
    found: Found = field(default_factory=Found)
    """What the last look-up found."""
    looked_seconds: float = 0.0
    """What its look-ups took."""
    bypassed: str = ""
    """Why the cache was not looked into, in a word; "" if it was."""
    usage: Usage | None = None
    """What the answer from the cache cost when it was made."""

    def event(self) -> Queried:
        """Return what is told of the request once it is known who answers."""
        told, found = self.told, self.found
        is_hit = told.status == HIT
        hit_type = COLLAPSED if told.collapsed else EXACT if found.exact else SEMANTIC
        kept_at = told.kept_at if is_hit and not told.collapsed else None
        return Queried(
            api=API,
            model=self.model,
            model_key="" if self.question is None else self.question.model_key,
            outcome=HIT if is_hit else BYPASS if self.bypassed else MISS,
            seconds=self.looked_seconds,
            hit_type=hit_type if is_hit else "",
            reason="" if is_hit else self.bypassed,
            veto=found.veto,
            is_withheld=found.entry is not None and not is_hit,
            similarity=told.similarity,
            confidence=told.confidence,
            entry_id=told.entry_id if is_hit else None,
            entry_age=None if kept_at is None else max(0.0, time() - kept_at),
            usage=self.usage if is_hit else None,
            question="" if self.question is None else self.question.dialogue,
        )

    @property
    def is_kept(self) -> bool:
        """Whether the answer may be kept."""
        return self.question is not None and not self.control.no_store

    def bypass(self, reason: str) -> None:
        """Say that the cache was not looked into, and why."""
        self.told.status = self.told.forwarded = BYPASS
        self.told.reason = self.bypassed = reason


def read_asked(request: HttpRequest, dialect: Dialect, settings: "Settings") -> Asked:
    """Read a request of a dialect. Raises ControlError for what is asked of the cache and not understood.

    What else is wrong with it is left to the server behind.
    """
    fields = _object(request.body)
    sent = request.body
    if "cache" in fields:
        sent = orjson.dumps({name: value for name, value in fields.items() if name != "cache"})
    control = read_control(request, fields.get("cache"))
    asked = Asked(request, dialect, fields, sent, control, dialect.form(fields))
    asked.model = model if isinstance(model := fields.get("model"), str) else ""
    try:
        chat = dialect.read(fields)
        if chat.model in settings.model_blacklist:
            raise BypassError("blacklist")
        if asked.control.mode == "off":
            raise BypassError("off")
        asked.tenant = tenant_of(request, settings.gateway_tenant)
        asked.question = make_question(
            chat.model, scope_of(chat, asked.tenant, asked.control), chat.messages, settings
        )
    except BypassError as exc:
        asked.bypass(exc.reason)
    return asked


def scope_of(chat: Chat, tenant: str, control: Control) -> dict[str, str | int | float | bool]:
    """Return what must be equal, beside model and messages, for an answer to be reusable.

    A namespace parts the entries of a tenant, and reaches no others.
    """
    return {"tenant": tenant, "terms": chat.terms, "namespace": control.namespace}


def tenant_of(request: HttpRequest, rule: str) -> str:
    """Return whose entries a request may use: a hash of the caller's key, or what the operator's rule says.

    Raises BypassError for a caller who cannot be told from others.
    """
    if rule == SHARED:
        return digest("tenant", SHARED)
    names = (rule.removeprefix(HEADER_RULE),) if rule.startswith(HEADER_RULE) else KEY_HEADERS
    keys = [(name, request.header(name)) for name in names]
    if not any(key for _, key in keys):
        raise BypassError("no-tenant")
    return digest("tenant", *keys)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}
