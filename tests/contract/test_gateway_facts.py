"""The gateway double against what was measured on real data planes, over HTTP: shares, and whose number a failure is."""

import asyncio
import time
from typing import Any

import pytest

from sandbox.application import Behaviour
from tests.unit.sandbox.objects import (
    CANARY_IP,
    CANARY_POD,
    PRIMARY_IP,
    PRIMARY_POD,
    backend,
    endpoints,
    route,
    rule,
    split,
)
from tests.unit.sandbox.world import CANARY, World, parse, world

BOTH = pytest.mark.parametrize("version", ["2.15.3", "3.18.0"])
FRESH: Any = {"refresh_interval": 0}  # the page's cache has tests of its own


@BOTH
async def test_of_400_requests_at_90_10_exactly_40_reach_the_canary(version: str) -> None:
    async with world(version, **FRESH) as found:
        found.apply(split(90, 10))
        await found.load(8)
        assert await found.status() == {("200", PRIMARY_POD): 8}
        await found.load(1)
        assert (await found.status())["200", CANARY_POD] == 1
        await found.load(391)

        assert await found.status() == {("200", PRIMARY_POD): 360, ("200", CANARY_POD): 40}


@pytest.mark.parametrize(("weights", "canary"), [((97, 3), 0), ((95, 5), 15)])
async def test_writes_starve_a_light_canary(weights: tuple[int, int], canary: int) -> None:
    async with world() as found:
        for written in range(5):
            found.apply(split(*weights, written=written))
            await found.load(60)

        assert (await found.status())["200", CANARY_POD] == canary


async def test_each_worker_has_turns_of_its_own() -> None:
    async with world(workers=2) as found:
        found.apply(split(90, 10))
        # Each connection belongs to one worker, and one connection at a time is open.
        for _ in range(16):
            await found.ask(Connection="close")
        assert await found.status() == {("200", PRIMARY_POD): 16}
        for _ in range(2):
            await found.ask(Connection="close")

        assert (await found.status())["200", CANARY_POD] == 2


@BOTH
@pytest.mark.parametrize(("weights", "canary"), [((100, 0), 0), ((0, 100), 20), ((0, 0), 10), ((75, 25), 5)])
async def test_the_ends_of_the_scale(version: str, weights: tuple[int, int], canary: int) -> None:
    async with world(version, **FRESH) as found:
        found.apply(split(*weights))
        await found.load(20)

        assert (await found.status())["200", CANARY_POD] == canary


@BOTH
async def test_no_endpoints_are_503_without_a_node(version: str) -> None:
    async with world(version, **FRESH) as found:
        found.apply(
            split(90, 10), endpoint_slices=[endpoints("podinfo-primary", PRIMARY_POD), endpoints("podinfo-canary")]
        )
        assert await found.load(100) == {200: 90, 503: 10}

        assert await found.status() == {("200", PRIMARY_POD): 90, ("503", ""): 10}
        assert await sources(found) == ({"upstream", "apisix"} if version == "3.18.0" else set())


@BOTH
async def test_a_refused_connection_is_502_of_that_pod(version: str) -> None:
    async with world(version, **FRESH) as found:
        await found.kill(CANARY_POD)
        found.apply(split(90, 10))
        assert await found.load(100) == {200: 90, 502: 10}

        assert await found.status() == {("200", PRIMARY_POD): 90, ("502", CANARY_POD): 10}
        assert await sources(found) == ({"upstream", "nginx"} if version == "3.18.0" else set())


@BOTH
async def test_a_retry_belongs_to_whoever_answered(version: str) -> None:
    async with world(version, **FRESH) as found:
        await found.pod("10.128.0.13", CANARY)
        await found.kill(CANARY_POD)
        found.apply(split(0, 100), canaries=[CANARY_POD, "10.128.0.13"])
        assert await found.load(20) == {200: 20}

        assert await found.status() == {("200", "10.128.0.13"): 20}


@BOTH
async def test_a_timeout_is_504_of_that_pod(version: str) -> None:
    async with world(version, behaviours={CANARY: Behaviour(latency_seconds=5)}, **FRESH) as found:
        found.apply(route(rule("method", backend("podinfo-canary"), timeout={"read": "1s"})))
        assert await found.ask() == 504

        assert await found.status() == {("504", CANARY_POD): 1}


