"""Serinus comes to what serves already: a Canary for a Deployment with visitors, and itself to a cluster of such."""

import json

from bench.scenarios.deletion import OLD, application, serving
from bench.scenarios.scenario import Outcome, Scenario, Watch, watched
from sandbox import installed
from tests.e2e.rollouts import Rollout
from tests.e2e.short import canary


async def first_canary(rollout: Rollout) -> Outcome:
    """Serinus is there, and somebody writes the first Canary."""
    await serving(rollout)
    async with watched(rollout) as watch:
        watch.begin()
        await rollout.apply(documents=(canary(),))
        await _taken(rollout, watch)
    return watch.outcome()


async def deployed(rollout: Rollout) -> Outcome:
    """Canaries are applied before there is anybody to read them; then Serinus comes, to a NATS that is empty."""
    scene = rollout.scene
    await installed.remove(scene.plane, scene.runner)
    await scene.deaf()
    await scene.stage.nats.stop()
    scene.stage.nats.wipe()
    await scene.stage.nats.start()
    await serving(rollout)
    await rollout.apply(documents=(canary(),))
    async with watched(rollout) as watch:
        watch.begin()
        await installed.again(scene.plane, scene.stage)
        await scene.listen_again()
        await _taken(rollout, watch)
    return watch.outcome()


async def _taken(rollout: Rollout, watch: Watch) -> None:
    """The primary serves everybody, and the target rests."""
    await rollout.initialized()
    watch.right()
    await watch.more()
    api = rollout.scene.stage.api
    primary = await api.get(f"{rollout.target}-primary")
    assert (await rollout.image(), primary["status"]["readyReplicas"]) == (OLD, 2)
    assert await rollout.weights() == [100, 0]
    selector = await rollout.kubectl("get", "service", "podinfo", "-o", "jsonpath={.spec.selector}")
    assert json.loads(selector) == {"app": "podinfo-primary"}
    assert application()["spec"]["replicas"] == primary["spec"]["replicas"]


SCENARIOS = (Scenario("first canary", first_canary), Scenario("deployed", deployed, rough=True))
