"""The way of a request through the gateway: the cache, then whoever asks the same, then the server behind."""

import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter, time
from typing import TYPE_CHECKING

from modelcache.access.gate import READ, WRITE, Caller
from modelcache.core import Service
from modelcache.errors import ModelCacheError, RequestError
from modelcache.gateway.access import admitted, permit_chat
from modelcache.gateway.asked import API, Asked, read_asked
from modelcache.gateway.completion import Completion, NotKeptError
from modelcache.gateway.control import ControlError
from modelcache.gateway.dialect import Dialect
from modelcache.gateway.dialects import DIALECTS
from modelcache.gateway.entry import Kept
from modelcache.gateway.feedback import answer_feedback
from modelcache.gateway.flight import Flight, Flights, StoreFlights, Ticket
from modelcache.gateway.headers import HIT, passed
from modelcache.gateway.messages import (
    EVENT_STREAM,
    Headers,
    HttpReply,
    HttpRequest,
    Later,
    error_reply,
)
from modelcache.gateway.store import REMOVED, AsideError, GatewayStore, Looked
from modelcache.gateway.tee import Tee
from modelcache.gateway.threads import Threads
from modelcache.gateway.upstream import Sent, Upstream, UpstreamError
from modelcache.learning.policy import OFF, SERVE
from modelcache.manager.patience import one_request
from modelcache.records.event import QUERY, Failed, SentOn
from modelcache.records.found import Likeness
from modelcache.records.question import Question
from modelcache.spans import UPSTREAM

if TYPE_CHECKING:
    from modelcache.settings import Settings

logger = logging.getLogger(__name__)

DOTS = frozenset({".", ".."})
CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "insufficient_permissions",
    429: "rate_limit_exceeded",
}
FEEDBACK = "/v1/feedback"


