"""Another controller writes a Canary of ours in the middle of a rollout, and stops."""

import asyncio
import contextlib

from bench.scenarios.deletion import application
from bench.scenarios.scenario import Outcome, Scenario, watched
from sandbox.controlplane.api import ApiError, Json
from tests.e2e.rollouts import Rollout
from tests.e2e.short import NEW, applied, beginning, canary, phase, told
from tests.recorded.moments import statuses


async def foreign_writer(rollout: Rollout) -> Outcome:
    """What a Flagger 1.44 has written, put by a manager of its name. Right again, once the rollout goes on where it stood;
    seconds count from the last of these writes."""
    await applied(rollout, application(), canary(interval="10s", stepWeight=25, spec={"progressDeadlineSeconds": 900}))
    await rollout.initialized()
    async with watched(rollout, rate=3.0) as watch:
        await rollout.release(NEW)
        await phase(rollout, "Progressing", weight=25)
        watch.begin()
        for recorded in statuses()[3:9]:
            await _puts(rollout, recorded["status"])
            watch.cease()
            await asyncio.sleep(1)  # as often as it would, only faster
        reason = "another controller (flagger) writes this Canary"
        await told(rollout, f"Holding {rollout.name}.{rollout.namespace}: {reason}")
        held = await rollout.weights()
        assert held in ([75, 25], [50, 50])
        over = f"Resuming {rollout.name}.{rollout.namespace}: another controller (flagger) no longer writes this Canary"
        await told(rollout, over, "Normal", timeout=200)
        watch.right()
        await rollout.scene.listener.until(over, rollout.namespace)
        [resumed] = [each for each in rollout.scene.listener.of(rollout.namespace) if each["message"] == over]
        assert resumed["weight"] == held[1], "where it stood"
        ended = await rollout.over()
        await watch.more()
    assert ended["status"]["phase"] == "Succeeded"
    assert len(beginning(rollout, "Holding")) == 1
    return watch.outcome()


async def _puts(rollout: Rollout, status: Json) -> None:
    """The whole status, as typed clients do; against the version that it has read."""
    api = rollout.scene.stage.api
    while True:
        found = {**await api.get(rollout.canary), "status": status}
        with contextlib.suppress(ApiError):  # somebody was faster: as it would, once more
            await api.request("PUT", f"{rollout.canary}/status", body=found, query={"fieldManager": "flagger"})
            return


SCENARIOS = (Scenario("foreign writer", foreign_writer, seconds=240),)
