"""Each service is updated and set back in each mix of the others' versions, while canaries release one thing after the other.

Every order of updates, and of going back, consists of these changes.
"""

import asyncio
from typing import Final

from bench.scenarios.deletion import application
from bench.scenarios.mixes import each_change
from bench.scenarios.scenario import Outcome, Scenario, Watch, watched
from bench.scenarios.upgrading import ORDER, TODAY
from sandbox import installed
from tests.e2e import next_version
from tests.e2e.continuous import everything_was_told_once, given_up
from tests.e2e.rollouts import Rollout
from tests.e2e.short import applied, canary

_STEPS: Final = (25, 50)


async def in_every_order(rollout: Rollout) -> Outcome:
    """Right again, once the rollouts have gone on after the last change."""
    both = (rollout, Rollout(rollout.scene, f"{rollout.namespace}-too"))
    next_version.offered(rollout.scene)
    await asyncio.gather(*(_prepared(each) for each in both))
    walked = asyncio.Event()
    async with watched(*both) as watch:
        async with asyncio.TaskGroup() as group:
            for each in both:
                group.create_task(_releases(each, walked))
            watch.begin()
            await _walk(both, watch)
            walked.set()
        await watch.more()
    for each in both:
        await each.over()
        await everything_was_told_once(each, _STEPS)
    assert given_up(rollout.scene) == []
    return watch.outcome()


async def _prepared(rollout: Rollout) -> None:
    await applied(rollout, application(), canary(stepWeight=_STEPS[0]))
    await rollout.initialized()


async def _releases(rollout: Rollout, walked: asyncio.Event) -> None:
    """One good revision after the other."""
    number = 0
    while not walked.is_set():
        number += 1
        await rollout.release(f"stefanprodan/podinfo:6.5.{number}")
        ended = await rollout.over(heard=False)
        assert ended["status"]["phase"] == "Succeeded", rollout.texts()


async def _walk(rollouts: tuple[Rollout, ...], watch: Watch) -> None:
    scene, newer = rollouts[0].scene, set[str]()
    for service in each_change(ORDER):
        newer ^= {service}
        tag = next_version.TAG if service in newer else TODAY
        await installed.image(scene.plane, scene.stage, service, tag)
    watch.cease()
    passed = [await each.transition() for each in rollouts]
    await asyncio.gather(*(each.gone_on(number) for each, number in zip(rollouts, passed, strict=True)))
    watch.right()


SCENARIOS = (Scenario("upgraded in every order", in_every_order, rough=True, tested="tests/e2e/rough/test_upgrade.py"),)
