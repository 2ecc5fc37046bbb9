"""What clients meet while a rollout goes on, at gateways that aren't the guide's."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from sandbox.controlplane import pods
from sandbox.controlplane.api import Json
from sandbox.traffic import Traffic
from tests.e2e import casting
from tests.e2e.plays import Play, Programme, declared, lasting
from tests.e2e.rollouts import Rollout
from tests.e2e.short import GATE, HALT, NEW, applied, canary, deployment, hook, phase

RATE = 20.0
ENDS = casting.LATEST + 10
"""Beside the gateway's lag, the news that a pod ends takes its way through a busy control plane."""
NEWER = "stefanprodan/podinfo:6.0.9"
SUCCESS: Json = {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"}


@dataclass(frozen=True, slots=True)
class Door:
    """One of the scene's gateways, by its name."""

    http_port: int


def door(rollout: Rollout, host: str) -> Door:
    found = rollout.scene.stage.network.resolve(host, 80)
    assert found is not None
    return Door(found)


def outliving(seconds: float) -> Json:
    """Two replicas that go on for so long once their end has begun, as a preStop hook has them do, and then are gone."""
    found = deployment()
    found["spec"]["replicas"] = 2
    found["spec"]["template"]["metadata"]["annotations"][pods.ENDS_AFTER] = str(seconds)
    found["spec"]["strategy"]["rollingUpdate"] = {"maxUnavailable": 0, "maxSurge": 1}
    return found


@lasting(150)
async def a_late_gateway(rollout: Rollout) -> None:
    """A promotion, and a rollback from a quarter of the traffic: nobody meets a pod that is gone."""
    rollout.open_gate()
    steps: Json = {"stepWeight": 25, "maxWeight": 25, "threshold": 10}
    await applied(rollout, outliving(ENDS), canary(**steps, metrics=[SUCCESS], webhooks=[GATE]))
    await rollout.initialized()
    host = f"{rollout.namespace}.example.com"
    async with Traffic(door(rollout, casting.LATE), host, rate=RATE) as traffic:
        await traffic.more(int(RATE * 2 * casting.LATEST))  # until then it may not know of the primary
        began = time.monotonic()
        await rollout.release(NEW)
        assert (await rollout.over())["status"]["phase"] == "Succeeded"
        rollout.close_gate()  # or it is promoted while visitors are waited for
        await rollout.release(NEWER)
        await rollout.reached(25)
        await traffic.more(int(RATE * casting.LATEST))
        await rollout.kubectl("annotate", "canary/podinfo", "serinus.dev/request=abort")
        assert (await rollout.over())["status"]["phase"] == "Failed"
        await traffic.more(int(RATE * (ENDS + casting.LATEST)))
    answers = traffic.since(began)
    assert [answer for answer in answers if answer.failed] == []
    assert len(answers) >= 500


@lasting(90)
async def session_affinity(rollout: Rollout) -> None:
    """W-A22: at a gateway before 3.0, with its way to set a cookie, and at a newer one."""
    affinity = {"cookieName": "side", "maxAge": 600}
    hooks = [hook("confirm-promotion", HALT)]
    await applied(rollout, canary(sessionAffinity=affinity, webhooks=hooks))
    await rollout.initialized()
    await rollout.release(NEW)
    found = await phase(rollout, "WaitingPromotion", weight=50)
    given = found["status"]["sessionAffinityCookie"]
    doors = [door(rollout, host) for host in ("apisix-gateway.apisix", casting.CACHING)]
    for each in doors:
        visits = await visited(rollout, each, {})
        assert {cookie.partition("; ")[0] for version, cookie in visits if version == "6.0.1"} == {given}
        assert {cookie for version, cookie in visits if version == "6.0.0"} == {""}
        assert {version for version, _ in await visited(rollout, each, {"Cookie": f"a=b; {given}"})} == {"6.0.1"}
    await rollout.kubectl("annotate", "canary/podinfo", "serinus.dev/request=abort")
    assert (await rollout.over())["status"]["phase"] == "Failed"
    for each in doors:
        [(version, cookie)] = set(await visited(rollout, each, {"Cookie": given}))
        assert version == "6.0.0"
        assert {"side=deleted", "Max-Age=0"} <= set(cookie.split("; "))
        assert {cookie for _, cookie in await visited(rollout, each, {})} == {""}


async def visited(rollout: Rollout, where: Door, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Who answered each of ten visits, by version, and the cookie that it set."""
    url, found = f"http://127.0.0.1:{where.http_port}/api/info", []
    named = {"Host": f"{rollout.namespace}.example.com", **headers}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), headers=named) as client:
        for _ in range(10):
            async with client.get(url) as answer:
                body: dict[str, Any] = await answer.json()
                found.append((str(body["version"]), answer.headers.get("Set-Cookie", "")))
    return found


@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_clients(programme: Programme, play: Play[None]) -> None:
    await programme.of(play)
