"""A Canary is deleted, in each phase, with the real garbage collector: its target serves before anything goes.

Whatever wasn't promoted answers 500 from the moment of the deletion on, so nobody can be sent there unnoticed.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from bench.scenarios.scenario import Outcome, Scenario, Watch, watched
from sandbox.application import Behaviour
from sandbox.controlplane import pods
from sandbox.controlplane.api import Json
from tests.e2e.rollouts import Rollout
from tests.e2e.short import HALT, applied, canary, deployment, hook, phase

OLD = "ghcr.io/stefanprodan/podinfo:6.0.0"
_OVER = 90.0  # the garbage collector asks for new kinds, such as Canaries, every half minute
Reach = Callable[[Rollout], Awaitable[None]]


def _image(rollout: Rollout) -> str:
    """A revision of its own for each scenario: how it behaves must not touch the others."""
    return f"stefanprodan/podinfo:6.6.0-{rollout.namespace}"


def application(**template: Any) -> Json:
    """Two replicas that Kubernetes keeps at two, and that serve until the news of their end has spread: what is lost is
    lost by us. `template` are further fields of its container."""
    found = deployment(**template)
    found["spec"]["replicas"] = 2
    found["spec"]["template"]["metadata"]["annotations"][pods.ENDS_AFTER] = "1"
    found["spec"]["strategy"]["rollingUpdate"] = {"maxUnavailable": 0, "maxSurge": 1}
    return found


async def _initialized(rollout: Rollout, **fields: Any) -> None:
    await applied(rollout, application(), canary(**fields))
    await rollout.initialized()


async def _released(rollout: Rollout, *webhooks: Json, **fields: Any) -> None:
    await _initialized(rollout, webhooks=list(webhooks), **fields)
    await rollout.kubectl("set", "image", "deployment/podinfo", f"podinfod={_image(rollout)}")


async def serving(rollout: Rollout, **template: Any) -> None:
    """Visitors come by a Service of people's own, from before there is a Canary."""
    own = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo"},
        "spec": {"selector": {"app": "podinfo"}, "ports": [{"name": "http", "port": 80, "targetPort": 9898}]},
    }  # fmt: skip
    await applied(rollout, application(**template), own)
    await rollout.kubectl("rollout", "status", "deployment/podinfo", "--timeout=120s")


async def initializing(rollout: Rollout) -> None:
    """The target's pods stay ready, those of the primary don't become so: it lasts."""
    await serving(rollout, image=_image(rollout))
    rollout.scene.stage.options.behaviours[_image(rollout)] = Behaviour(ready=False)
    await rollout.apply(documents=(canary(),))
    await phase(rollout, "Initializing")


async def initialized(rollout: Rollout) -> None:
    await _initialized(rollout)


async def waiting(rollout: Rollout) -> None:
    await _released(rollout, hook("confirm-rollout", HALT))
    await phase(rollout, "Waiting")


async def progressing(rollout: Rollout) -> None:
    await _released(rollout, interval="5m")  # its first step comes at once, and no other meanwhile
    await phase(rollout, "Progressing", weight=50)


async def waiting_promotion(rollout: Rollout) -> None:
    await _released(rollout, hook("confirm-promotion", HALT))
    await phase(rollout, "WaitingPromotion", weight=50)


async def promoting(rollout: Rollout) -> None:
    await _released(rollout, stepWeightPromotion=10)
    await phase(rollout, "Promoting", timeout=120)

    def copied(primary: Json) -> bool:
        return bool(primary["spec"]["template"]["spec"]["containers"][0]["image"] == _image(rollout))

    await rollout.scene.stage.api.until(f"{rollout.target}-primary", copied)


async def finalising(rollout: Rollout) -> None:
    await _released(rollout)
    await phase(rollout, "Finalising", "Succeeded", timeout=120)


async def succeeded(rollout: Rollout) -> None:
    await _released(rollout)
    await rollout.over()


async def failed(rollout: Rollout) -> None:
    await progressing(rollout)
    await rollout.kubectl("annotate", "canary/podinfo", "serinus.dev/request=abort:1")
    await rollout.over()


_LATEST = (initializing, promoting, finalising, succeeded)
"""What is to be served in the end is what the target shows."""


def _deleted(reach: Reach, *flags: str) -> Callable[[Rollout], Awaitable[Outcome]]:
    async def act(rollout: Rollout) -> Outcome:
        await reach(rollout)
        async with watched(rollout) as watch:
            watch.begin()
            if reach not in _LATEST:
                await _spoil(rollout)
            await rollout.kubectl("delete", "canary", "podinfo", "--timeout=120s", *flags)
            watch.right()
            await _settled(rollout, watch)
        await _served(rollout, _image(rollout) if reach in _LATEST else OLD)
        return watch.outcome()

    return act


async def _spoil(rollout: Rollout) -> None:
    """From the next request on; what is drained is counted too, so the gateway must be off it."""
    weights = await rollout.weights() if await _there(rollout, "apisixroute/podinfo-podinfo-canary") else [100, 0]
    if weights == [100, 0]:
        rollout.scene.stage.options.behaviours[_image(rollout)] = Behaviour(fail_ratio=1.0)


async def _there(rollout: Rollout, name: str) -> bool:
    return bool(await rollout.kubectl("get", name, "--ignore-not-found", "-o", "name"))


async def _settled(rollout: Rollout, watch: Watch) -> None:
    """Until the collector has been here, and a while longer: what it took would be missed then."""
    await rollout.kubectl("wait", "deployment/podinfo-primary", "--for=delete", f"--timeout={_OVER:.0f}s")
    await watch.more()


async def _served(rollout: Rollout, image: str) -> None:
    """By the target alone, which runs this, at the primary's size."""
    target = await rollout.scene.stage.api.get(rollout.target)
    shown = target["spec"]["template"]["spec"]["containers"][0]["image"]
    assert (shown, target["spec"]["replicas"], target["status"]["readyReplicas"]) == (image, 2, 2)
    assert json.loads(await rollout.kubectl("get", "service", "podinfo", "-o", "jsonpath={.spec.selector}")) == {
        "app": "podinfo"
    }
    assert not await _there(rollout, "apisixroute/podinfo-podinfo-canary")


async def namespace_deleted(rollout: Rollout) -> Outcome:
    """In the middle of a rollout: it goes as a whole, and nobody else's visitors notice."""
    neighbour = Rollout(rollout.scene, f"{rollout.namespace}-neighbour")
    await _initialized(neighbour)
    await progressing(rollout)
    async with watched(rollout, host=f"{neighbour.namespace}.example.com") as watch:
        watch.begin()
        await rollout.scene.plane.kubectl("delete", "namespace", rollout.namespace, "--timeout=150s")
        watch.right()
        await watch.more()
    return watch.outcome()


PHASES: tuple[Reach, ...] = (
    initializing, initialized, waiting, progressing, waiting_promotion, promoting, finalising, succeeded, failed,
)  # fmt: skip
SCENARIOS = (
    *(Scenario(f"deleted {reach.__name__.replace('_', ' ')}", _deleted(reach)) for reach in PHASES),
    Scenario("deleted in the foreground", _deleted(progressing, "--cascade=foreground")),
    Scenario("deleted namespace", namespace_deleted),
)
