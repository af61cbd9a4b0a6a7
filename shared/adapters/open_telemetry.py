"""Telemetry by OpenTelemetry: to a collector by OTLP over HTTP, and to Application Insights.

Whatever is told goes into bounded queues; threads of the library's own send it, and drop it where
nobody takes it in time.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import uuid4

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.telemetry import Fact, Measure, MeasureKind, Telemetry, Trace

_SERVICE = "dicom-functions"
_EXPORT_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_ERROR = "error.type"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

# What Application Insights' exporter would send beside; it takes these by the environment only.
_SIDE_CHANNELS = (
    "STATSBEAT_DISABLED_ALL",
    "SDKSTATS_DISABLED",
    "CONTROLPLANE_DISABLED",
    "OPENTELEMETRY_RESOURCE_METRIC_DISABLED",
)

_CURRENT: ContextVar[Span | None] = ContextVar("span of the request", default=None)
_PROPAGATOR = TraceContextTextMapPropagator()

type Exporters = tuple[SpanExporter, MetricExporter]


def otlp_exporters(endpoint: str) -> Exporters:
    """Exporters to a collector; headers, compression and certificates by OTEL_EXPORTER_OTLP_*."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter,
    )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    root = endpoint.rstrip("/")
    return (
        OTLPSpanExporter(f"{root}/v1/traces", timeout=_EXPORT_SECONDS),
        OTLPMetricExporter(f"{root}/v1/metrics", timeout=_EXPORT_SECONDS),
    )


def application_insights_exporters(connection_string: str) -> Exporters:
    """Exporters to Application Insights that speak to its ingestion endpoint and to nothing else.

    They keep no files: what cannot be sent is dropped.
    """
    for switch in _SIDE_CHANNELS:
        os.environ.setdefault(f"APPLICATIONINSIGHTS_{switch}", "true")
    from azure.monitor.opentelemetry.exporter import (  # noqa: PLC0415 - slow, and reads them
        AzureMonitorMetricExporter,
        AzureMonitorTraceExporter,
    )

    options = {
        "connection_string": connection_string,
        "disable_offline_storage": True,
        "timeout": _EXPORT_SECONDS,
        "retry_total": 1,
    }
    return AzureMonitorTraceExporter(**options), AzureMonitorMetricExporter(**options)


class OpenTelemetry(Telemetry):
    """Spans and instruments, sent by every pair of exporters.

    Sampling, intervals and sizes of queues are those of OpenTelemetry's own environment variables.
    """

    def __init__(self, exporters: Sequence[Exporters]) -> None:
        own = {"service.name": _SERVICE, "service.instance.id": str(uuid4())}
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        for spans, _ in exporters:
            self._traces.add_span_processor(BatchSpanProcessor(spans))
        readers = [PeriodicExportingMetricReader(metrics) for _, metrics in exporters]
        self._metrics = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer(_SERVICE)
        self._instruments = {measure: self._instrument(measure) for measure in Measure}
        self._closing = threading.Event()
        # They wait from now on: no thread can be started any more when the interpreter ends.
        self._closers = [
            threading.Thread(target=self._shut, args=(provider,), daemon=True)
            for provider in (self._traces, self._metrics)
        ]
        for closer in self._closers:
            closer.start()

    def trace(self, name: str, caller: str | None = None) -> "RequestTrace":
        """See Telemetry."""
        context = _PROPAGATOR.extract({"traceparent": caller}) if caller else None
        return RequestTrace(self._tracer.start_span(name, context, SpanKind.SERVER))

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Trace a call of a store, as a part of the request that makes it, if any."""
        parent = _CURRENT.get()
        context = None if parent is None else set_span_in_context(parent)
        span = self._tracer.start_span(name, context, SpanKind.CLIENT)
        try:
            yield
        except GeneratorExit:
            raise  # Nobody wants the rest of what is listed or read.
        except BaseException as error:
            _fail(span, type(error).__name__)
            raise
        finally:
            span.end()

    def measure(
        self, measure: Measure, amount: float, facts: Mapping[str, Fact] | None = None
    ) -> None:
        """See Telemetry."""
        self._instruments[measure](amount, facts)

    def close(self) -> None:
        """See Telemetry; a collector that does not answer is waited for 5 s at most."""
        self._closing.set()
        until = time.monotonic() + _CLOSE_SECONDS
        for closer in self._closers:
            closer.join(max(0.0, until - time.monotonic()))

    def _shut(self, provider: TracerProvider | MeterProvider) -> None:
        self._closing.wait()
        provider.shutdown()

    def _instrument(self, measure: Measure) -> Callable[[float, Mapping[str, Fact] | None], None]:
        meter = self._metrics.get_meter(_SERVICE)
        name, kind, unit = measure.value
        match kind:
            case MeasureKind.COUNT:
                return meter.create_counter(name, unit).add
            case MeasureKind.DURATION:
                return meter.create_histogram(
                    name, unit, explicit_bucket_boundaries_advisory=_SECONDS
                ).record
            case MeasureKind.LEVEL:
                return meter.create_gauge(name, unit).set


class RequestTrace(Trace):
    """The span of a request."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def id(self) -> str:
        """See Trace."""
        return format_trace_id(self._span.get_span_context().trace_id)

    @contextmanager
    def current(self) -> Iterator[None]:
        """See Trace."""
        token = _CURRENT.set(self._span)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def end(self, facts: Mapping[str, Fact], error: str | None = None) -> None:
        """See Trace."""
        self._span.set_attributes(facts)
        if error is not None:
            _fail(self._span, error)
        self._span.end()


def _fail(span: Span, error: str) -> None:
    # Not the exception itself: its message may quote what it is about.
    span.set_attribute(_ERROR, error)
    span.set_status(Status(StatusCode.ERROR))
