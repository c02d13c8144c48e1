"""Spans reach a collector, and one that is slow, dead or absent delays nothing."""

import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from kit.home import LAST, at
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kobe.app import wiring
from kobe.app.watching import telemetry


class Collector(HTTPServer):
    """Speaks as much OTLP/HTTP as an exporter needs and keeps what it was sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/v1/traces"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        told = ExportTraceServiceRequest.FromString(body)
        self.server.spans += [s for r in told.resource_spans for scope in r.scope_spans for s in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_words):
        pass


@pytest.fixture
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def context(tmp_path, endpoint):
    ctx = wiring.build(tmp_path / "home", clock=at(LAST, 17, 0))
    watch = ctx.settings.watch.model_copy(update={"otel_endpoint": endpoint})
    return replace(ctx, settings=ctx.settings.model_copy(update={"watch": watch}))


def test_a_span_and_the_one_inside_it_arrive_with_their_facts_and_a_fault_by_its_type_alone(tmp_path, collector):
    ctx = context(tmp_path, collector.address)
    with telemetry.span(ctx, "job scan", {"session": "2024-12-31", "again": False}), telemetry.span(ctx, "inside"):
        pass
    with pytest.raises(ValueError, match="sk-secret"), telemetry.span(ctx, "job submit"):
        raise ValueError("sk-secret")
    telemetry.flush(ctx)
    spans = {s.name: s for s in collector.spans}
    assert set(spans) == {"job scan", "inside", "job submit"}
    assert spans["inside"].parent_span_id == spans["job scan"].span_id
    facts = {a.key: a.value.string_value for a in spans["job scan"].attributes}
    assert (facts["session"], facts["kobe.run"]) == ("2024-12-31", ctx.run_id)
    failed = spans["job submit"]
    assert (failed.status.code, failed.status.message, len(failed.events)) == (2, "ValueError", 0)
    assert "sk-secret" not in str(failed)


def test_a_collector_that_listens_and_never_answers_delays_no_job(tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        ctx = context(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces")
        started = time.monotonic()
        for k in range(200):
            with telemetry.span(ctx, f"job {k}"):
                pass
        assert time.monotonic() - started < 1.0
        telemetry.flush(ctx)
        telemetry.close(ctx)
    assert time.monotonic() - started < 5.0


def test_without_an_endpoint_nothing_is_made(tmp_path):
    ctx = context(tmp_path, "")
    before = telemetry._provider.cache_info().misses
    with telemetry.span(ctx, "job scan"):
        pass
    telemetry.flush(ctx)
    assert telemetry._provider.cache_info().misses == before
