"""What is measured on both sides at once, with the same manifests and the same load: cost at rest, cost of a step,
how soon a new revision is seen, how long a rollout takes."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.flagger.guide import Play, manifest
from bench.flagger.sides import Arena, Side
from sandbox.controlplane.api import Json

GOOD: Final = "stefanprodan/podinfo:6.0.1"
_LOAD: Final = "hey -z 1m -q 5 -c 1 -host app.example.com http://apisix-gateway.apisix/api/info"
_STEPS: Final = 3
_REST_OF_A_STEP: Final = 1.5
"""Seconds in which what belongs to a step is written: route, status, event."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A minute of one canary at rest, and what all processes used."""

    requests: float
    memory: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """Seconds from the patch of the image: until the canary was scaled up, and until it was promoted and scaled down."""

    seen: float
    over: float


async def created(side: Side, names: Sequence[str]) -> None:
    """The guide's canary under these names, at rest when this returns."""
    canary = manifest("canary")
    canary["spec"]["analysis"]["webhooks"][0]["metadata"]["cmd"] = _LOAD
    for name in names:
        await side.play(name).apply(manifest("deployment"), manifest("route"), canary)
    for name in names:
        await rested(side, name)


async def rested(side: Side, name: str, timeout: float = 180.0) -> float:
    """When the canary had come to its end and its target to zero."""
    await side.canaries.until(name, at_rest, timeout)
    return await side.deployments.until(name, lambda found: not found["spec"]["replicas"], timeout)


def at_rest(canary: Json) -> bool:
    """No phase that goes on."""
    return (canary.get("status") or {}).get("phase") in {"Initialized", "Succeeded", "Failed"}


async def rest(arena: Arena, canaries: int, seconds: float) -> dict[str, Rest]:
    """Nothing happens for a while; what does each side do meanwhile?"""
    since, before = len(arena.world.plane.audit()), {side.name: side.cpu() for side in arena.sides}
    await asyncio.sleep(seconds)  # the time is what is measured
    minutes = canaries * seconds / 60
    return {
        side.name: Rest(
            requests=side.requests(since).total() / minutes,
            memory=side.memory(),
            cpu=(side.cpu() - before[side.name]) / seconds,
        )
        for side in arena.sides
    }


async def step(arena: Arena) -> dict[str, Counter[str]]:
    """What three steps cost in requests, on each side in turn, while its canary is the only one there."""
    found = {}
    for side in arena.sides:
        await created(side, ["single"])
        await side.play("single").release(GOOD)
        await side.canaries.until("single", _weight(20), 120)
        await asyncio.sleep(_REST_OF_A_STEP)
        since = len(arena.world.plane.audit())
        await side.canaries.until("single", _weight(20 + 10 * _STEPS), 120)
        await asyncio.sleep(_REST_OF_A_STEP)
        found[side.name] = side.requests(since)
        await rested(side, "single")
    return found


def a_step(requests: "Counter[str]") -> float:
    """How many requests one step took."""
    return requests.total() / _STEPS


def _weight(wanted: int) -> Callable[[Json], bool]:
    return lambda canary: bool((canary.get("status") or {}).get("canaryWeight") == wanted)


async def rollouts(arena: Arena, names: Sequence[str], image: str, stagger: float) -> dict[str, list[Rollout]]:
    """All canaries get a new image, one a while after the other, on both sides in the same moment."""
    found: dict[str, list[Rollout]] = {side.name: [] for side in arena.sides}

    async def one(side: Side, name: str, index: int) -> None:
        await asyncio.sleep(index * stagger)
        found[side.name].append(await _rollout(side, side.play(name), image))

    async with asyncio.TaskGroup() as group:
        for index, name in enumerate(names):
            for side in arena.sides:
                group.create_task(one(side, name, index))
    return found


async def _rollout(side: Side, play: Play, image: str) -> Rollout:
    began = time.monotonic()
    await play.release(image)
    seen = await side.deployments.until(play.name, lambda found: bool(found["spec"]["replicas"]), 90)
    await side.canaries.until(play.name, lambda found: not at_rest(found), 60)
    over = await rested(side, play.name, 400)
    phase = side.canaries.objects[play.name]["status"]["phase"]
    if phase != "Succeeded":
        raise RuntimeError(f"{play.name} of {side.name} ended as {phase}")
    return Rollout(seen - began, over - began)
