"""The gateway double where no real gateway can be asked the same: what takes a controller, a kube-proxy or several workers.

The facts that hold for both are in `tests/gateway`.
"""

import asyncio
import time
from typing import Any

import pytest

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
from tests.unit.sandbox.world import CANARY, world

BOTH = pytest.mark.parametrize("version", ["2.15.3", "3.18.0"])
FRESH: Any = {"refresh_interval": 0}  # the page's cache has tests of its own


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
async def test_a_missing_service(version: str) -> None:
    """The newer controller leaves the backend out, so the other gets all; the older one keeps what was."""
    async with world(version, **FRESH) as found:
        found.apply(split(100, 0))
        missing = route(rule("method", backend("podinfo-canary", 50), backend("nobody", 50)))
        found.apply(missing)
        await found.load(10)

        assert await found.status() == {("200", CANARY_POD if version == "3.18.0" else PRIMARY_POD): 10}


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


async def test_a_configuration_comes_into_force_after_its_lag() -> None:
    async with world(lag=0.3, **FRESH) as found:
        began = time.monotonic()
        found.apply(split(100, 0))
        found.apply(split(0, 100))
        async with asyncio.timeout(60):
            while (await found.status())["200", CANARY_POD] == 0:
                await found.ask()
        assert time.monotonic() - began >= 0.3

        found.gateway.lag = 3600.0  # and not before: no machine stands still for so long
        found.apply(split(100, 0))
        await found.load(10)
        assert (await found.status())["200", CANARY_POD] == 11


async def test_no_configuration_overtakes_another_one() -> None:
    lags = iter([0.3, 0.0])
    async with world(lag=lambda: next(lags)) as found:
        found.apply(split(0, 100))
        found.apply(split(100, 0))
        async with asyncio.timeout(60):
            while await found.ask() == 404:
                pass
        await found.load(5)
        assert (await found.status())["200", CANARY_POD] <= 1


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
