"""Spans for OpenTelemetry: where `watch.otel_endpoint` is set and the extra `otel` installed, else nothing happens.

What a job did leaves in the background, a batch at a time, and is dropped when the collector is slow or dead:
watching never delays what is watched.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from kobe.app.context import Context

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TIMEOUT_S = 1.0
BATCH_MS = 500
MOST_WAITING = 512
SERVICE = "kobe"
Value = str | int | float | bool


@contextmanager
def span(ctx: Context, name: str, attributes: Mapping[str, Value] | None = None) -> Iterator[None]:
    """Measure a block as a span; what the block raises is noted by its type alone and raised on.

    Args:
        ctx: context.
        name: of the span, such as `job scan`.
        attributes: facts of it; never a secret.
    """
    provider = _provider(ctx.settings.watch.otel_endpoint) if ctx.settings.watch.otel_endpoint else None
    if provider is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    tracer = provider.get_tracer(SERVICE)
    told = {"kobe.run": ctx.run_id, "kobe.mode": ctx.settings.run.mode, **(attributes or {})}
    with tracer.start_as_current_span(
        name, attributes=told, record_exception=False, set_status_on_exception=False
    ) as s:
        try:
            yield
        except BaseException as error:
            s.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def flush(ctx: Context) -> None:
    """Send what is waiting now, for a second at most; what a dead collector does not take is dropped."""
    endpoint = ctx.settings.watch.otel_endpoint
    provider = _provider(endpoint) if endpoint else None
    if provider is not None:
        provider.force_flush(int(TIMEOUT_S * 1000))


def close(ctx: Context) -> None:
    """Send what can still be sent and end the sender; called at the end of a process by itself."""
    endpoint = ctx.settings.watch.otel_endpoint
    provider = _provider(endpoint) if endpoint else None
    if provider is not None:
        provider.shutdown()


@lru_cache(maxsize=4)
def _provider(endpoint: str) -> "TracerProvider | None":
    """Make what sends to an endpoint, once in a process; None without the extra."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return None
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a dead collector is nobody's alarm here
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: SERVICE}))
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=TIMEOUT_S)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter, max_queue_size=MOST_WAITING, max_export_batch_size=MOST_WAITING,
            schedule_delay_millis=BATCH_MS, export_timeout_millis=TIMEOUT_S * 1000,
        )
    )  # fmt: skip
    return provider
