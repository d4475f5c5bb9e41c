"""Traces of OpenTelemetry. Where they go, and which, its own environment variables say (OTEL_…)."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import Any

from opentelemetry.context import attach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from modelcache.spans import UPSTREAM, Headers, Spans, T

NAME = "modelcache"
# What the standard lets them be.
CARRIED = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}
SERVER_ERROR = 500
CLOSE_SECONDS = 3.0


class OpenTelemetrySpans(Spans):
    """Sends a span for each request and its parts, in batches, by a thread of its own."""

    def __init__(self) -> None:
        self._tracer: Tracer = NoOpTracer()
        self._provider: TracerProvider | None = None
        self._propagator = TraceContextTextMapPropagator()

    def open(self) -> None:
        """Start to send."""
        own = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: NAME}
        self._provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(NAME)

    def close(self) -> None:
        """Send what waits, and stop; harmless when repeated.

        A collector that hangs is not waited for long.
        """
        provider, self._provider = self._provider, None
        self._tracer = NoOpTracer()
        if provider is not None:
            ending = threading.Thread(target=provider.shutdown, name="modelcache-tracing-end", daemon=True)
            ending.start()
            ending.join(CLOSE_SECONDS)

    def span(self, name: str) -> AbstractContextManager[Any]:
        return self._spanned(name)

    @contextmanager
    def _spanned(self, name: str) -> Iterator[None]:
        kind = SpanKind.CLIENT if name == UPSTREAM else SpanKind.INTERNAL
        # An error's text may hold what no span should.
        with self._tracer.start_as_current_span(
            name, kind=kind, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as exc:
                span.set_status(Status(StatusCode.ERROR))
                span.set_attribute("error.type", type(exc).__name__)
                raise

    def begin(self, name: str, environ: Mapping[str, Any]) -> Span:
        told = {name: environ[variable] for name, variable in CARRIED.items() if environ.get(variable)}
        context = self._propagator.extract(told)
        span = self._tracer.start_span(name, context=context, kind=SpanKind.SERVER)
        # The caller's context ends with the request.
        attach(set_span_in_context(span))
        return span

    def end(self, request: Span, status: int, attributes: Mapping[str, str]) -> None:
        request.set_attributes({name: value for name, value in attributes.items() if value})
        if status:
            request.set_attribute("http.response.status_code", status)
        if not status or status >= SERVER_ERROR:
            request.set_status(Status(StatusCode.ERROR))
        request.end()

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        context = copy_context()
        return lambda: context.run(work)

    def sent_on(self, headers: Headers) -> Headers:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        if not carrier:
            return headers
        return [(name, value) for name, value in headers if name.lower() not in CARRIED] + [*carrier.items()]
