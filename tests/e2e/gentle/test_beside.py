"""Others beside a canary, on the real API server: another provider's Canaries, people and tools that apply the manifests again
or scale the idle target. A controller that writes ours is a scenario of `bench/scenarios/beside.py`.
"""

import asyncio
import json
from typing import Any

import pytest

from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from tests.e2e.casting import HELD, HELD_NEXT
from tests.e2e.plays import Play, Programme, declared, lasting, play
from tests.e2e.rollouts import Rollout, manifest, moved
from tests.e2e.short import CHECK, GATE, NEW, applied, beginning, canary, deployment, hook, phase, told


@play
async def another_providers(rollout: Rollout) -> None:
    """Byte for byte as they were, while a Canary of ours rolls out beside them."""
    await applied(rollout, canary())
    others = []
    for provider in ("istio", "gatewayapi:v1", "nginx"):
        other = moved(manifest("canary"), rollout.namespace)
        other["metadata"]["name"] = provider.partition(":")[0]
        other["spec"] |= {"provider": provider, "targetRef": {**other["spec"]["targetRef"], "name": "elsewhere"}}
        others.append(other)
    await rollout.apply(documents=tuple(others))
    paths = [rollout.canary.removesuffix("podinfo") + str(each["metadata"]["name"]) for each in others]
    before = [await _bytes(rollout, path) for path in paths]
    await rollout.initialized()
    await rollout.release(NEW)
    await _succeeds(rollout)
    assert [await _bytes(rollout, path) for path in paths] == before
    await told(rollout, f"Promotion completed! Scaling down podinfo.{rollout.namespace}", "Normal")
    events = await rollout.kubectl("get", "events", "-o", "json")
    names = {each["involvedObject"]["name"] for each in json.loads(events)["items"] if each["reason"] == "Synced"}
    assert names == {"podinfo"}


async def _bytes(rollout: Rollout, path: str) -> str:
    """With its resourceVersion and all that the server notes of it."""
    return await rollout.scene.stage.api.text("GET", path)


@lasting(150)
async def applied_again(rollout: Rollout) -> None:
    """By kubectl, on either side, in every phase: the same manifests move nothing. What passes quickly is held still by
    pods that aren't ready."""
    gates = [hook("confirm-rollout", CHECK), {**GATE, "name": "last"}]
    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply("route", documents=_of_git(gates, HELD))
    await phase(rollout, "Initializing")
    await _again(rollout, "Initializing", gates, HELD)
    _let_be(rollout, HELD, ready=True)
    await rollout.initialized()
    await _again(rollout, "Initialized", gates, HELD)
    await rollout.kubectl("set", "image", "deployment/podinfo", f"podinfod={HELD_NEXT}")
    await phase(rollout, "Waiting")
    await _again(rollout, "Waiting", gates, HELD_NEXT)
    await _asks(rollout, "approve:1")
    await phase(rollout, "Progressing", weight=0)
    await _again(rollout, "Progressing", gates, HELD_NEXT)
    _let_be(rollout, HELD_NEXT, ready=True)
    await phase(rollout, "WaitingPromotion", weight=50)
    await _again(rollout, "WaitingPromotion", gates, HELD_NEXT)
    _let_be(rollout, HELD_NEXT, ready=False)
    await _asks(rollout, "approve:2")
    await phase(rollout, "Promoting")
    await _again(rollout, "Promoting", gates, HELD_NEXT)
    _let_be(rollout, HELD_NEXT, ready=True)
    await _succeeds(rollout)
    await _again(rollout, "Succeeded", gates, HELD_NEXT)


def _let_be(rollout: Rollout, image: str, *, ready: bool) -> None:
    """Pods of this image, from now on; those that are ready stay so."""
    rollout.scene.stage.options.behaviours[image] = Behaviour(ready=ready)


async def _again(rollout: Rollout, where: str, gates: list[Json], image: str) -> None:
    """Applied both ways, with the image that Git has by now."""
    api = rollout.scene.stage.api
    documents = [moved(each, rollout.namespace) for each in (*_of_git(gates, image), manifest("route"))]
    before, shares = (await api.get(rollout.canary))["status"], await _shares(rollout)
    began = len(beginning(rollout, "New revision"))
    await rollout.kubectl("apply", "-f", "-", documents=documents)
    await rollout.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", documents=documents)
    await asyncio.sleep(2)  # for whoever might be stirred
    found = await api.get(rollout.canary)
    assert (found["status"]["phase"], await _shares(rollout)) == (where, shares)
    assert len(beginning(rollout, "New revision")) == began
    assert found["status"]["serinus"]["revision"] == before["serinus"]["revision"]


def _of_git(gates: list[Json], image: str) -> tuple[Json, Json]:
    """Deployment and Canary. No deadline passes while pods are held back."""
    target, late = deployment(image=image), {"progressDeadlineSeconds": 600}
    target["spec"] |= late
    return target, canary(webhooks=gates, spec=late)


async def _shares(rollout: Rollout) -> list[int]:
    """None before there is a primary to lead to."""
    there = await rollout.kubectl("get", "apisixroute/podinfo-podinfo-canary", "--ignore-not-found", "-o", "name")
    return await rollout.weights() if there else []


@play
async def idle_target_kept_up(rollout: Rollout) -> None:
    """Put back at once, three times; then left, with who does it and what to change."""
    await applied(rollout, canary())
    await rollout.initialized()
    api = rollout.scene.stage.api
    await asyncio.sleep(12)  # the scale subresource notes no time: a rest is known as such after ten seconds
    for _ in range(3):
        await rollout.kubectl("scale", "deployment/podinfo", "--replicas=1")
        await api.until(rollout.target, lambda found: found["spec"]["replicas"] == 0)
    await rollout.kubectl("scale", "deployment/podinfo", "--replicas=1")
    await rollout.kubectl("wait", "canary/podinfo", "--for=condition=TargetIdle=False", "--timeout=60s")
    await rollout.scene.listener.all((await api.get(rollout.canary))["status"]["serinus"]["seq"], rollout.namespace)
    [text] = beginning(rollout, "podinfo.")
    assert "kubectl keeps scaling it up, so it is left as it is: remove spec.replicas from what kubectl" in text
    assert (await api.get(rollout.target))["spec"]["replicas"] == 1
    await rollout.kubectl("scale", "deployment/podinfo", "--replicas=0")
    await rollout.kubectl("wait", "canary/podinfo", "--for=condition=TargetIdle=True", "--timeout=60s")


async def _asks(rollout: Rollout, request: str) -> None:
    """The annotation carries an id, and is taken off when it was carried out."""
    await rollout.kubectl("annotate", "canary/podinfo", f"serinus.dev/request={request}")
    await rollout.scene.stage.api.until(
        rollout.canary, lambda found: "serinus.dev/request" not in found["metadata"].get("annotations", {})
    )


async def _succeeds(rollout: Rollout) -> None:
    found = await rollout.over()
    assert found["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_nobody_is_disturbed(programme: Programme, play: Play[Any]) -> None:
    await programme.of(play)
