"""Three releases that Flagger judges wrongly on APISIX, played on both sides at once; what came of each."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bench.flagger import measures
from bench.flagger.guide import Play, manifest, visited
from bench.flagger.sides import Arena, Side
from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from sandbox.loadtester import LoadTester

FAILING: Final = "stefanprodan/podinfo:6.3.0"
BEHAVIOURS: Final = {FAILING: Behaviour(fail_ratio=0.18)}
PATIENCE: Final = 150.0
"""Seconds after which a rollout that goes in circles is left."""
_VISITORS: Final = "hey -z 10m -q 10 -c 1 -host {} http://apisix-gateway.apisix/api/info"
_SUCCESS: Final = {"name": "request-success-rate", "thresholdRange": {"min": 95}, "interval": "1m"}


async def failing(side: Side, play: Play) -> str:
    """A revision that fails 18 % of its own requests, where 95 % shall succeed (W-A6)."""
    await play.release(FAILING)
    await _left(side, play)
    await _over(side, play)
    return _ended(side, play)


async def integer(side: Side, play: Play) -> str:
    """A good revision behind a route with an integer in a plugin's configuration (W-A1)."""
    await play.release(measures.GOOD)
    await _left(side, play)
    await _over(side, play)
    return _ended(side, play)


async def edited(side: Side, play: Play) -> str:
    """Somebody edits the source route while the canary has 20 % (W-A4)."""
    await play.release(measures.GOOD)
    generated = play.route.rpartition("/")[2]
    await side.canaries.until(play.name, _has(20), 120)
    await side.routes.until(generated, lambda route: _share(route) == 20, 30)
    rule = (await side.api.get(play.source))["spec"]["http"][0]
    rule["match"]["methods"] = ["GET", "HEAD"]
    await side.api.patch(play.source, {"spec": {"http": [rule]}})
    least = 100

    def followed(route: Json) -> bool:
        nonlocal least
        least = min(least, _share(route))
        return "HEAD" in route["spec"]["http"][0]["match"]["methods"]

    await side.routes.until(generated, followed, 60)
    return f"the canary's share after the edit: {least} %"


Scenario = Callable[[Side, Play], Awaitable[str]]
SCENARIOS: Final[dict[str, tuple[Scenario, str]]] = {
    "failing": (failing, "revision that fails 18 % of its own requests, 95 % wanted"),
    "integer": (integer, "good revision, an integer in a plugin of its route"),
    "edited": (edited, "source route edited while the canary has 20 %"),
}


async def judged(arena: Arena) -> dict[str, dict[str, str]]:
    """By scenario, by side: what came of it."""
    found: dict[str, dict[str, str]] = {name: {} for name in SCENARIOS}

    async def one(side: Side, name: str) -> None:
        play = side.play(name)
        await _prepared(arena.world.stage.loadtester, side, play)
        found[name][side.name] = await SCENARIOS[name][0](side, play)

    async with asyncio.TaskGroup() as group:
        for side in arena.sides:
            for name in SCENARIOS:
                group.create_task(one(side, name))
    return found


async def _prepared(loadtester: LoadTester, side: Side, play: Play) -> None:
    """The guide, two steps only, three failures are enough, visitors from outside."""
    route, canary = manifest("route"), manifest("canary")
    canary["spec"]["analysis"].update(maxWeight=20, threshold=3, metrics=[_SUCCESS], webhooks=[])
    if play.name == "integer":
        limit = {"count": 100000, "time_window": 60, "rejected_code": 503, "key_type": "var", "key": "remote_addr"}
        route["spec"]["http"][0]["plugins"].append({"name": "limit-count", "enable": True, "config": limit})
    if play.name == "edited":
        canary["spec"]["analysis"].update(maxWeight=50)
    await play.apply(manifest("deployment"), route, canary)
    await measures.rested(side, play.name)
    await visited(loadtester, _VISITORS.format(play.host))


async def _left(side: Side, play: Play) -> None:
    await side.canaries.until(play.name, lambda found: not measures.at_rest(found), 60)


async def _over(side: Side, play: Play) -> None:
    """Or given up."""
    try:
        await side.canaries.until(play.name, measures.at_rest, PATIENCE)
    except TimeoutError:
        return


def _ended(side: Side, play: Play) -> str:
    status = side.canaries.objects[play.name]["status"]
    if measures.at_rest(side.canaries.objects[play.name]):
        return {"Succeeded": "promoted", "Failed": "rolled back"}[status["phase"]]
    return f"in circles: after {PATIENCE:.0f} s still {status['phase']}, weight {status.get('canaryWeight', 0)}"


def _share(route: Json) -> int:
    return int(route["spec"]["http"][0]["backends"][1]["weight"])


def _has(weight: int) -> Callable[[Json], bool]:
    return lambda canary: bool((canary.get("status") or {}).get("canaryWeight") == weight)
