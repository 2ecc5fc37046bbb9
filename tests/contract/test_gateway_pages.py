"""The metrics page against pages captured from real data planes.

Those came from 400 requests at 90/10 to two upstreams, the lighter of which failed now and then. The same is played
here, and every series and label must come out the same, in the same order; of the values, those that aren't times.
"""

import asyncio
from pathlib import Path

import pytest

from sandbox.application import Behaviour
from tests.unit.sandbox.objects import endpoints, split
from tests.unit.sandbox.world import CANARY, PRIMARY, World, parse, world

CAPTURED = Path(__file__).parent / "gateway_pages"
PRIMARY_NODE, CANARY_NODE = "127.0.0.11", "127.0.0.12"
NODES = {PRIMARY_NODE: PRIMARY, CANARY_NODE: CANARY}


def series(page: str, *, without: str = "nothing") -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Names and labels in their order; the name of the machine is its own."""
    found = []
    for name, labels, _ in parse(page):
        if without not in name:
            found.append((name, tuple((key, "" if key == "hostname" else value) for key, value in labels.items())))
    return found


def counted(page: str) -> list[tuple[dict[str, str], float]]:
    return [(labels, value) for name, labels, value in parse(page) if name == "apisix_http_status"]


async def play(found: World, weights: tuple[int, int] = (90, 10), requests: int = 400) -> None:
    found.gateway.apply(
        [split(*weights)],
        *([{"metadata": {"name": name, "namespace": "test"}, "spec": {"clusterIP": "", "ports": [{"name": "http", "port": 80}]}}
           for name in ("podinfo-primary", "podinfo-canary")],
          [endpoints("podinfo-primary", PRIMARY_NODE), endpoints("podinfo-canary", CANARY_NODE)]),
    )  # fmt: skip
    await found.load(requests)


@pytest.mark.parametrize(("version", "failures", "removed"), [("3.18.0", 7, "nothing"), ("2.15.3", 6, "_bucket")])
async def test_the_page_is_the_captured_one(version: str, failures: int, removed: str) -> None:
    captured = (CAPTURED / f"{version}.txt").read_text()
    behaviours = {CANARY: Behaviour(fail_ratio=failures / 40)}
    still = {
        "refresh_interval": 0,
        "monotonic": lambda: 0.0,
    }  # a slow machine leaves the buckets of quick answers empty
    async with world(version, behaviours=behaviours, pods=NODES, **still) as found:
        await play(found)
        page = await found.page()

    assert series(page, without=removed) == series(captured)
    assert counted(page) == counted(captured)
    comments = [line for line in page.splitlines() if line.startswith("#")]
    assert comments == [line for line in captured.splitlines() if line.startswith("#")]


async def test_labels_came_with_versions() -> None:
    labels = {}
    for version in ("2.15.3", "3.13.0", "3.14.0", "3.16.1", "3.17.0"):
        async with world(version, pods=NODES, refresh_interval=0) as found:
            await play(found, requests=1)
            labels[version] = list(counted(await found.page())[0][0])

    seven = ["code", "route", "matched_uri", "matched_host", "service", "consumer", "node"]
    llm = [*seven, "request_type", "request_llm_model", "llm_model"]
    assert labels == {
        "2.15.3": seven, "3.13.0": seven, "3.14.0": llm, "3.16.1": llm, "3.17.0": [*llm, "response_source"]
    }  # fmt: skip


async def test_the_page_is_fresh_before_3_14_and_cached_since() -> None:
    for version, interval in (("2.15.3", 0.0), ("3.13.0", 0.0), ("3.14.0", 15.0), ("3.18.0", 15.0)):
        async with world(version, pods=NODES) as found:
            assert found.gateway.dialect.refresh_interval == interval
            await play(found, requests=3)
            assert len(counted(await found.page())) == (0 if interval else 1), version


async def test_a_cached_page_comes_up_to_date_by_itself() -> None:
    async with world("3.18.0", pods=NODES, refresh_interval=0.05) as found:
        await play(found, requests=3)
        async with asyncio.timeout(30):
            while sum(value for _, value in counted(await found.page())) != 3:
                await asyncio.sleep(0.02)


async def test_the_node_label_can_be_disabled() -> None:
    async with world("3.18.0", refresh_interval=0) as found:
        found.gateway.meter.node_label = False
        found.apply(split(90, 10))
        await found.load(10)

        assert await found.status() == {("200", ""): 10}
