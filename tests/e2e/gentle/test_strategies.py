"""Strategies beside weights on the real API server, judged by a real Prometheus: who is answered by whom, and when."""

from typing import Any

import aiohttp
import pytest

from sandbox.controlplane.api import Json
from tests.e2e.casting import EIGHTEEN_PERCENT
from tests.e2e.plays import Play, Programme, declared, play
from tests.e2e.rollouts import Rollout
from tests.e2e.short import GATE, NEW, applied, beginning, canary, phase, told

GATEWAY = "http://apisix-gateway.apisix/"
SUCCESS: Json = {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"}
MATCH: Json = {"headers": {"x-canary": {"exact": "insider"}}}


def load(name: str, arguments: str) -> Json:
    """A load test beside the first check."""
    command = f"hey -z 3m -q 10 -c 2 {arguments}"
    return {"name": name, "type": "rollout", "url": "http://flagger-loadtester.test/", "metadata": {"cmd": command}}


def through_the_gateway(rollout: Rollout, more: str = "") -> Json:
    return load("public" if not more else "testers", f"-host {rollout.namespace}.example.com {more} {GATEWAY}")


def to_the_canary(rollout: Rollout) -> Json:
    return load("own", f"http://podinfo-canary.{rollout.namespace}/")


async def begun(rollout: Rollout, image: str = NEW, **analysis: Any) -> None:
    """Initialized, and then released."""
    await applied(rollout, canary(**{"metrics": [SUCCESS], "threshold": 5, **analysis}))
    await rollout.initialized()
    await rollout.release(image)


async def version(rollout: Rollout, **headers: str) -> str:
    """Of whom the gateway asks for this client."""
    url = f"http://127.0.0.1:{rollout.scene.stage.gateway.http_port}/api/info"
    host = {"Host": f"{rollout.namespace}.example.com"}
    async with aiohttp.ClientSession() as client, client.get(url, headers=host | headers) as answer:
        return str((await answer.json())["version"])


@play
async def blue_green(rollout: Rollout) -> None:
    """W-A7: nobody is routed to it, and still it is the canary that is judged; then everybody is."""
    hooks = [to_the_canary(rollout), through_the_gateway(rollout)]
    await begun(rollout, stepWeight=None, maxWeight=None, iterations=2, webhooks=hooks)
    found = await phase(rollout, "Progressing", weight=100, timeout=120)
    assert found["status"]["iterations"] == 3
    await rollout.divided(0, 100)
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    name = f"podinfo.{rollout.namespace}"
    steps = [
        f"Advance {name} canary iteration 1/2",
        f"Advance {name} canary iteration 2/2",
        "Routing all traffic to canary",
    ]
    assert [text for text in rollout.texts() if text in steps] == steps
    assert await rollout.image() == NEW


@play
async def blue_green_broken(rollout: Rollout) -> None:
    """A canary that fails 18 % of what its load test asks never meets the public, whose primary is flawless."""
    hooks = [to_the_canary(rollout), through_the_gateway(rollout)]
    analysis: Json = {"stepWeight": None, "maxWeight": None, "iterations": 3, "threshold": 2}
    await begun(rollout, EIGHTEEN_PERCENT, webhooks=hooks, **analysis)
    assert (await rollout.over())["status"]["phase"] == "Failed"
    assert beginning(rollout, f"Halt podinfo.{rollout.namespace} advancement success rate 8")
    assert "Routing all traffic to canary" not in rollout.texts()


@play
async def blue_green_silent(rollout: Rollout) -> None:
    """Nobody asks the canary anything: no numbers, no promotion, and the reason is told."""
    analysis: Json = {"stepWeight": None, "maxWeight": None, "iterations": 2, "threshold": 2}
    await begun(rollout, webhooks=[through_the_gateway(rollout)], **analysis)
    assert (await rollout.over())["status"]["phase"] == "Failed"
    assert len(beginning(rollout, f"No numbers of podinfo.{rollout.namespace} while no traffic is routed to it")) == 1


@play
async def ab_testing(rollout: Rollout) -> None:
    """W-A2: testers get the canary, the public doesn't, and the testers' numbers judge it."""
    hooks = [through_the_gateway(rollout, "-H 'X-Canary: insider'"), through_the_gateway(rollout), GATE]
    await begun(rollout, stepWeight=None, maxWeight=None, iterations=3, match=[MATCH], webhooks=hooks)
    await told(rollout, f"Advance podinfo.{rollout.namespace} canary iteration 2/3", "Normal", timeout=120)
    assert await rollout.weights() == [100, 0]
    assert (await version(rollout), await version(rollout, **{"X-Canary": "insider"})) == ("6.0.0", "6.0.1")
    rollout.open_gate()
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    assert (await version(rollout), await version(rollout, **{"X-Canary": "insider"})) == ("6.0.1", "6.0.1")


@play
async def ab_testing_broken(rollout: Rollout) -> None:
    """Its testers' errors end it, although the public's numbers are perfect; and its testers are sent home."""
    hooks = [through_the_gateway(rollout, "-H 'X-Canary: insider'"), through_the_gateway(rollout)]
    analysis: Json = {"stepWeight": None, "maxWeight": None, "iterations": 3, "threshold": 2, "match": [MATCH]}
    await begun(rollout, EIGHTEEN_PERCENT, webhooks=hooks, **analysis)
    assert (await rollout.over())["status"]["phase"] == "Failed"
    assert await version(rollout, **{"X-Canary": "insider"}) == "6.0.0"


@play
async def mirroring(rollout: Rollout) -> None:
    """W-A3: copies judge it before the first weight, and it goes on."""
    await begun(rollout, mirror=True, webhooks=[through_the_gateway(rollout)])
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    name = f"podinfo.{rollout.namespace}"
    steps = [f"Advance {name} canary weight 0", f"Advance {name} canary weight 50"]
    assert [text for text in rollout.texts() if text in steps] == steps


@play
async def mirroring_broken(rollout: Rollout) -> None:
    """What fails on copies never fails on a client."""
    await begun(rollout, EIGHTEEN_PERCENT, mirror=True, threshold=2, webhooks=[through_the_gateway(rollout)])
    assert (await rollout.over())["status"]["phase"] == "Failed"
    assert f"Advance podinfo.{rollout.namespace} canary weight 50" not in rollout.texts()


@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_play(programme: Programme, play: Play[None]) -> None:
    await programme.of(play)
