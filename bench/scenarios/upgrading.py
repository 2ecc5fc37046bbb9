"""Another version of Serinus comes in the middle of a rollout, one service after the other, or today's comes back."""

from collections.abc import Awaitable, Callable
from typing import Final

from bench.scenarios.deletion import application
from bench.scenarios.scenario import Outcome, Scenario, watched
from sandbox import installed
from tests.e2e import next_version
from tests.e2e.rollouts import Rollout
from tests.e2e.short import GATE, applied, canary

ORDER: Final = ("watcher", "analyzer", "router", "notifier")
TODAY: Final = "test"


def _changed(before: str, after: str) -> Callable[[Rollout], Awaitable[Outcome]]:
    """Right again, once all pods are of the other version and the rollout has gone on under them. It steps meanwhile, and
    isn't promoted before, however long they take."""

    async def act(rollout: Rollout) -> Outcome:
        scene = rollout.scene
        next_version.offered(scene)
        for service in ORDER:
            await installed.image(scene.plane, scene.stage, service, before)
        await applied(rollout, application(), canary(stepWeight=25, webhooks=[GATE]))
        await rollout.initialized()
        async with watched(rollout) as watch:
            await rollout.kubectl("set", "image", "deployment/podinfo", "podinfod=stefanprodan/podinfo:6.0.1")
            await rollout.reached(25)
            watch.begin()
            for service in ORDER:
                await installed.image(scene.plane, scene.stage, service, after)
            passed = await rollout.transition()
            rollout.open_gate()
            await rollout.gone_on(passed)
            watch.right()
            ended = await rollout.over()
            await watch.more()
        assert ended["status"]["phase"] == "Succeeded"
        steps = [text for text in rollout.texts() if text.startswith("Advance")]
        assert steps == [f"Advance podinfo.{rollout.namespace} canary weight {weight}" for weight in (25, 50)]
        return watch.outcome()

    return act


SCENARIOS = (
    Scenario("upgraded mid-rollout", _changed(TODAY, next_version.TAG), rough=True),
    Scenario("downgraded mid-rollout", _changed(next_version.TAG, TODAY), rough=True),
)
