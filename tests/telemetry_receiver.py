"""Where telemetry goes in tests: a collector of OTLP, and Application Insights' ingestion."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KEY = "00000000-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Span:
    """A span as it was received."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    is_error: bool
    facts: Mapping[str, Any]
    nanoseconds: int


@dataclass
class Received:
    """Everything that arrived; `bodies` as it came over the wire, uncompressed."""

    address: str = ""
    is_answering: bool = True
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def connection_string(self) -> str:
        """What leads Application Insights' exporter here."""
        return f"InstrumentationKey={KEY};IngestionEndpoint={self.address}/"

    def spans(self) -> list[Span]:
        found = []
        for path, body in list(self.bodies):
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        found += [_span(span) for span in scope.spans]
        return found

    def points(self, name: str) -> list[Any]:
        """The points of a metric, the newest last."""
        found: list[Any] = []
        for path, body in list(self.bodies):
            if path == "/v1/metrics":
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    for scope in resource.scope_metrics:
                        for metric in scope.metrics:
                            if metric.name == name:
                                data = getattr(metric, metric.WhichOneof("data"))
                                found += data.data_points
        return found

    def envelopes(self) -> list[dict[str, Any]]:
        """What Application Insights was sent."""
        bodies = [body for path, body in list(self.bodies) if path.endswith("/track")]
        return [envelope for body in bodies for envelope in orjson.loads(body)]

    def wait(self, until: Callable[["Received"], object], seconds: float = 15) -> None:
        """Wait until something has arrived."""
        end = time.monotonic() + seconds
        while not until(self):
            assert time.monotonic() < end, [(path, len(body)) for path, body in self.bodies]
            time.sleep(0.02)


@contextmanager
def receiving(*, is_answering: bool = True) -> Iterator[Received]:
    """A receiver on the loopback; one that does not answer takes requests, and holds them."""
    received = Received(is_answering=is_answering)
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.bodies.append((self.path, body))
            if not is_answering:
                released.wait(60)
                return
            answer = b""
            if self.path.endswith("/track"):
                count = len(orjson.loads(body))
                answer = orjson.dumps(
                    {"itemsReceived": count, "itemsAccepted": count, "errors": []}
                )
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    received.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield received
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _span(span: Any) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        is_error=span.status.code == 2,
        facts={a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes},
        nanoseconds=span.end_time_unix_nano - span.start_time_unix_nano,
    )
