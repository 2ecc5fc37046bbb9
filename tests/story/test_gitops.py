"""Somebody applies the same manifests again in every phase, as kubectl does or as a GitOps controller does: nothing moves.

And who scales the idle target is known by the server's own managedFields.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.controlplane.api import APPLY, MERGE, STRATEGIC
from shared.kube import json, kinds
from shared.kube.json import Json
from tests.story.played import NAMESPACE, Cluster, playing, released
from tests.story.servers import embedded, real

DEPLOYMENT = kinds.DEPLOYMENT.path(NAMESPACE, "podinfo")


@pytest.fixture(params=[embedded, pytest.param(real, marks=pytest.mark.cluster)], ids=lambda each: str(each.__name__))
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    # Without a drain no time is skipped: what the server stamps is compared with what was decided.
    async with playing(request.param, tmp_path, Counter(), drain=timedelta()) as made:
        async with asyncio.timeout(40):
            while not made.canary:
                await asyncio.sleep(0.02)
        yield made


async def client_side(cluster: Cluster) -> None:
    """`kubectl apply -f`: a patch of what the manifest says."""
    for kind, manifest in cluster.manifests:
        how = MERGE if kind in {kinds.CANARY, kinds.APISIX_ROUTE} else STRATEGIC
        path = kind.path(NAMESPACE, json.name(manifest))
        await _seen(cluster, await cluster.api.patch(path, manifest, how, fieldManager="kubectl-client-side-apply"))


async def server_side(cluster: Cluster) -> None:
    """Argo CD and Flux: the server is told what they claim, and takes it from whoever had it."""
    for kind, manifest in cluster.manifests:
        path = kind.path(NAMESPACE, json.name(manifest))
        answer = await cluster.api.patch(path, manifest, APPLY, fieldManager="argocd-controller", force="true")
        await _seen(cluster, answer)


async def _seen(cluster: Cluster, answer: Json) -> None:
    kind = next(kind for kind, _ in cluster.manifests if kind.kind == answer["kind"])
    await cluster.caches.current(kind, NAMESPACE, json.name(answer), json.version(answer), 5.0)


async def commits(cluster: Cluster, image: str) -> None:
    """Git has another image, and somebody has applied it."""
    template = next(each for kind, each in cluster.manifests if kind == kinds.DEPLOYMENT)["spec"]["template"]
    template["spec"]["containers"][0]["image"] = image
    await released(cluster, image)


async def gated(cluster: Cluster, *types: str) -> None:
    hooks = [{"name": "approve", "type": each, "url": "http://gate.test/"} for each in types]
    manifest = next(each for kind, each in cluster.manifests if kind == kinds.CANARY)
    changed = {"webhooks": hooks, "stepWeightPromotion": 25}
    manifest["spec"]["analysis"] |= changed
    path = kinds.CANARY.path(NAMESPACE, "podinfo")
    await _seen(cluster, await cluster.api.patch(path, {"spec": {"analysis": changed}}))


Again = Callable[[Cluster], Awaitable[None]]


async def unmoved(cluster: Cluster, again: Again, phase: str) -> None:
    """The manifests are applied again where the rollout stands; it stands there still, and nobody is told anything."""
    await cluster.look()
    assert json.text(cluster.canary, "status", "phase") == phase
    before = copy.deepcopy(cluster.canary["status"])
    weights, told = cluster.weights(), len(cluster.bus.events())
    await again(cluster)
    await cluster.look()
    assert cluster.canary["status"] == before, phase
    assert (cluster.weights(), len(cluster.bus.events())) == (weights, told)


async def passing(cluster: Cluster, phase: str, stage: str = "", *, shut: bool = False) -> None:
    """Play on to this phase; its tick stays unjudged."""

    def there() -> bool:
        status = cluster.canary["status"]
        return bool(status["phase"] == phase and stage in {"", status["serinus"]["stage"]})

    async with asyncio.timeout(60):
        while True:
            await cluster.look()
            if there():
                return
            if not await cluster.judge(shut=shut):
                await asyncio.sleep(0.05)


async def rested(cluster: Cluster) -> None:
    """Its rest began in a second that has passed: managedFields know no smaller unit."""
    came = datetime.fromisoformat(cluster.canary["status"]["serinus"]["transitions"][-1]["at"])
    while datetime.now(UTC).replace(microsecond=0) <= came:
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("again", [client_side, server_side])
async def test_the_same_manifests_again_change_nothing_in_any_phase(cluster: Cluster, again: Again) -> None:
    await passing(cluster, "Initialized")
    await unmoved(cluster, again, "Initialized")
    await cluster.until("Initialized")
    await unmoved(cluster, again, "Initialized")

    await gated(cluster, "confirm-rollout", "confirm-promotion")
    await commits(cluster, "stefanprodan/podinfo:6.0.1")
    await passing(cluster, "Waiting", shut=True)
    await unmoved(cluster, again, "Waiting")
    await passing(cluster, "Progressing", "judging")
    await unmoved(cluster, again, "Progressing")
    await passing(cluster, "WaitingPromotion", shut=True)
    await unmoved(cluster, again, "WaitingPromotion")
    await passing(cluster, "Promoting", "shifting")
    await unmoved(cluster, again, "Promoting")
    await passing(cluster, "Finalising")
    await unmoved(cluster, again, "Finalising")
    await cluster.until("Succeeded")
    await unmoved(cluster, again, "Succeeded")

    await gated(cluster)
    await commits(cluster, "stefanprodan/podinfo:6.0.2")
    await passing(cluster, "Progressing", "judging")
    path = kinds.CANARY.path(NAMESPACE, "podinfo")
    abort = {"metadata": {"annotations": {"serinus.dev/request": "abort:1"}}}
    await _seen(cluster, await cluster.api.patch(path, abort))
    await cluster.until("Failed")
    await unmoved(cluster, again, "Failed")


async def test_who_applies_a_size_to_the_idle_target_is_named_and_its_manifest_is_the_fix(cluster: Cluster) -> None:
    await cluster.until("Initialized")
    manifest = next(each for kind, each in cluster.manifests if kind == kinds.DEPLOYMENT)
    sized = copy.deepcopy(manifest)
    sized["spec"]["replicas"] = 2
    sizes = []
    await rested(cluster)
    for _ in range(4):
        answer = await cluster.api.patch(DEPLOYMENT, sized, APPLY, fieldManager="argocd-controller", force="true")
        await _seen(cluster, answer)
        await cluster.look()
        sizes.append((await cluster.api.get(DEPLOYMENT))["spec"]["replicas"])
    assert sizes == [0, 0, 0, 2]
    [condition] = [each for each in cluster.canary["status"]["conditions"] if each["type"] == "TargetIdle"]
    assert condition["status"] == "False"
    assert condition["message"].startswith("argocd-controller keeps scaling the target up: remove spec.replicas")

    await _seen(
        cluster, await cluster.api.patch(DEPLOYMENT, manifest, APPLY, fieldManager="argocd-controller", force="true")
    )
    await cluster.look()
    assert (await cluster.api.get(DEPLOYMENT))["spec"]["replicas"] == 0, "the manifest doesn't claim it any more"


async def test_a_person_who_scales_by_the_scale_subresource_is_named_too(cluster: Cluster) -> None:
    await cluster.until("Initialized")
    await rested(cluster)
    cluster.clock.skipped += timedelta(seconds=15)  # it notes no time, so a fresh rest isn't told from an old one
    await cluster.api.patch(f"{DEPLOYMENT}/scale", {"spec": {"replicas": 3}}, fieldManager="kubectl")
    answer = await cluster.api.get(DEPLOYMENT)
    await _seen(cluster, {**answer, "kind": "Deployment"})
    await cluster.look()
    assert [each["manager"] for each in cluster.canary["status"]["serinus"]["raises"]] == ["kubectl"]
    assert (await cluster.api.get(DEPLOYMENT))["spec"]["replicas"] == 0
