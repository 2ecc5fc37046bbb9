"""Another version of Serinus comes in the middle of a rollout, one service after the other, or today's comes back."""

from collections.abc import Awaitable, Callable
from typing import Final

from bench.scenarios.deletion import application
from bench.scenarios.scenario import Outcome, Scenario, watched
from sandbox import installed
from sandbox.controlplane.api import Json
from tests.e2e import next_version
from tests.e2e.rollouts import Rollout
from tests.e2e.short import SETTINGS, applied, canary, phase

ORDER: Final = ("watcher", "analyzer", "router", "notifier")
TODAY: Final = "test"


def _changed(before: str, after: str) -> Callable[[Rollout], Awaitable[Outcome]]:
    """Right again, once all pods are of the other version and the rollout has gone on under them."""

    async def act(rollout: Rollout) -> Outcome:
        scene = rollout.scene
        scene.runner.images[f"serinus:{next_version.TAG}"] = next_version.grown(scene.stage.directory / "next")
        for service in ORDER:
            await installed.image(scene.plane, scene.stage, service, before)
        await applied(rollout, application(), canary(stepWeight=25))
        await rollout.initialized()
        async with watched(rollout) as watch:
            await rollout.kubectl("set", "image", "deployment/podinfo", "podinfod=stefanprodan/podinfo:6.0.1")
            await phase(rollout, "Progressing", weight=25)
            watch.begin()
            for service in ORDER:
                await installed.image(scene.plane, scene.stage, service, after)
            passed = _transition(await scene.stage.api.get(rollout.canary))
            await scene.stage.api.until(rollout.canary, lambda found: _transition(found) > passed, timeout=90)
            watch.right()
            ended = await rollout.over()
            await watch.traffic.more(20)
        assert ended["status"]["phase"] == "Succeeded"
        steps = [text for text in rollout.texts() if text.startswith("Advance")]
        assert steps == [f"Advance podinfo.{rollout.namespace} canary weight {weight}" for weight in (25, 50)]
        return watch.outcome()

    return act


def _transition(found: Json) -> int:
    return int(found["status"]["serinus"]["transition"])


SCENARIOS = (
    Scenario("upgraded mid-rollout", _changed(TODAY, next_version.TAG), rough=True, settings=SETTINGS),
    Scenario("downgraded mid-rollout", _changed(next_version.TAG, TODAY), rough=True, settings=SETTINGS),
)
