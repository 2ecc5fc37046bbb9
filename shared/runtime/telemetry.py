"""Traces that follow one rollout through the services, as W3C `traceparent` headers on every message.

Only this module imports OpenTelemetry's SDK. Without an endpoint no span is recorded and nothing is sent, but a trace
that somebody else began still passes through.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracerProvider, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR: Final = TraceContextTextMapPropagator()

_FAREWELL: Final = 3.0
"""Seconds for the last spans at the end of the process; a collector that's gone must not hold it up."""


@dataclass(frozen=True, slots=True)
class Traces:
    """A tracer, and the end of what sends its spans."""

    tracer: Tracer
    provider: TracerProvider | None = None

    async def close(self) -> None:
        """Sends what is left, briefly."""
        if self.provider is None:
            return
        try:
            async with asyncio.timeout(_FAREWELL):
                await asyncio.to_thread(self.provider.shutdown)
        except TimeoutError:
            pass  # the thread is left to itself; `serve` ends the process whatever it does


def traces(service: str, endpoint: str = "") -> Traces:
    """A tracer that exports to `endpoint` by OTLP over HTTP; without one, a tracer that records nothing."""
    if not endpoint:
        return Traces(NoOpTracerProvider().get_tracer(service))
    provider = TracerProvider(resource=Resource.create({"service.name": f"serinus-{service}"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Traces(provider.get_tracer(service), provider)


def tracer(service: str, endpoint: str = "") -> Tracer:
    """The tracer alone, for what has no end of its own."""
    return traces(service, endpoint).tracer


def inject(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers plus the current span's `traceparent`, if there is a current span."""
    carrier = dict(headers)
    _PROPAGATOR.inject(carrier)
    return carrier


def extract(headers: Mapping[str, str]) -> Context:
    """The context that a message's headers carry; an empty one when they carry none."""
    return _PROPAGATOR.extract(headers, context=Context())
