"""Traces that follow one rollout through the services, as W3C `traceparent` headers on every message.

Only this module imports OpenTelemetry's SDK. Without an endpoint no span is recorded and nothing is sent, but a trace
that somebody else began still passes through.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracerProvider, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_PROPAGATOR: Final = TraceContextTextMapPropagator()

_FAREWELL: Final = 3.0
"""Seconds for the last spans at the end of the process; a collector that's gone must not hold it up."""


@dataclass(frozen=True, slots=True)
class Traces:
    """A tracer, and the end of what sends its spans."""

    tracer: Tracer
    provider: "TracerProvider | None" = None

    async def close(self) -> None:
        """Sends what is left, briefly."""
        if self.provider is None:
            return
        sent, loop = asyncio.Event(), asyncio.get_running_loop()

        def send(shutdown: Callable[[], None]) -> None:
            shutdown()
            with suppress(RuntimeError):  # the loop didn't wait
                loop.call_soon_threadsafe(sent.set)

        # a thread that the end of the process doesn't wait for, as it would for one of the loop's own
        threading.Thread(target=send, args=(self.provider.shutdown,), name="last spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await sent.wait()


def traces(service: str, endpoint: str = "") -> Traces:
    """A tracer that exports to `endpoint` by OTLP over HTTP; without one, a tracer that records nothing."""
    if not endpoint:
        return Traces(NoOpTracerProvider().get_tracer(service))
    # Here, because most processes have no endpoint: a twelfth of the modules of a service would be for nothing.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

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
