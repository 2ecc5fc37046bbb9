"""What a Flagger 1.44 left, in each phase, goes on: the recorded objects are made anew on the real API server, their
status is Flagger's, visitors come, and then the Canary becomes ours.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from bench.scenarios.scenario import RATE, Outcome, Scenario, Watch, watched
from sandbox.controlplane.api import Json
from tests.e2e.rollouts import PATIENCE, Rollout
from tests.recorded.moments import objects

TEN_INTERVALS: Final = 100.0
_HASHES: Final = ("lastAppliedSpec", "lastPromotedSpec", "trackedConfigs")
_COLLECTIONS: Final = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "ApisixRoute": "/apis/apisix.apache.org/v2/namespaces/{}/apisixroutes",
}
RESTING: Final = ("initialized", "succeeded", "failed", "waiting", "waiting-promotion")
"""A closed gate is a rest, too."""
FINISHING: Final = ("promoting", "promoting-shifting", "finalising")


async def _rests(rollout: Rollout, watch: Watch, status: Json) -> None:
    """For ten intervals nothing is written but the Canary's status."""
    before = await _standing(rollout)
    await _ours(rollout)
    watch.right()
    await asyncio.sleep(TEN_INTERVALS)  # the time is what is shown
    assert await _standing(rollout) == before
    found = (await rollout.scene.stage.api.get(rollout.canary))["status"]
    assert {name: found[name] for name in ("phase", *_HASHES)} == {name: status[name] for name in ("phase", *_HASHES)}


async def _goes_on(rollout: Rollout, watch: Watch, status: Json) -> None:
    """At the weight that the route shows, and up from there; the promotion is the first thing that a pod hears of."""
    before, shares = await _standing(rollout), [(await rollout.weights())[1]]
    rollout.open_gate()
    await _ours(rollout)
    while (await rollout.scene.stage.api.get(rollout.canary))["status"]["phase"] == "Progressing":
        shares.append((await rollout.weights())[1])
        standing = await _standing(rollout)
        unpromoted = await rollout.image() == before["revision"]  # read last: what was read before is of before, too
        assert not unpromoted or {**standing, "weights": None} == {**before, "weights": None}
        await asyncio.sleep(1.0)
    assert min(shares) == shares[0] == 20
    await _succeeds(rollout, status)
    watch.right()


async def _finishes(rollout: Rollout, watch: Watch, status: Json) -> None:
    """Without another copy to the primary: its pods stay."""
    primary = (await _standing(rollout))["primary"]
    await _ours(rollout)
    await _succeeds(rollout, status)
    watch.right()
    assert (await _standing(rollout))["primary"] == primary


async def _succeeds(rollout: Rollout, status: Json) -> None:
    canary = await rollout.over(timeout=200)
    assert canary["status"]["phase"] == "Succeeded"
    assert await rollout.weights() == [100, 0]
    assert canary["status"]["lastAppliedSpec"] not in {status["lastAppliedSpec"], status["lastPromotedSpec"]}


async def _left(rollout: Rollout, moment: str) -> Json:
    """The moment, made anew; answers the Canary's status. The provider is somebody else's until `_ours`."""
    api, namespace = rollout.scene.stage.api, rollout.namespace
    await rollout.scene.plane.kubectl("create", "ns", namespace)
    recorded = [_bare(each, namespace) for each in objects(moment) if each["kind"] in {"Canary", *_COLLECTIONS}]
    canary = next(each for each in recorded if each["kind"] == "Canary")
    status: Json = canary.pop("status")
    canary["spec"]["provider"] = "istio"
    for metric in canary["spec"]["analysis"]["metrics"]:
        if (
            metric["name"] == "request-duration"
        ):  # not what is looked at, and on a busy machine the gateway double is slow
            metric["thresholdRange"] = {"max": 5000}
    made = await api.create(rollout.canary.rpartition("/")[0], canary)
    for each in recorded:
        if each["kind"] in _COLLECTIONS:
            for owner in each["metadata"].get("ownerReferences", ()):
                owner["uid"] = made["metadata"]["uid"]
            each.pop("status", None)
            await api.create(_COLLECTIONS[each["kind"]].format(namespace), each)
    await api.until(rollout.target, _settled(), timeout=PATIENCE)
    await api.until(f"{rollout.target}-primary", _settled(least=2), timeout=PATIENCE)  # its autoscaler's minimum
    body = {**await api.get(rollout.canary), "status": status}
    await api.request("PUT", f"{rollout.canary}/status", body=body, query={"fieldManager": "flagger"})
    return status


def _bare(recorded: Json, namespace: str) -> Json:
    """As somebody would create it, in another namespace and under another host."""
    text = json.dumps(recorded).replace("podinfo.test.example.com", f"{namespace}.example.com")
    made: dict[str, Any] = json.loads(text)
    kept = ("name", "labels", "annotations", "ownerReferences")
    metadata = {key: value for key, value in made["metadata"].items() if key in kept}
    for address in ("clusterIP", "clusterIPs"):
        made.get("spec", {}).pop(address, None)
    return {**made, "metadata": {**metadata, "namespace": namespace}}


async def _ours(rollout: Rollout) -> None:
    """From now on."""
    await rollout.scene.stage.api.patch(rollout.canary, {"spec": {"provider": "apisix"}})
    await rollout.scene.stage.api.until(
        rollout.canary, lambda found: bool(found["status"].get("serinus")), timeout=PATIENCE
    )


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


Goes = Callable[[Rollout, Watch, Json], Awaitable[None]]


def _taken_over(moment: str, goes: Goes, seconds: int) -> Scenario:
    async def act(rollout: Rollout) -> Outcome:
        status = await _left(rollout, moment)
        async with watched(rollout, rate=3.0 if goes is _rests else RATE) as watch:
            watch.begin()
            await goes(rollout, watch, status)
            await watch.more()
        return watch.outcome()

    return Scenario(f"taken over {moment.replace('-', ' ')}", act, seconds=seconds)


SCENARIOS = (
    *(_taken_over(moment, _rests, 140) for moment in RESTING),
    _taken_over("progressing-20", _goes_on, 120),
    *(_taken_over(moment, _finishes, 90) for moment in FINISHING),
)
