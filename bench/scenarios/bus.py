"""The bus is killed with a canary at half of the traffic: it is held there, or rolled back without a bus."""

from collections.abc import Awaitable, Callable
from typing import Final

from bench.scenarios.deletion import application
from bench.scenarios.scenario import Outcome, Scenario, Watch, watched
from sandbox import installed
from tests.e2e.rollouts import Rollout
from tests.e2e.short import GATE, NEW, applied, canary, phase, told

AFTER: Final = 15
"""Seconds without a bus after which the policy `rollback` acts."""
_NIGHT: Final = "tests/e2e/rough/test_night.py"


async def _held(rollout: Rollout, watch: Watch) -> None:
    """Right again, once the bus is back and nobody is held any more; then it is promoted."""
    nats = rollout.scene.stage.nats
    await told(rollout, f"Holding {_name(rollout)}: cut off from the bus")
    await watch.more()
    assert await rollout.weights() == [50, 50]
    await nats.start()
    await told(rollout, f"Resuming {_name(rollout)}: no longer cut off from the bus", "Normal")
    watch.right()
    assert await rollout.weights() == [50, 50]
    await rollout.kubectl("annotate", "canary/podinfo", "serinus.dev/request=approve:1")
    assert (await rollout.over())["status"]["phase"] == "Succeeded"


async def _rolled_back(rollout: Rollout, watch: Watch) -> None:
    """Right again, once the primary serves everybody, which needs no bus."""
    await told(rollout, f"Rolling back {_name(rollout)} cut off from the bus", timeout=AFTER + 30)
    await phase(rollout, "Failed", weight=0)
    assert await rollout.weights() == [100, 0]
    watch.right()
    await watch.more()
    await rollout.scene.stage.nats.start()
    assert (await rollout.over())["status"]["phase"] == "Failed"


def _lost(*settings: str, then: Callable[[Rollout, Watch], Awaitable[None]]) -> Callable[[Rollout], Awaitable[Outcome]]:
    async def act(rollout: Rollout) -> Outcome:
        await _set(rollout, *settings)
        await applied(rollout, application(), canary(webhooks=[GATE]))
        await rollout.initialized()
        async with watched(rollout) as watch:
            await rollout.release(NEW)
            await phase(rollout, "WaitingPromotion", weight=50)
            watch.begin()
            rollout.scene.stage.nats.kill()
            await then(rollout, watch)
            await watch.more()
        await _set(rollout, *(f"{each.partition('=')[0]}-" for each in settings))
        return watch.outcome()

    return act


async def _set(rollout: Rollout, *settings: str) -> None:
    """Of the router; a name with a minus behind it takes the setting off again."""
    if not settings:
        return
    scene = rollout.scene
    await scene.plane.kubectl("-n", installed.NAMESPACE, "set", "env", "deployment/serinus-router", *settings)
    await installed.running(scene.stage)


def _name(rollout: Rollout) -> str:
    return f"{rollout.name}.{rollout.namespace}"


_ROLLBACK: Final = ("SERINUS_BUS_LOST_POLICY=rollback", f"SERINUS_BUS_LOST_AFTER={AFTER}")
SCENARIOS = (
    Scenario("bus lost, policy hold", _lost(then=_held), rough=True, tested=_NIGHT),
    Scenario("bus lost, policy rollback", _lost(*_ROLLBACK, then=_rolled_back), rough=True, tested=_NIGHT),
)
