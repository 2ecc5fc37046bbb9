"""What plugins do to requests and answers: cookies of session affinity, and copies."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from sandbox.controlplane.api import Json
from tests.gateway.stage import CANARY_POD, PRIMARY_POD, Stage
from tests.unit.sandbox.objects import backend, rule

MEASURED = {"name": "prometheus", "enable": True, "config": {"prefer_name": True}}


def rewriting(**config: Any) -> Json:
    return {"name": "response-rewrite", "enable": True, "config": config}


def mirroring(**config: Any) -> Json:
    return {"name": "proxy-mirror", "enable": True, "config": {"host": f"http://{CANARY_POD}:9898", **config}}


async def answers(stage: Stage, number: int, **headers: str) -> Counter[tuple[str, bool]]:
    """(version, did it give the cookie) of so many requests."""
    found = [await stage.ask(**headers) for _ in range(number)]
    return Counter((each.version, "kQxZp" in each.headers.get("Set-Cookie", "")) for each in found)


async def test_the_canarys_answers_set_the_cookie_and_no_others(stage: Stage) -> None:
    """Before 3.0 no header can be added, only replaced."""
    cookie = "flagger-cookie=kQxZp; Path=/; Max-Age=3600"
    headers: Json = {"add": [f"Set-Cookie: {cookie}"]} if stage.dialect.added_headers else {"Set-Cookie": cookie}
    giving = rewriting(vars=[["balancer_ip", "in", [CANARY_POD]]], headers=headers)
    backends = backend("podinfo-primary", 80), backend("podinfo-canary", 20)
    held = {"subject": {"scope": "Cookie", "name": "flagger-cookie"}, "op": "Equal", "value": "kQxZp"}
    await stage.apply(
        rule("sticky", backend("podinfo-canary"), match={"exprs": [held]}, priority=10001),
        rule("method", *backends, priority=10000, plugins=[MEASURED, giving]),
    )
    assert await answers(stage, 100) == {("6.0.1", True): 20, ("6.0.0", False): 80}
    assert await answers(stage, 20, Cookie="flagger-cookie=kQxZp") == {("6.0.1", False): 20}


@pytest.mark.parametrize("entry", ["Set-Cookie: a=b; Path=/", "Set-Cookie: a=b; Domain=x:y"])
async def test_a_header_that_cant_be_added_keeps_the_whole_rule_out(stage: Stage, entry: str) -> None:
    """Older versions can't add any."""
    broken = rule("method", backend("podinfo-primary"), plugins=[rewriting(headers={"add": [entry]})])
    await stage.apply(broken)
    assert (await stage.ask()).status == 404


async def test_copies_reach_the_canary_and_answers_are_the_primarys(stage: Stage) -> None:
    """No metric counts a copy, and a dead canary hurts nobody."""
    await stage.apply(rule("method", backend("podinfo-primary"), plugins=[MEASURED, mirroring()]))
    assert await answers(stage, 10) == {("6.0.0", False): 10}
    async with asyncio.timeout(5):
        while stage.runner.running[CANARY_POD].served != {200: 10}:
            await asyncio.sleep(0.01)
    await stage.kill(CANARY_POD)
    assert await stage.load(5) == {200: 5}
    await stage.counted({("200", PRIMARY_POD): 15})


async def test_a_share_of_the_requests_is_copied(stage: Stage) -> None:
    """By chance for each: of 100 at a half, hardly ever fewer than 25 or more than 75."""
    await stage.apply(rule("method", backend("podinfo-primary"), plugins=[MEASURED, mirroring(sample_ratio=0.5)]))
    await stage.load(100)
    await stage.counted({("200", PRIMARY_POD): 100})
    assert 25 <= stage.runner.running[CANARY_POD].served.get(200, 0) <= 75


@pytest.mark.parametrize("config", [{"host": "http://canary.test/path"}, {"sample_ratio": 2}, {"host": "canary"}])
async def test_a_mirror_that_the_schema_refuses_keeps_the_whole_rule_out(stage: Stage, config: Json) -> None:
    await stage.apply(rule("method", backend("podinfo-primary"), plugins=[mirroring(**config)]))
    assert (await stage.ask()).status == 404