class Gateway:
    """Answers requests under ``/v1/``; safe to use from many threads."""

    def __init__(self, service: Service, upstream: Upstream) -> None:
        self.settings: Settings = service.settings
        self.threads = Threads(self.settings.gateway_threads)
        self._service = service
        self._events = service.events
        self._upstream = upstream
        self._store = GatewayStore(service)
        self._flights = Flights()

    @classmethod
    def from_service(cls, service: Service) -> "Gateway":
        """Make a gateway that is closed with the service; ConfigError for what is no address."""
        gateway = cls(service, Upstream.from_settings(service.settings, service.spans))
        service.closes_with(gateway.close)
        return gateway

    def close(self) -> None:
        """Take no more requests and close the connections; harmless when repeated."""
        self.threads.close()
        self._store.close()
        self._upstream.close()

    def answer(self, request: HttpRequest) -> HttpReply | Later:
        """Return the reply where the cache has it, otherwise what waits for the server behind."""
        if DOTS & set(request.path.split("/")):
            # They would lead out of what is under the address of the server behind.
            self.failed(400)
            return error_reply(400, "the path has . or .. in it", "invalid_path")
        try:
            caller = admitted(self._service, request)
            if request.method == "POST" and request.path in DIALECTS:
                return self._look_or_ask(request, DIALECTS[request.path], caller)
            caller.allow(WRITE if request.path == FEEDBACK else READ)
            if (request.method, request.path) == ("POST", FEEDBACK):
                return answer_feedback(self._service, request)
        except ControlError as exc:
            self.failed(400)
            return error_reply(400, str(exc), "invalid_cache_control", exc.param)
        except RequestError as exc:
            self.failed(exc.http_status)
            return error_reply(exc.http_status, exc.public, CODES[exc.http_status], headers=_named(exc))
        return partial(self._answered, partial(self._pass_on, request))

    def _look_or_ask(self, request: HttpRequest, dialect: Dialect, caller: Caller) -> HttpReply | Later:
        asked = read_asked(request, dialect, self.settings)
        permit_chat(caller, asked.model, len(request.body))
        looked = self._looked_up(asked)
        if looked is not None and looked.kept is not None:
            hit = _hit(asked, looked, looked.kept, self.settings)
            self._events.tell(asked.event())
            return hit
        if asked.control.only_if_cached:
            self._events.tell(asked.event())
            message = "no entry answers this request, and only-if-cached was asked for"
            return error_reply(504, message, "not_cached", headers=asked.told.headers())
        return partial(self._answered, partial(self._ask_and_tell, asked))

    def _looked_up(self, asked: Asked) -> Looked | None:
        """Return what was found; what keeps it from answering is told."""
        question, told = asked.question, asked.told
        if question is None:
            return None
        if self._mode_is_off(asked, question):
            return None
        if asked.control.no_cache:
            told.forwarded = "request"
            asked.bypassed = "no-cache"
            return None
        started = perf_counter()
        try:
            looked = self._store.look_up(asked, question)
        except AsideError as exc:
            asked.bypass(exc.reason)
            return None
        finally:
            asked.looked_seconds += perf_counter() - started
        asked.found = looked.found
        told.similarity, told.confidence = looked.found.likeness
        told.reason = looked.found.veto
        if looked.kept is None:
            if looked.found.entry is not None:
                told.reason = self._store.mode(question)
            return looked
        if is_stale(asked, looked.kept):
            told.forwarded = "stale"
            return None
        return looked

    def _mode_is_off(self, asked: Asked, question: Question) -> bool:
        if self._service.is_open and self._store.mode(question) != OFF:
            return False
        asked.bypass("off" if self._service.is_open else "starting")
        asked.question = None
        return True

    def _answered(self, work: Callable[[], HttpReply]) -> HttpReply:
        try:
            return work()
        except UpstreamError as exc:
            self.failed(exc.status)
            return error_reply(exc.status, str(exc), exc.code_name)

    def failed(self, status: int) -> None:
        """Tell those who listen that a request was refused, or failed, here."""
        self._events.tell(Failed(API, QUERY, status))

    def _pass_on(self, request: HttpRequest) -> HttpReply:
        sent = self._sent(request, request.body, to_read=False)
        return HttpReply(sent.status, sent.headers(), _closing(sent))

    def _sent(self, request: HttpRequest, body: bytes, *, to_read: bool) -> Sent:
        started, status = perf_counter(), "failed"
        try:
            with self._service.spans.span(UPSTREAM):
                sent = self._upstream.send(request, body, to_read=to_read)
            status = str(sent.status)
        except UpstreamError as exc:
            status = exc.code_name.removeprefix("upstream_")
            raise
        finally:
            self._events.tell(SentOn(status, perf_counter() - started))
        return sent

    def _ask_and_tell(self, asked: Asked) -> HttpReply:
        try:
            return self._ask(asked)
        finally:
            self._events.tell(asked.event())

    def _ask(self, asked: Asked) -> HttpReply:
        """Ask the server behind, unless somebody asks the same already."""
        question = asked.question
        shares = (
            question is not None
            and self.settings.single_flight_seconds > 0
            and asked.is_kept
            and not asked.control.no_cache
            and asked.told.forwarded == "miss"
            and self._store.mode(question) == SERVE
        )
        if question is None or not shares:
            return self._ask_alone(asked)
        flight, is_new = self._flights.board(question)
        if not is_new:
            return self._landed(asked, flight) or self._ask_alone(asked)
        ticket = Ticket(self._flights, flight)
        try:
            reply = self._after_another(asked, question, ticket) or self._by_others(asked, question, ticket)
            if reply is not None:
                ticket.over()
                return reply
        except BaseException:
            ticket.over()
            raise
        return self._ask_alone(asked, ticket)

    def _landed(self, asked: Asked, flight: Flight) -> HttpReply | None:
        """Wait for the answer to an equal question; None where it is not to be had."""
        flight.landed.wait(self.settings.single_flight_seconds)
        if flight.completion is None:
            return None
        asked.told.status, asked.told.collapsed, asked.told.entry_id = HIT, True, flight.entry_id
        asked.told.kept_at = time()
        return _reply_of(asked, flight.completion, self.settings)

    def _after_another(self, asked: Asked, question: Question, ticket: Ticket) -> HttpReply | None:
        """Wait for a question in flight whose answer would be served, and look up again."""
        if asked.control.mode != "semantic":
            return None
        near = self._flights.near(ticket.flight, partial(self._store.would_answer, asked, question))
        if near is None:
            return None
        near.landed.wait(self.settings.single_flight_seconds)
        looked = self._looked_up(asked)
        if looked is None or looked.kept is None or looked.found.entry is None:
            return None
        ticket.landed(looked.kept.completion, looked.found.entry.id)
        return _hit(asked, looked, looked.kept, self.settings)

    def _by_others(self, asked: Asked, question: Question, ticket: Ticket) -> HttpReply | None:
        """Wait for another process that asks the same; None once it is ours to ask."""
        try:
            data_manager = self._store.cache.data_manager
            if data_manager.scalars.exclusive:
                return None
            ticket.shared = StoreFlights(data_manager, self.settings.single_flight_seconds)
            entry, ticket.holder = ticket.shared.wait(question)
            with one_request():
                kept = None if entry is None else self._store.unwrapped(asked, entry)
        except ModelCacheError as exc:
            logger.warning("questions in flight are not shared between processes: %s", exc)
            return None
        if entry is None or kept is None:
            return None
        ticket.landed(kept.completion, entry.id)
        asked.told.status, asked.told.collapsed, asked.told.entry_id = HIT, True, entry.id
        asked.told.kept_at, asked.told.expires_at = kept.kept_at, entry.expires_at
        return _reply_of(asked, kept.completion, self.settings)

    def _ask_alone(self, asked: Asked, ticket: Ticket | None = None) -> HttpReply:
        """Ask the server behind, pass its reply on, and keep what may be kept."""
        streams = False
        try:
            sent = self._sent(asked.request, asked.body, to_read=True)
            try:
                is_read = sent.status == 200 and not sent.is_encoded
                streams = is_read and sent.content_type.startswith(EVENT_STREAM)
                if streams:
                    # An error may have to be added to it.
                    headers = passed(sent.headers(), ("content-length",)) + asked.told.headers()
                    return HttpReply(200, headers, self._tee(asked, sent, ticket))
                body = sent.read()
            finally:
                if not streams:
                    sent.close()
            if is_read:
                self._keep(asked, sent.content_type, body, ticket)
            else:
                asked.told.reason = "status" if sent.status != 200 else "content-encoding"
            return HttpReply(sent.status, [*sent.headers(), *asked.told.headers()], body)
        finally:
            if ticket is not None and not streams:
                ticket.over()

    def _tee(self, asked: Asked, sent: Sent, ticket: Ticket | None) -> Tee:
        def whole(data: bytes) -> None:
            self._keep(asked, sent.content_type, data, ticket)

        over = _nothing if ticket is None else ticket.over
        return Tee(sent, asked.dialect, whole, over, finishes=self.settings.gateway_abandoned == "finish")

    def _keep(self, asked: Asked, content_type: str, data: bytes, ticket: Ticket | None) -> None:
        """Keep an answer where that may be, and hand it to those who wait for it."""
        if not asked.is_kept:
            if asked.control.no_store:
                asked.told.reason = asked.told.reason or "no-store"
            return
        after = _nothing if ticket is None else ticket.handed_over()
        try:
            completion = asked.dialect.whole(content_type, data)
            entry_id = self._store.keep(asked, completion, after)
        except NotKeptError as exc:
            asked.told.reason = exc.reason
            after()
            return
        asked.told.stored, asked.told.entry_id = entry_id is not None, entry_id
        # Who asked after the removal asks anew.
        if ticket is not None and asked.told.reason != REMOVED:
            ticket.landed(completion, entry_id)


