"""Serinus itself is removed in the middle of a rollout, as docs/install.md says, and installed again."""

import asyncio

from bench.scenarios.deletion import application
from bench.scenarios.scenario import Outcome, Scenario, watched
from sandbox import installed
from tests.e2e.rollouts import Rollout
from tests.e2e.short import GATE, applied, canary

_AWAY = 15.0  # seconds, more than an interval: a step would have been due


async def removed(rollout: Rollout) -> Outcome:
    """While Serinus is away nothing moves; afterwards the rollout goes on where it stood, and every step is made once.
    However long the removal takes, it finds the rollout on its way."""
    scene = rollout.scene
    await applied(rollout, application(), canary(stepWeight=25, webhooks=[GATE]))
    await rollout.initialized()
    async with watched(rollout) as watch:
        await rollout.kubectl("set", "image", "deployment/podinfo", "podinfod=stefanprodan/podinfo:6.0.1")
        await rollout.reached(25)
        watch.begin()
        await installed.remove(scene.plane, scene.runner)
        before, weights = await scene.stage.api.get(rollout.canary), await rollout.weights()
        await asyncio.sleep(_AWAY)
        assert await scene.stage.api.get(rollout.canary) == before
        assert await rollout.weights() == weights
        await installed.again(scene.plane, scene.stage)
        rollout.open_gate()
        await rollout.over()
        watch.right()
        await watch.more()
    steps = [text for text in rollout.texts() if text.startswith("Advance")]
    assert steps == [f"Advance podinfo.{rollout.namespace} canary weight {weight}" for weight in (25, 50)]
    return watch.outcome()


SCENARIOS = (Scenario("removed mid-rollout", removed, rough=True),)
