"""Canaries that release without end while something else happens, and what must be true of them afterwards."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from sandbox.scene import Scene
from tests.e2e.rollouts import Rollout, analysis, looking_back

GOOD: Final = "stefanprodan/podinfo:6.0.{}"
BAD: Final = "stefanprodan/podinfo:6.9.{}"
STEPS: Final = (10, 20, 30)

BEHAVIOURS: Final = {BAD.format(number): Behaviour(fail_ratio=0.5) for number in range(60)}
"""For the scene's options."""


@dataclass(slots=True)
class Releases:
    """One canary in each namespace; every third of its releases is a bad one."""

    scene: Scene
    namespaces: tuple[str, ...]
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _going: list[asyncio.Task[list[tuple[str, Json]]]] = field(default_factory=list)

    @property
    def rollouts(self) -> list[Rollout]:
        return [Rollout(self.scene, namespace) for namespace in self.namespaces]

    async def begin(self) -> None:
        """Answers when all are initialized and have visitors."""
        await asyncio.gather(*(_prepared(rollout) for rollout in self.rollouts))
        self._going = [asyncio.create_task(self._one(rollout)) for rollout in self.rollouts]

    async def _one(self, rollout: Rollout) -> list[tuple[str, Json]]:
        ended, number = [], 0
        while not self._stop.is_set():
            number += 1
            bad = number % 3 == 0
            await rollout.allow(3 if bad else 1000)
            image = (BAD if bad else GOOD).format(number)
            await rollout.release(image)
            ended.append((image, await rollout.over(heard=False)))
        return ended

    async def go_on(self, seconds: float) -> None:
        """Let them; raises what went wrong with one of them."""
        await asyncio.sleep(seconds)
        for task in self._going:
            if task.done():
                task.result()

    async def end(self) -> None:
        """Each release has come to the right end, and everything was told once."""
        self._stop.set()
        for rollout, ended in zip(self.rollouts, await asyncio.gather(*self._going), strict=True):
            wrong = [
                f"{image} ended {canary['status']['phase']}"
                for image, canary in ended
                if canary["status"]["phase"] != ("Failed" if ":6.9." in image else "Succeeded")
            ]
            assert wrong == [], f"{wrong}; {rollout.texts()}"
            assert await rollout.weights() == [100, 0]
            await everything_was_told_once(rollout)
            print(f"{rollout.namespace}: {len(ended)} releases")

    async def closed(self) -> None:
        """End what is still going on."""
        for task in self._going:
            task.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)

    def given_up(self) -> list[str]:
        return given_up(self.scene)


def given_up(scene: Scene) -> list[str]:
    """What became a dead letter, or failed with a stack."""
    bad = ("given up", "the handler failed")
    services = ("watcher", "analyzer", "router", "notifier")
    lines = [line["msg"] for service in services for line in scene.log(service)]
    return [line for line in lines if line.startswith(bad)]


async def _prepared(rollout: Rollout) -> None:
    def edit(canary: Json) -> None:
        analysis(canary, interval="5s", maxWeight=STEPS[-1], threshold=3, webhooks=[])
        looking_back(canary, 20)

    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply("deployment", "route", "canary", edit=edit)
    await rollout.initialized()
    load = f"hey -z 20m -q 5 -c 1 -host {rollout.namespace}.example.com http://apisix-gateway.apisix/api/info"
    await rollout.visited(load)


async def everything_was_told_once(rollout: Rollout, steps: tuple[int, ...] = STEPS) -> None:
    """On the public stream in order, with these steps for each revision, and as Kubernetes Events."""
    scene = rollout.scene
    last = (await scene.stage.api.get(rollout.canary))["status"]["serinus"]["seq"]
    events = await scene.listener.all(last, rollout.namespace)
    assert [event["seq"] for event in events] == list(range(1, last + 1)), "none is lost, none is doubled"
    weights: list[int] = []
    for event in events:
        if event["type"] in ("revision-detected", "restarted"):
            weights = []
        if event["type"] == "advanced" and "canary weight" in event["message"]:
            weights.append(event["weight"])
            assert tuple(weights) == steps[: len(weights)], event
    assert all(before["at"] <= after["at"] for before, after in pairwise(events))

    def counted(found: Json) -> Counter[str]:
        return Counter({
            each["message"]: each["count"] for each in found["items"] if each["involvedObject"]["kind"] == "Canary"
        })  # fmt: skip

    path = f"/api/v1/namespaces/{rollout.namespace}/events"
    found = await scene.stage.api.until(path, lambda found: counted(found).total() >= last)
    assert counted(found) == Counter(event["message"] for event in events)
