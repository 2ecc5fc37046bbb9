"""Canaries that a Flagger 1.44 left, in each phase, taken over on the real API server: the recorded objects are made
there anew, their status is Flagger's, and then the Canary becomes ours.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.controlplane.api import Json
from tests.e2e.plays import Play, Programme, declared, lasting
from tests.e2e.rollouts import Rollout
from tests.recorded.moments import objects

TEN_INTERVALS = 100.0
HASHES = ("lastAppliedSpec", "lastPromotedSpec", "trackedConfigs")
COLLECTIONS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "ApisixRoute": "/apis/apisix.apache.org/v2/namespaces/{}/apisixroutes",
}


@lasting(140)
async def left_initialized(rollout: Rollout) -> None:
    await _rests(rollout, "initialized")


@lasting(140)
async def left_succeeded(rollout: Rollout) -> None:
    await _rests(rollout, "succeeded")


@lasting(140)
async def left_failed(rollout: Rollout) -> None:
    await _rests(rollout, "failed")


@lasting(140)
async def left_waiting(rollout: Rollout) -> None:
    await _rests(rollout, "waiting")


@lasting(140)
async def left_waiting_promotion(rollout: Rollout) -> None:
    await _rests(rollout, "waiting-promotion")


@lasting(120)
async def left_progressing(rollout: Rollout) -> None:
    """It goes on at 20 %, and up from there; the promotion is the first thing that a pod hears of."""
    found = await _left(rollout, "progressing-20")
    before = await _standing(rollout)
    _approve(rollout)
    await _ours(rollout)
    shares = [(await rollout.weights())[1]]
    while (await rollout.scene.stage.api.get(rollout.canary))["status"]["phase"] == "Progressing":
        standing = await _standing(rollout)
        carried = standing["revision"] == before["revision"]
        assert not carried or {**standing, "weights": None} == {**before, "weights": None}
        shares.append((await rollout.weights())[1])
        await asyncio.sleep(1.0)
    assert min(shares) == 20
    await _succeeds(rollout, found)


@lasting(90)
async def left_promoting(rollout: Rollout) -> None:
    await _finishes(rollout, "promoting")


@lasting(90)
async def left_shifting(rollout: Rollout) -> None:
    await _finishes(rollout, "promoting-shifting")


@lasting(90)
async def left_finalising(rollout: Rollout) -> None:
    await _finishes(rollout, "finalising")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_what_flagger_left_goes_on(programme: Programme, play: Play[None]) -> None:
    await programme.of(play)


async def _rests(rollout: Rollout, moment: str) -> None:
    """For ten intervals nothing is written but the Canary's status."""
    status = await _left(rollout, moment)
    before = await _standing(rollout)
    await _ours(rollout)
    await asyncio.sleep(TEN_INTERVALS)  # the time is what is shown
    assert await _standing(rollout) == before
    found = (await rollout.scene.stage.api.get(rollout.canary))["status"]
    assert {name: found[name] for name in ("phase", *HASHES)} == {name: status[name] for name in ("phase", *HASHES)}


async def _finishes(rollout: Rollout, moment: str) -> None:
    """Without another copy to the primary: its pods stay."""
    status = await _left(rollout, moment)
    primary = (await _standing(rollout))["primary"]
    await _ours(rollout)
    await _succeeds(rollout, status)
    assert (await _standing(rollout))["primary"] == primary


async def _succeeds(rollout: Rollout, status: Json) -> None:
    canary = await rollout.over(timeout=200, heard=False)
    assert canary["status"]["phase"] == "Succeeded"
    assert await rollout.weights() == [100, 0]
    assert canary["status"]["lastAppliedSpec"] not in {status["lastAppliedSpec"], status["lastPromotedSpec"]}


async def _left(rollout: Rollout, moment: str) -> Json:
    """The moment, made anew; answers the Canary's status. The provider is somebody else's until `_ours`."""
    api, namespace = rollout.scene.stage.api, rollout.namespace
    await rollout.scene.plane.kubectl("create", "ns", namespace)
    recorded = [_bare(each, namespace) for each in objects(moment) if each["kind"] in {"Canary", *COLLECTIONS}]
    canary = next(each for each in recorded if each["kind"] == "Canary")
    status = canary.pop("status")
    canary["spec"]["provider"] = "istio"
    made = await api.create(rollout.canary.rpartition("/")[0], canary)
    for each in recorded:
        if each["kind"] in COLLECTIONS:
            for owner in each["metadata"].get("ownerReferences", ()):
                owner["uid"] = made["metadata"]["uid"]
            each.pop("status", None)
            await api.create(COLLECTIONS[each["kind"]].format(namespace), each)
    await api.until(rollout.target, _settled())
    await api.until(f"{rollout.target}-primary", _settled(least=2))  # its autoscaler's minimum
    current = await api.get(rollout.canary)
    await api.request(
        "PUT", f"{rollout.canary}/status", body={**current, "status": status}, query={"fieldManager": "flagger"}
    )
    found: Json = status
    return found


def _bare(recorded: Json, namespace: str) -> Json:
    """As somebody would create it, in another namespace and under another host."""
    made: dict[str, Any] = json.loads(
        json.dumps(recorded).replace("podinfo.test.example.com", f"{namespace}.example.com")
    )
    kept = ("name", "labels", "annotations", "ownerReferences")
    metadata = {key: value for key, value in made["metadata"].items() if key in kept}
    for address in ("clusterIP", "clusterIPs"):
        made.get("spec", {}).pop(address, None)
    return {**made, "metadata": {**metadata, "namespace": namespace}}


async def _ours(rollout: Rollout) -> None:
    """From now on."""
    await rollout.scene.stage.api.patch(rollout.canary, {"spec": {"provider": "apisix"}})
    await rollout.scene.stage.api.until(rollout.canary, lambda found: bool(found["status"].get("serinus")))


async def _standing(rollout: Rollout) -> Json:
    """What takes traffic, and what would change with any write to it."""
    api = rollout.scene.stage.api
    pods = (await api.get(f"/api/v1/namespaces/{rollout.namespace}/pods"))["items"]
    found: Json = {"weights": await rollout.weights(), "revision": await rollout.image()}
    for word, path, app in (
        ("target", rollout.target, rollout.name), ("primary", f"{rollout.target}-primary", f"{rollout.name}-primary"),
    ):  # fmt: skip
        mine = sorted(pod["metadata"]["uid"] for pod in pods if pod["metadata"]["labels"]["app"] == app)
        found[word] = {"generation": (await api.get(path))["metadata"]["generation"], "pods": mine}
    return found


def _settled(least: int = 0) -> Callable[[Json], bool]:
    def settled(deployment: Json) -> bool:
        status, replicas = deployment.get("status", {}), deployment["spec"]["replicas"]
        seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
        there = status.get("availableReplicas", 0) == status.get("replicas", 0) == replicas >= least
        return bool(seen and there)

    return settled


def _approve(rollout: Rollout) -> None:
    rollout.scene.stage.loadtester.gates[f"{rollout.name}.{rollout.namespace}"] = True
