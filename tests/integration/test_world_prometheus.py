"""The whole world without Kubernetes: gateway, two revisions, load, a real Prometheus, and the checks' own queries.

This is what canaries are for: at weight 10 a canary that fails 18 % of its requests is lost in the route's numbers.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from sandbox.application import Behaviour
from sandbox.gateway.server import METRICS_PATH
from sandbox.prometheus import Prometheus, Target
from services.analyzer import samples, shifting
from services.analyzer.policy import Row
from services.analyzer.shifting import Division
from shared.canary import queries
from shared.wire.messages import Shift
from tests.unit.sandbox.objects import CANARY_IP, CANARY_POD, endpoints, split
from tests.unit.sandbox.world import CANARY, World, world

pytestmark = pytest.mark.integration

ROUTE = queries.route_pattern(["test_podinfo-podinfo-canary_method"])
REQUESTS, OF_CANARY = 500, 50
FAILING = Behaviour(fail_ratio=0.18)


class Asker:
    """Asks Prometheus for one number."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def number(self, query: str) -> float | None:
        async with self._session.get(f"{self._url}/api/v1/query", params={"query": query}) as answer:
            result = (await answer.json())["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    async def shares(self, query: str) -> tuple[Row, ...]:
        """As the analyzer reads them."""
        async with self._session.get(f"{self._url}/api/v1/query", params={"query": query}) as answer:
            return samples.rows_of((await answer.json())["data"]["result"])

    async def becomes(self, query: str, wanted: float) -> None:
        last: float | None = None
        try:
            async with asyncio.timeout(40):
                while (last := await self.number(query)) != wanted:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{query} is still {last}, not {wanted}") from None


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[Prometheus]:
    async with Prometheus(tmp_path / "prometheus", scrape_interval=1.0) as running:
        yield running


def target(found: World) -> Target:
    return Target("apisix", f"127.0.0.1:{found.gateway.metrics_port}", METRICS_PATH)


@pytest.mark.parametrize(
    ("version", "granularity", "node"),
    [("2.15.3", "endpoint", CANARY_POD), ("3.18.0", "service", CANARY_IP)],
)
async def test_a_failing_canary_shows_in_its_own_numbers_only(
    prometheus: Prometheus, version: str, granularity: str, node: str
) -> None:
    own = queries.node_pattern([node])
    async with (
        world(version, behaviours={CANARY: FAILING}, refresh_interval=0.2) as found,
        aiohttp.ClientSession() as session,
    ):
        asker = Asker(prometheus.url, session)
        prometheus.scrape([target(found)])  # while it runs
        found.apply(split(90, 10, granularity=granularity))
        assert await found.load(REQUESTS) == {200: REQUESTS - 9, 500: 9}

        await asker.becomes(queries.evidence(ROUTE, own, "1m"), OF_CANARY)
        await asker.becomes(queries.evidence_of_route(ROUTE, "1m"), REQUESTS)
        canary = await asker.number(queries.success_rate(ROUTE, own, "1m"))
        mixed = await asker.number(queries.success_rate_of_route(ROUTE, "1m"))
        latency = await asker.number(queries.duration(ROUTE, own, "1m"))

    assert canary == pytest.approx(82.0)  # a limit of 95 stops it
    assert mixed == pytest.approx(98.2)  # and would never see it in these
    assert latency is not None
    assert 0 < latency < 500


async def test_a_gateway_that_does_not_follow_is_seen_and_one_that_does_is_believed(prometheus: Prometheus) -> None:
    asked = Shift(
        query=queries.shares(ROUTE, "20s"),
        canary=queries.node_pattern([CANARY_POD]),
        primary=queries.node_pattern(["10.128.0.11"]),
        weight=20,
        before=10,
    )
    async with world("3.18.0", refresh_interval=0.2) as found, aiohttp.ClientSession() as session:
        asker = Asker(prometheus.url, session)
        prometheus.scrape([target(found)])
        found.apply(split(90, 10))
        await found.load(REQUESTS)
        await asker.becomes(queries.evidence_of_route(ROUTE, "20s"), REQUESTS)
        [(_, division)] = shifting.divided(asked, await asker.shares(asked.query)).items()
        assert (division, shifting.behind(asked, division)) == (Division(OF_CANARY, REQUESTS), True)

        found.apply(split(80, 20))
        await found.load(4 * REQUESTS)
        await asker.becomes(queries.evidence_of_route(ROUTE, "1m"), 5 * REQUESTS)
        [(_, division)] = shifting.divided(asked, await asker.shares(asked.query)).items()
        assert not shifting.behind(asked, division), division


async def test_a_canary_that_nobody_can_reach_is_charged_too(prometheus: Prometheus) -> None:
    """Its failures carry no node; none of its own numbers would show them."""
    own = queries.node_pattern([CANARY_POD])
    async with world() as found, aiohttp.ClientSession() as session:
        asker = Asker(prometheus.url, session)
        prometheus.scrape([target(found)])
        nobody = [endpoints("podinfo-primary", "10.128.0.11"), endpoints("podinfo-canary")]
        found.apply(split(90, 10), endpoint_slices=nobody)
        assert await found.load(100) == {200: 90, 503: 10}

        await asker.becomes(queries.success_rate(ROUTE, own, "1m"), 0.0)
        assert await asker.number(queries.evidence(ROUTE, own, "1m")) is None
        assert await asker.number(queries.success_rate_of_route(ROUTE, "1m")) == pytest.approx(90.0)

        prometheus.kill()
        await prometheus.start()  # on the same port, with what it knew
        await asker.becomes(queries.success_rate(ROUTE, own, "1m"), 0.0)


async def test_without_the_node_label_only_the_route_is_left(prometheus: Prometheus) -> None:
    async with world("3.18.0", refresh_interval=0) as found, aiohttp.ClientSession() as session:
        found.gateway.meter.node_label = False
        asker = Asker(prometheus.url, session)
        prometheus.scrape([target(found)])
        found.apply(split(50, 50))
        await found.load(20)

        await asker.becomes(queries.evidence_of_route(ROUTE, "1m"), 20)
        assert await asker.number(queries.nodes_present(ROUTE, "1m")) is None
