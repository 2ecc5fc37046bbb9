"""What a comparison counts, asked of a real Prometheus: by node, since a moment, and around a gateway that restarts."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from sandbox.listener import Listener
from sandbox.prometheus import Prometheus as Server
from sandbox.prometheus import Target
from services.analyzer.prometheus import Prometheus
from shared.canary import queries
from shared.wire.messages import Provider
from tests.integration.bus_stage import DEADLINE
from tests.integration.test_analyzer_prometheus import NODES, ROUTE, NoSecrets

pytestmark = pytest.mark.integration

LABELS = 'route="test_podinfo-podinfo-canary_method",matched_uri="/*"'


@dataclass
class Gateway:
    """A metrics page whose counters are what a test says."""

    status: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """Requests by node, code and whose answer it was."""
    fast: int = 0

    def page(self) -> str:
        lines = [
            f'apisix_http_status{{{LABELS},node="{node}",code="{code}",response_source="{source}"}} {value}'
            for (node, code, source), value in self.status.items()
        ]
        for bound, value in (("100", self.fast), ("+Inf", self.fast + 5)):
            lines.append(f'apisix_http_latency_bucket{{{LABELS},type="upstream",node="10.0.0.1",le="{bound}"}} {value}')
        return "\n".join(lines) + "\n"


@dataclass
class Scene:
    gateway: Gateway
    door: Prometheus
    provider: Provider

    async def until(self, query: str, by: str, expected: Mapping[str, float]) -> None:
        """Asks until it is so: a scrape takes a second, and a window has to fill. What has grown is seen for as long as the
        window is, so long ones leave time on a machine that stands still."""
        found: dict[str, float] = {}
        try:
            async with asyncio.timeout(DEADLINE):
                while found != expected:
                    answer = await self.door.rows(self.provider, query)
                    assert not answer.fault, answer.error
                    found = {
                        ",".join(row.labels.get(each, "") for each in by.split(",")): row.value for row in answer.rows
                    }
                    await asyncio.sleep(0.2)
        except TimeoutError:
            assert found == expected


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    gateway = Gateway()

    async def page(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=gateway.page())

    exporter = Listener(page)
    await exporter.start()
    door = Prometheus(NoSecrets(), threads=2, monotonic=time.monotonic, observe=lambda reason, seconds: None)
    target = Target("apisix", f"127.0.0.1:{exporter.port}")
    async with Server(tmp_path / "prometheus", [target], scrape_interval=1.0) as server:
        yield Scene(gateway, door, Provider(address=server.url))
    await door.close()
    await exporter.stop()


OK, FAILED, UNREACHED = ("10.0.0.1", "200", "upstream"), ("10.0.0.1", "500", "upstream"), ("", "503", "apisix")
GIVEN_UP = ("10.0.0.1", "504", "nginx")


async def test_answers_are_counted_by_node_and_code_through_a_restart(scene: Scene) -> None:
    query = queries.statuses(ROUTE, "15s")
    scene.gateway.status = {OK: 1000, FAILED: 3, UNREACHED: 0}
    await scene.until(query, "node,code", {"10.0.0.1,200": 0, "10.0.0.1,500": 0, ",503": 0})
    scene.gateway.status = {OK: 1060, FAILED: 5, UNREACHED: 1}
    await scene.until(query, "node,code", {"10.0.0.1,200": 60, "10.0.0.1,500": 2, ",503": 1})
    scene.gateway.status = {OK: 40, FAILED: 1, UNREACHED: 0}  # a new process counts from nothing
    await scene.until(query, "node,code", {"10.0.0.1,200": 40, "10.0.0.1,500": 1, ",503": 0})


async def test_bounds_see_what_was_asked_before_and_after_a_restart(scene: Scene) -> None:
    """Goods that begin anew beside failures that don't would be an alarm about nobody."""
    scene.gateway.status, scene.gateway.fast = {OK: 1000, FAILED: 0}, 1000
    rate, latency = queries.success_rate(ROUTE, NODES, "60s"), queries.duration(ROUTE, NODES, "60s", "upstream")
    await scene.until(queries.statuses(ROUTE, "2s"), "node,code", {"10.0.0.1,200": 0, "10.0.0.1,500": 0})
    scene.gateway.status, scene.gateway.fast = {OK: 1099, FAILED: 0}, 1099
    await scene.until(queries.statuses(ROUTE, "60s"), "node,code", {"10.0.0.1,200": 1099, "10.0.0.1,500": 0})
    scene.gateway.status, scene.gateway.fast = {OK: 100, FAILED: 1}, 101  # a new process
    await scene.until(queries.evidence(ROUTE, NODES, "60s"), "", {"": 1200})
    await scene.until(rate, "", {"": 1199 / 1200 * 100})
    assert (await scene.door.ask(scene.provider, latency)).count <= 100


async def test_latency_is_counted_by_node_and_bound(scene: Scene) -> None:
    scene.gateway.fast = 100
    query = queries.latencies(ROUTE, "15s")
    await scene.until(query, "node,le", {"10.0.0.1,100": 0, "10.0.0.1,+Inf": 0})
    scene.gateway.fast = 150
    await scene.until(query, "node,le", {"10.0.0.1,100": 50, "10.0.0.1,+Inf": 50})


async def test_failures_are_told_by_whose_answer_they_were(scene: Scene) -> None:
    query = queries.blame(ROUTE, NODES, "60s")
    scene.gateway.status = {OK: 7, FAILED: 3, UNREACHED: 4, GIVEN_UP: 2, ("10.0.0.2", "500", "upstream"): 50}
    await scene.until(query, "by", {"application": 3, "gateway": 6})
