"""One trace follows what one fact brings about, through all four services as processes of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.nats import NatsServer
from tests.integration import bus_stage
from tests.integration.watcher_stage import cluster
from tests.unit.runtime.collector import Collector, collecting
from tests.unit.runtime.running import running

pytestmark = pytest.mark.integration

SERVICES = ("watcher", "router", "analyzer", "notifier")


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as found:
        yield found


def traces(collector: Collector, service: str) -> dict[bytes, set[str]]:
    """The names of a service's spans, by trace."""
    found: dict[bytes, set[str]] = {}
    for span in collector.spans.get(f"serinus-{service}", []):
        found.setdefault(span.trace_id, set()).add(span.name)
    return found


def through_all(collector: Collector) -> set[bytes]:
    """Traces that have a span of each service."""
    return set.intersection(*(set(traces(collector, service)) for service in SERVICES))


async def test_one_trace_through_all_four_services(tmp_path: Path, collector: Collector) -> None:
    """A new Canary: the watcher tells, the router begins, the analyzer asks its providers, the notifier makes Events."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(cluster())
        nats = await stack.enter_async_context(NatsServer(tmp_path / "nats", more=bus_stage.ADMINS))
        await bus_stage.bootstrapped(nats)
        for service in SERVICES:
            env = nats.env(service) | {"SERINUS_KUBE_URL": world.server.url, "SERINUS_HTTP_HOST": "127.0.0.1"}
            env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
            if service == "router":  # which shall begin for what the watcher tells, not for what its own sweep sees
                env |= {"SERINUS_METRICS_SERVER": "http://127.0.0.1:1", "SERINUS_SWEEP_SECONDS": "600"}
            child = await stack.enter_async_context(running(f"services.{service}", SERINUS_HTTP_PORT="0", **env))
            await child.said("connected to NATS")
        await world.guide("deployment", "route", "canary")
        async with asyncio.timeout(40):
            while not through_all(collector):
                await asyncio.sleep(0.02)
    trace = through_all(collector).pop()
    assert traces(collector, "watcher")[trace] == {"watcher fact"}
    assert "router INBOX" in traces(collector, "router")[trace]
    assert traces(collector, "analyzer")[trace] == {"analyzer TICK"}
    assert traces(collector, "notifier")[trace] == {"notifier NOTICE"}
