"""Headers: which go through to the other side, and what replies say of the cache (RFC 9211)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from time import time

from modelcache.gateway.messages import Headers

NAME = "modelcache"
HIT, MISS, BYPASS = "hit", "miss", "bypass"
# What is between two neighbours only, and what each side says anew.
HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
NOT_SENT_ON = HOP_BY_HOP | {"host", "content-length", "expect"}
NOT_SENT_BACK = HOP_BY_HOP | {"server", "date", "cache-status"}
NO_TOKEN = re.compile(r"[^\w.:/-]+", re.ASCII)


@dataclass(slots=True)
class Told:
    """What a reply says of the cache."""

    request_id: str
    status: str = MISS
    forwarded: str = MISS
    """Why it went to the server behind, in the words of RFC 9211."""
    reason: str = ""
    """The rule that refused the nearest entry, or why the cache had no part, or kept nothing."""
    detail: str = ""
    stored: bool = False
    collapsed: bool = False
    """Whether it waited for the answer to an equal request."""
    entry_id: int | None = None
    similarity: float | None = None
    confidence: float | None = None
    kept_at: float | None = None
    expires_at: float | None = None

    def headers(self) -> Headers:
        """Return the headers that say so."""
        now = time()
        told: Headers = [("cache-status", self._cache_status(now)), (f"x-{NAME}", self.status)]
        if self.status == HIT and self.kept_at is not None:
            told.append(("age", str(max(0, int(now - self.kept_at)))))
        for name, value in (
            ("reason", self.reason),
            ("entry-id", self.entry_id),
            ("confidence", self.confidence),
            ("similarity", self.similarity),
            ("request-id", self.request_id),
        ):
            if value not in (None, ""):
                told.append((f"x-{NAME}-{name}", _plain(value)))
        return told

    def _cache_status(self, now: float) -> str:
        if self.status == HIT and not self.collapsed:
            parts = [NAME, HIT]
            if self.expires_at is not None:
                parts.append(f"ttl={max(0, int(self.expires_at - now))}")
        else:
            parts = [NAME, f"fwd={self.forwarded}"]
            parts += ["stored"] if self.stored else []
            parts += ["collapsed"] if self.collapsed else []
        if detail := self.detail or self.reason:
            parts.append(f"detail={NO_TOKEN.sub('-', detail)}")
        return "; ".join(parts)


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def passed(headers: Iterable[tuple[str, str]], left_out: Iterable[str]) -> Headers:
    """Return the headers that go through: not those left out, nor those that ``Connection`` names."""
    listed = list(headers)
    named = {
        one.strip().lower()
        for name, value in listed
        if name.lower() == "connection"
        for one in value.split(",")
    }
    gone = set(left_out) | named
    return [(name, value) for name, value in listed if name.lower() not in gone]
