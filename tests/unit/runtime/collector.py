"""An OpenTelemetry collector on the loopback that keeps what it gets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sandbox.listener import Listener


class Collector:
    """An OTLP receiver that keeps spans by service."""

    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = {}
        self.paths: set[str] = set()
        self.url = ""

    async def receive(self, request: web.BaseRequest) -> web.Response:
        self.paths.add(request.path)
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            (service,) = [
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            ]
            for scope in resource.scope_spans:
                self.spans.setdefault(service, []).extend(scope.spans)
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    found = Collector()
    async with Listener(found.receive) as listener:
        found.url = listener.url
        yield found
