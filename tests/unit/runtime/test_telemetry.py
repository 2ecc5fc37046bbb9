"""Traces follow a message from service to service; without an endpoint there is silence, and a trace passes through."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.trace import SpanKind, get_current_span

from shared.runtime import telemetry


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


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    found = Collector()
    runner = web.ServerRunner(web.Server(found.receive), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


async def test_one_trace_over_two_hops(collector: Collector) -> None:
    watcher = telemetry.traces("watcher", collector.url)
    router = telemetry.traces("router", collector.url + "/")
    analyzer = telemetry.traces("analyzer", collector.url)
    with watcher.tracer.start_as_current_span("fact"):
        first = telemetry.inject({"Nats-Msg-Id": "1"})
    with router.tracer.start_as_current_span("router INBOX", telemetry.extract(first), SpanKind.CONSUMER):
        second = telemetry.inject({})
    with analyzer.tracer.start_as_current_span("analyzer TICK", telemetry.extract(second), SpanKind.CONSUMER):
        pass
    for each in (watcher, router, analyzer):
        await each.close()
    assert first["Nats-Msg-Id"] == "1"
    assert collector.paths == {"/v1/traces"}
    (fact,), (decided,), (judged,) = (collector.spans[f"serinus-{name}"] for name in ("watcher", "router", "analyzer"))
    assert fact.trace_id == decided.trace_id == judged.trace_id
    assert (decided.parent_span_id, judged.parent_span_id) == (fact.span_id, decided.span_id)
    assert not fact.parent_span_id


async def test_without_an_endpoint_nothing_is_recorded_but_a_trace_passes_through() -> None:
    silent = telemetry.traces("router")
    with silent.tracer.start_as_current_span("x"):
        assert telemetry.inject({"a": "b"}) == {"a": "b"}
    begun = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with silent.tracer.start_as_current_span("x", telemetry.extract(begun)):
        assert not get_current_span().is_recording()
        assert telemetry.inject({})["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    await silent.close()


@pytest.mark.parametrize("headers", [{}, {"traceparent": "garbage"}, {"traceparent": ""}])
def test_no_trace_or_a_garbled_one_begins_anew(headers: dict[str, str]) -> None:
    with telemetry.tracer("router").start_as_current_span("x", telemetry.extract(headers)):
        assert telemetry.inject({}) == {}
