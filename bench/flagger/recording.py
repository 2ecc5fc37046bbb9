"""`python -m bench record-flagger`: what Flagger leaves in the cluster in each phase, as data for the tests.

One canary of the guide, with gates, an autoscaler, tracked configs and a stepwise promotion, so that every phase lasts:
promoted once, then failed. Each moment goes to a file of its own, the statuses in their order to `statuses.json`.
"""

import asyncio
import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.flagger import normal
from bench.flagger.guide import Play, manifest
from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from sandbox.flagger import world
from sandbox.flagger.binary import VERSION
from sandbox.flagger.process import Flagger
from sandbox.loadtester import LoadTester
from sandbox.stage import Options
from shared.runtime import tasks

TO: Final = Path(__file__).resolve().parents[2] / "tests" / "recorded" / f"flagger-{VERSION.rpartition('.')[0]}"
GOOD, BAD = "stefanprodan/podinfo:6.0.1", "stefanprodan/podinfo:6.0.2"
_NAMESPACE: Final = "test"
_GATE: Final = "http://flagger-loadtester.test/gate/check"
_PAUSE: Final = 1.5  # seconds: the rest of a tick's writes, long before the next tick
_COLLECTIONS: Final = (
    "/apis/flagger.app/v1beta1/namespaces/test/canaries",
    "/apis/apps/v1/namespaces/test/deployments",
    "/api/v1/namespaces/test/services",
    "/apis/apisix.apache.org/v2/namespaces/test/apisixroutes",
    "/apis/autoscaling/v2/namespaces/test/horizontalpodautoscalers",
    "/api/v1/namespaces/test/configmaps",
    "/api/v1/namespaces/test/secrets",
)


async def record(to: Path = TO) -> None:
    """Plays for about five minutes and writes the files."""
    behaviours = {BAD: Behaviour(fail_ratio=1.0)}
    with tempfile.TemporaryDirectory(prefix="serinus-record-") as folder:
        async with world.opened(Path(folder), Options(behaviours=behaviours)) as found:
            await found.plane.kubectl("create", "namespace", _NAMESPACE)
            play = Play(plane=found.plane, api=found.stage.api, namespace=_NAMESPACE)
            async with Flagger(found.plane, found.stage):
                recorder = Recorder(play)
                await recorder.play(found.stage.loadtester)
    _write(to, normal.normalised(recorder.moments, recorder.began))


def _write(to: Path, moments: dict[str, Any]) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for name, moment in moments.items():
        (to / f"{name}.json").write_text(json.dumps(moment, indent=1, sort_keys=True) + "\n")
        print(f"{to.name}/{name}.json", flush=True)


class Recorder:
    """Collects moments while it plays."""

    def __init__(self, play: Play) -> None:
        self.moments: dict[str, Any] = {}
        self.began = normal.START
        self._play = play
        self._statuses: list[Json] = []

    async def play(self, loadtester: LoadTester) -> None:
        """Every phase in turn."""
        await self._play.apply(*_manifests())
        watching = asyncio.create_task(self._watch())
        try:
            await self._promoted(loadtester)
            await self._failed(loadtester)
            if watching.done():
                watching.result()
        finally:
            await tasks.ended(watching)
        self.moments["statuses"] = {"flagger": VERSION, "statuses": self._statuses}

    async def _promoted(self, loadtester: LoadTester) -> None:
        await self._play.api.until(f"{self._play.target}-primary", lambda _: True)
        await self._take("initializing", "Initializing")
        await self._take("initialized", "Initialized")
        await self._play.release(GOOD)
        await self._take("waiting", "Waiting")
        self._open(loadtester)
        await self._take("progressing-0", "Progressing")
        loadtester.gates.clear()
        await self._take("progressing-20", "Progressing", 20)
        await self._take("progressing-40", "Progressing", 40)
        await self._take("waiting-promotion", "WaitingPromotion")
        self._open(loadtester)
        await self._take("promoting", "Promoting")
        await self._take("promoting-shifting", "Promoting", 20)
        await self._take("finalising", "Finalising")
        await self._take("succeeded", "Succeeded")

    async def _failed(self, loadtester: LoadTester) -> None:
        await self._play.release(BAD)
        await self._take("progressing-failing", "Progressing", 20, failed=1)
        await self._take("failed", "Failed")

    def _open(self, loadtester: LoadTester) -> None:
        loadtester.gates[f"{self._play.name}.{_NAMESPACE}"] = True

    async def _take(self, name: str, phase: str, weight: int | None = None, failed: int = 0) -> None:
        """The moment after the tick that has brought this phase."""

        def there(status: Json) -> bool:
            shown = (status.get("canaryWeight"), status.get("failedChecks", 0))
            return status.get("phase") == phase and weight in (None, shown[0]) and shown[1] >= failed

        await self._play.until(there, timeout=180)
        await asyncio.sleep(_PAUSE)
        objects = [each for path in _COLLECTIONS for each in normal.listed(await self._play.api.get(path))]
        objects += await self._told()
        self.moments[name] = {"flagger": VERSION, "objects": [each for each in objects if not _of_the_cluster(each)]}
        print(f"{name}: {phase} {weight}", flush=True)

    async def _told(self) -> list[Json]:
        found = await self._play.api.get(f"/api/v1/namespaces/{_NAMESPACE}/events")
        return [each for each in normal.listed(found) if each["involvedObject"]["kind"] == "Canary"]

    async def _watch(self) -> None:
        """Every status in the order of the writes, with who wrote it."""
        canary = await self._play.api.get(self._play.canary)
        self.began = datetime.fromisoformat(canary["metadata"]["creationTimestamp"])
        collection, _, name = self._play.canary.rpartition("/")
        async for event in self._play.api.watch(collection, "0", fieldSelector=f"metadata.name={name}"):
            found = event["object"]
            if event["type"] != "BOOKMARK" and (status := found.get("status")):
                writers = [each for each in found["metadata"]["managedFields"] if each.get("subresource") == "status"]
                seen = {"managedFields": writers, "resourceVersion": found["metadata"]["resourceVersion"]}
                self._statuses.append({**seen, "status": status})


def _of_the_cluster(found: Json) -> bool:
    """Not this application's."""
    return bool(found["metadata"]["name"] == "kube-root-ca.crt")


def _manifests() -> list[Json]:
    deployment, canary = manifest("deployment"), manifest("canary")
    variables = [
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "podinfo-config", "key": "greeting"}}},
        {"name": "SECRET_VALUE", "valueFrom": {"secretKeyRef": {"name": "podinfo-secret", "key": "value"}}},
    ]
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] += variables
    autoscaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}
    gates = [{"name": kind, "type": kind, "url": _GATE} for kind in ("confirm-rollout", "confirm-promotion")]
    canary["spec"]["autoscalerRef"] = autoscaler
    analysis = canary["spec"]["analysis"]
    analysis.update(stepWeight=20, maxWeight=40, threshold=3, stepWeightPromotion=20)
    analysis["webhooks"] += gates
    meta = {"namespace": _NAMESPACE}
    config = {"metadata": {**meta, "name": "podinfo-config"}, "data": {"greeting": "hello"}}
    secret = {"metadata": {**meta, "name": "podinfo-secret"}, "stringData": {"value": "nobody-minds"}}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", **config},
        {"apiVersion": "v1", "kind": "Secret", **secret},
        deployment, manifest("hpa"), manifest("route"), canary,
    ]  # fmt: skip
