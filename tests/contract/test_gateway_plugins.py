"""Plugins of the gateway double against what was measured: cookies of session affinity, conditions, and copies."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from sandbox.controlplane.api import Json
from tests.unit.sandbox.objects import CANARY_POD, PRIMARY_POD, backend, route, rule, split
from tests.unit.sandbox.world import World, world

BOTH = pytest.mark.parametrize("version", ["2.15.3", "3.18.0"])
FRESH: Any = {"refresh_interval": 0}
PATH = "/api/info"


def rewriting(**config: Any) -> Json:
    return {"name": "response-rewrite", "enable": True, "config": config}


def mirroring(**config: Any) -> Json:
    host = "http://podinfo-canary.test.svc.cluster.local:80"
    return {"name": "proxy-mirror", "enable": True, "config": {"host": host, **config}}


def sticky(version: str) -> Json:
    """The recipe of session affinity; before 3.0 no header can be added."""
    cookie = "flagger-cookie=kQxZp; Path=/; Max-Age=3600"
    headers: Json = {"add": [f"Set-Cookie: {cookie}"]} if version != "2.15.3" else {"Set-Cookie": cookie}
    found = split(80, 20)
    [weighted] = found["spec"]["http"]
    weighted["plugins"] = [rewriting(vars=[["balancer_ip", "in", [CANARY_POD]]], headers=headers)]
    held = {"subject": {"scope": "Cookie", "name": "flagger-cookie"}, "op": "Equal", "value": "kQxZp"}
    above = rule("sticky", backend("podinfo-canary"), priority=10001)
    above["match"] = {**weighted["match"], "exprs": [held]}
    found["spec"]["http"].append(above)
    return found


async def answers(found: World, number: int, **headers: str) -> Counter[tuple[bool, bool]]:
    """(was it the canary, did it give the cookie) of so many requests."""
    seen: Counter[tuple[bool, bool]] = Counter()
    for _ in range(number):
        url = f"http://127.0.0.1:{found.gateway.http_port}{PATH}"
        async with found.user.get(url, headers={"Host": "app.example.com", **headers}) as answer:
            body = await answer.json()
            seen[body["version"] == "6.0.1", "flagger-cookie=kQxZp" in answer.headers.get("Set-Cookie", "")] += 1
    return seen


@BOTH
async def test_the_canarys_answers_set_the_cookie_and_no_others(version: str) -> None:
    async with world(version, **FRESH) as found:
        found.apply(sticky(version))
        assert await answers(found, 100) == {(True, True): 20, (False, False): 80}
        assert await answers(found, 20, Cookie="flagger-cookie=kQxZp") == {(True, False): 20}


@pytest.mark.parametrize("entry", ["Set-Cookie: a=b; Path=/", "Set-Cookie: a=b; Domain=x:y"])
async def test_a_header_that_the_schema_refuses_keeps_the_whole_route_out(entry: str) -> None:
    async with world("3.18.0", **FRESH) as found:
        broken = split(50, 50)
        broken["spec"]["http"][0]["plugins"] = [rewriting(headers={"add": [entry]})]
        found.apply(broken)
        assert await found.ask() == 404


async def test_before_3_0_no_header_can_be_added() -> None:
    async with world("2.15.3") as found:
        broken = split(50, 50)
        broken["spec"]["http"][0]["plugins"] = [rewriting(headers={"add": ["Set-Cookie: a=b"]})]
        found.apply(broken)
        assert await found.ask() == 404


@BOTH
async def test_copies_reach_the_canary_and_answers_are_the_primarys(version: str) -> None:
    """No metric counts a copy."""
    async with world(version, **FRESH) as found:
        mirrored = rule("method", backend("podinfo-primary"))
        mirrored["plugins"] = [*mirrored.get("plugins", []), mirroring()]
        found.apply(route(mirrored))
        assert await answers(found, 10) == {(False, False): 10}
        async with asyncio.timeout(5):
            while found.runner.running[CANARY_POD].served != {200: 10}:
                await asyncio.sleep(0)
        assert await found.status() == {("200", PRIMARY_POD): 10}
        await found.kill(CANARY_POD)
        assert await found.load(5) == {200: 5}, "a dead canary hurts nobody"


async def test_a_share_of_the_requests_is_copied() -> None:
    draws = iter([0.1, 0.6, 0.4, 0.9])
    async with world(chance=lambda: next(draws)) as found:
        mirrored = rule("method", backend("podinfo-primary"))
        mirrored["plugins"] = [mirroring(sample_ratio=0.5)]
        found.apply(route(mirrored))
        await found.load(4)
        async with asyncio.timeout(5):
            while found.runner.running[CANARY_POD].served != {200: 2}:
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    "config", [{"host": "http://podinfo-canary.test/path"}, {"sample_ratio": 2}, {"host": "canary"}]
)
async def test_a_mirror_that_the_schema_refuses_keeps_the_whole_route_out(config: Json) -> None:
    async with world() as found:
        broken = rule("method", backend("podinfo-primary"))
        broken["plugins"] = [mirroring(**config)]
        found.apply(route(broken))
        assert await found.ask() == 404
