"""Traces of OpenTelemetry, read from the SDK's exporter in memory."""

import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from flask import Flask
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from modelcache import tracing
from modelcache.app import create_app, get_service
from modelcache.errors import ConfigError, VectorStoreError
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import SECONDS
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.gateway_client import GatewayClient
from tests.support.running import ROOT
from tests.support.upstream import Upstream

pytestmark = pytest.mark.packages

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "OTLPSpanExporter", lambda: exporter)
    return exporter


@pytest.fixture
def app(make_app: AppFactory, exporter: InMemorySpanExporter, upstream: Upstream) -> Flask:
    return make_app(tracing=True, upstream_url=upstream.url, lookup_deadline_ms=5000)


class Traced:
    """The spans of one trace."""

    def __init__(self, spans: Sequence[ReadableSpan]) -> None:
        self.by_name = {span.name: span for span in spans}
        self._names = {span.context.span_id: span.name for span in spans if span.context}

    def tree(self) -> dict[str, str]:
        """Return each span's parent, by names; "" for one outside of the service."""
        return {
            name: "" if span.parent is None else self._names.get(span.parent.span_id, "")
            for name, span in self.by_name.items()
        }


def ended(app: Flask, exporter: InMemorySpanExporter, skipped: int = 0) -> Traced:
    """Return the spans of the trace after so many, once all are handed over."""
    spans_of = get_service(app).spans
    assert isinstance(spans_of, tracing.OpenTelemetrySpans)
    assert spans_of._provider is not None
    spans_of._provider.force_flush()
    spans = exporter.get_finished_spans()
    traces = list(dict.fromkeys(span.context.trace_id for span in spans if span.context))
    return Traced([span for span in spans if span.context and span.context.trace_id == traces[skipped]])


def test_a_query_shows_what_its_time_went_to(app: Flask, exporter: InMemorySpanExporter) -> None:
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    client.query("q" + NEAR)
    traced = ended(app, exporter, skipped=1)
    assert traced.tree() == {
        "POST": "",
        "look-up": "POST",
        "embedding": "look-up",
        "search": "look-up",
        "decision": "look-up",
    }
    request = traced.by_name["POST"]
    assert request.kind == SpanKind.SERVER
    assert request.attributes is not None
    told = dict(request.attributes)
    assert told.pop("modelcache.request_id")
    assert told == {
        "http.request.method": "POST",
        "url.path": "/modelcache",
        "http.response.status_code": 200,
        "gen_ai.request.model": "m",
        "modelcache.api": "modelcache",
        "modelcache.outcome": "hit",
        "modelcache.hit_type": "semantic",
    }
    assert request.resource.attributes["service.name"] == "modelcache"


def test_an_equal_question_is_neither_embedded_nor_searched(
    app: Flask, exporter: InMemorySpanExporter
) -> None:
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    client.query("q")
    assert ended(app, exporter, skipped=1).tree() == {"POST": "", "look-up": "POST"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_trace_goes_on_through_the_gateway(
    app: Flask, exporter: InMemorySpanExporter, upstream: Upstream, stream: bool
) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
    GatewayClient(app.test_client()).ask("q", headers, stream=stream)
    traced = ended(app, exporter)
    assert traced.tree() == {
        "POST": "",
        "look-up": "POST",
        "embedding": "look-up",
        "search": "look-up",
        "decision": "look-up",
        "upstream": "POST",
    }
    request, sent = traced.by_name["POST"], traced.by_name["upstream"]
    assert request.context is not None
    assert request.parent is not None
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    assert sent.kind == SpanKind.CLIENT
    assert sent.context is not None
    [call] = upstream.calls
    assert call.headers["traceparent"] == f"00-{TRACE}-{sent.context.span_id:016x}-01"
    assert call.headers["tracestate"] == "vendor=1"


def test_without_tracing_the_callers_trace_is_handed_on(make_app: AppFactory, upstream: Upstream) -> None:
    app = make_app(upstream_url=upstream.url, lookup_deadline_ms=5000)
    GatewayClient(app.test_client()).ask("q", {"traceparent": TRACEPARENT})
    assert upstream.calls[0].headers["traceparent"] == TRACEPARENT


def test_a_failure_is_marked_and_says_no_text(
    app: Flask, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise VectorStoreError("the host db.internal said no")

    monkeypatch.setattr(get_service(app).cache.data_manager, "search", fail)
    CacheClient(app.test_client()).query("a secret question")
    traced = ended(app, exporter)
    search = traced.by_name["search"]
    assert search.status.status_code == StatusCode.ERROR
    assert search.attributes == {"error.type": "VectorStoreError"}
    texts = "".join(span.to_json() for span in traced.by_name.values())
    assert "db.internal" not in texts
    assert "secret" not in texts


def test_what_waits_is_sent_when_the_service_closes(app: Flask, exporter: InMemorySpanExporter) -> None:
    CacheClient(app.test_client()).query("q")
    get_service(app).close()
    assert "POST" in {span.name for span in exporter.get_finished_spans()}


def test_a_collector_that_hangs_does_not_keep_the_service_from_closing(
    app: Flask, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, exporting = threading.Event(), threading.Event()

    def hang(_: object) -> SpanExportResult:
        exporting.set()
        released.wait()
        return SpanExportResult.FAILURE

    monkeypatch.setattr(exporter, "export", hang)
    monkeypatch.setattr(tracing, "CLOSE_SECONDS", 0.1)
    CacheClient(app.test_client()).query("q")
    try:
        get_service(app).close()
        assert exporting.wait(SECONDS)
    finally:
        released.set()


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    program = (
        "import sys, tempfile; from modelcache.app import create_app\n"
        "create_app({'data_dir': tempfile.mkdtemp()}, open_now=False)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_where_it_is_not_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "modelcache.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(ConfigError, match=r"opentelemetry.*to install it: pip install"):
        create_app({"tracing": True}, open_now=False)
