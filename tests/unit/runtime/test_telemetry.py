"""Traces follow a message from service to service; without an endpoint there is silence, and a trace passes through."""

from collections.abc import AsyncIterator

import pytest
from opentelemetry.trace import SpanKind, get_current_span

from shared.runtime import telemetry
from tests.unit.runtime.collector import Collector, collecting


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as found:
        yield found


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