@BOTH
async def test_a_missing_service(version: str) -> None:
    """The newer controller leaves the backend out, so the other gets all; the older one keeps what was."""
    async with world(version, **FRESH) as found:
        found.apply(split(100, 0))
        missing = route(rule("method", backend("podinfo-canary", 50), backend("nobody", 50)))
        found.apply(missing)
        await found.load(10)

        assert await found.status() == {("200", CANARY_POD if version == "3.18.0" else PRIMARY_POD): 10}


async def test_no_upstream_at_all_is_503() -> None:
    async with world("3.18.0", **FRESH) as found:
        found.apply(route(rule("method", backend("nobody"))))
        assert await found.ask() == 503

        assert await found.status() == {("503", ""): 1}


async def test_an_abort_is_the_gateways_own() -> None:
    abort = {"name": "fault-injection", "enable": True, "config": {"abort": {"http_status": 418}}}
    async with world(global_prefer_name=True) as found:
        found.apply(route(rule("method", backend("podinfo-primary"), plugins=[abort])))
        assert await found.ask() == 418

        assert await found.status() == {("418", ""): 1}


@pytest.mark.parametrize(("version", "codes"), [("3.18.0", {500: 20}), ("2.15.3", {200: 18, 502: 2})])
async def test_an_upstream_that_comes_late(version: str, codes: dict[int, int]) -> None:
    clock = Clock()
    async with world(version, upstream_lag=3.0, monotonic=clock, **FRESH) as found:
        found.apply(split(90, 10))
        assert await found.load(20) == codes
        clock.now += 3.0
        assert await found.load(20) == {200: 20}
        found.apply(split(80, 20))  # the backends are the same, nothing is new
        assert await found.load(20) == {200: 20}


@BOTH
async def test_by_service_the_node_is_the_cluster_ip(version: str) -> None:
    async with world(version, **FRESH) as found:
        await found.pod("10.128.0.13", CANARY)
        found.apply(split(90, 10, granularity="service"), canaries=[CANARY_POD, "10.128.0.13"])
        await found.load(100)
        assert await found.status() == {("200", PRIMARY_IP): 90, ("200", CANARY_IP): 10}
        served = [sum(found.runner.running[ip].served.values()) for ip in (CANARY_POD, "10.128.0.13")]
        assert served == [5, 5]

        empty = [endpoints("podinfo-primary", PRIMARY_POD), endpoints("podinfo-canary")]
        found.apply(split(0, 100, granularity="service"), endpoint_slices=empty)
        assert await found.ask() == 502
        assert (await found.status())["502", CANARY_IP] == 1


@BOTH
async def test_upstream_time_exists_only_where_an_upstream_was_asked(version: str) -> None:
    async with world(version, **FRESH) as found:
        found.apply(
            split(90, 10), endpoint_slices=[endpoints("podinfo-primary", PRIMARY_POD), endpoints("podinfo-canary")]
        )
        await found.load(10)
        counts = {
            (labels["type"], labels["node"]): value
            for name, labels, value in parse(await found.page())
            if name == "apisix_http_latency_count"
        }

    assert counts == {
        ("request", ""): 1, ("apisix", ""): 1,
        ("request", PRIMARY_POD): 9, ("apisix", PRIMARY_POD): 9, ("upstream", PRIMARY_POD): 9,
    }  # fmt: skip


async def test_a_configuration_comes_into_force_after_its_lag() -> None:
    async with world(lag=1.0) as found:
        began = time.monotonic()
        found.apply(split(100, 0))
        found.apply(split(0, 100))
        assert await found.ask() == 404
        async with asyncio.timeout(10):
            while (await found.status())["200", CANARY_POD] == 0:
                await found.ask()

        assert time.monotonic() - began >= 1.0


async def test_requests_and_answers_pass_unchanged() -> None:
    async with world() as found:
        found.apply(split(100, 0))
        url = f"http://127.0.0.1:{found.gateway.http_port}/api/info?a=b%2Fc"
        async with found.user.get(url, headers={"Host": "app.example.com"}) as answer:
            told = await answer.json()

        assert told["version"] == "6.0.0"
        assert [await found.ask(f"/status/{code}") for code in (201, 404, 500, 503)] == [201, 404, 500, 503]
        assert await found.ask(host="other.example.com") == 404


class Clock:
    """Time that stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def sources(found: World) -> set[str]:
    labels = [labels for name, labels, _ in parse(await found.page()) if name == "apisix_http_status"]
    return {each["response_source"] for each in labels if "response_source" in each}