def _named(exc: RequestError) -> Headers:
    return [(name.lower(), value) for name, value in exc.headers.items()]


def is_stale(asked: Asked, kept: Kept) -> bool:
    """Tell whether an entry is older than the caller wants."""
    most = asked.control.max_age
    return most is not None and (kept.kept_at is None or time() - kept.kept_at > most)


def _hit(asked: Asked, looked: Looked, kept: Kept, settings: "Settings") -> HttpReply:
    told, entry = asked.told, looked.found.entry
    told.status, told.detail, told.reason = HIT, "exact" if looked.found.exact else "semantic", ""
    told.kept_at = kept.kept_at
    if entry is not None:
        told.entry_id, told.expires_at = entry.id, entry.expires_at
    told.similarity, told.confidence = Likeness(*looked.found.likeness)
    return _reply_of(asked, kept.completion, settings)


def _reply_of(asked: Asked, completion: Completion, settings: "Settings") -> HttpReply:
    """Say a completion again, in the form that this caller wants."""
    dialect = asked.dialect
    asked.usage = dialect.usage_of(completion)
    completion = dialect.anew(completion, asked.fields, time())
    if settings.hit_usage == "zero" or not completion.get("usage"):
        completion["usage"] = dict(dialect.no_usage)
    content_type, body = dialect.render(completion, asked.form)
    return HttpReply(200, [("content-type", content_type), *asked.told.headers()], body)


def _nothing() -> None:
    """Stand for what there is nothing to do for."""


class _closing:  # noqa: N801 - an iterator of bytes
    """Gives a reply's bytes, and releases its connection in any case."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self._parts = sent.parts()

    def __iter__(self) -> "_closing":
        return self

    def __next__(self) -> bytes:
        return next(self._parts)

    def close(self) -> None:
        self._sent.close()
