"""The same stories over HTTP, with controllers and our caches: on the embedded API server, and on the real one in the
cluster suite. Only the bus and the judge are in memory.

What fakes can only claim: nothing that the server defaults is taken for a difference, and nothing at rest is written.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.kube import json, kinds
from tests.story.played import NAMESPACE, Cluster, Server, changes, playing, released
from tests.story.servers import LINES, embedded, real


@pytest.fixture
async def writes() -> Counter[str]:
    """What the router asked of the API server, but for reads."""
    return Counter()


@pytest.fixture(params=[embedded, pytest.param(real, marks=pytest.mark.cluster)], ids=lambda each: str(each.__name__))
async def cluster(request: pytest.FixtureRequest, tmp_path: Path, writes: Counter[str]) -> AsyncIterator[Cluster]:
    async with playing(request.param, tmp_path, writes) as made:
        yield made


@pytest.mark.parametrize("server", [embedded, pytest.param(real, marks=pytest.mark.cluster)], ids=["embedded", "real"])
@pytest.mark.parametrize("line", LINES)
async def test_a_rollout_and_nothing_written_that_is_as_wanted(
    line: str, server: Server, tmp_path: Path, writes: Counter[str]
) -> None:
    """On routes as each line of the ingress controller defines them: what one of them drops is not written for ever."""
    async with playing(server, tmp_path, writes, routes=LINES[line]) as cluster:
        await _rolls_out(cluster, writes)
        source = await cluster.api.get(kinds.APISIX_ROUTE.path(NAMESPACE, "podinfo"))
        generated = await cluster.api.get(kinds.APISIX_ROUTE.path(NAMESPACE, "podinfo-podinfo-canary"))
        known = "apisix" if line == "2.2" else None
        assert source["spec"].get("ingressClassName") == generated["spec"].get("ingressClassName") == known


async def _rolls_out(cluster: Cluster, writes: Counter[str]) -> None:
    async with asyncio.timeout(40):
        while not cluster.canary:
            await asyncio.sleep(0.02)
    await cluster.until("Initialized")
    assert changes(writes) == {
        "create Deployment ok": 1, "create Service ok": 3, "create ApisixRoute ok": 1, "create ConfigMap ok": 1,
        "create HorizontalPodAutoscaler ok": 1, "patch Deployment ok": 1,
        "patch Canary ok": writes["patch Canary ok"],
    }  # fmt: skip
    await _at_rest(cluster, writes)

    await released(cluster, "stefanprodan/podinfo:6.0.1")
    await cluster.until("Succeeded")
    assert changes(writes) == {
        "patch Deployment ok": 3,  # up, copied, down
        "patch ApisixRoute ok": 6,  # 10 to 50, and back
        "patch Canary ok": writes["patch Canary ok"],
    }
    primary = await cluster.api.get(kinds.DEPLOYMENT.path(NAMESPACE, "podinfo-primary"))
    assert primary["spec"]["template"]["spec"]["containers"][0]["image"] == "stefanprodan/podinfo:6.0.1"
    assert primary["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] == "colors-primary"
    assert cluster.weights() == {"podinfo-primary": 100, "podinfo-canary": 0}
    await _at_rest(cluster, writes)


async def _at_rest(cluster: Cluster, writes: Counter[str]) -> None:
    """Everything has been looked at again and again, and nothing is written, read or found wanting."""
    writes.clear()
    for _ in range(5):
        await cluster.look()
    assert not [what for what in writes if not what.startswith(("watch", "list"))]
    assert await cluster.router.due_for_a_look(cluster.canary, cluster.clock.now(), timedelta(seconds=5)) == ""


async def test_another_manager_of_the_status_and_a_deletion_with_reversal(
    cluster: Cluster, writes: Counter[str]
) -> None:
    async with asyncio.timeout(40):
        while not cluster.canary:
            await asyncio.sleep(0.02)
    await cluster.until("Initialized")
    path = kinds.CANARY.path(NAMESPACE, "podinfo")
    answer = await cluster.api.patch(f"{path}/status", {"status": {"phase": "Failed"}}, fieldManager="flagger")
    await cluster.caches.current(kinds.CANARY, NAMESPACE, "podinfo", json.version(answer), 5.0)
    cluster.clock.skipped = timedelta()
    await cluster.look()
    await cluster.look()
    text = "Holding podinfo.test: another controller (flagger) writes this Canary"
    assert [event.data.message for event in cluster.bus.events()].count(text) == 1
    assert cluster.canary["status"]["phase"] == "Initialized", "put right by the commit that says so"
    cluster.clock.skipped = timedelta(minutes=5)
    await cluster.look()
    await _at_rest(cluster, writes)

    # In the foreground the collector goes for what the Canary owns at once; the target keeps it until it serves.
    await cluster.api.delete(path, {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"})
    async with asyncio.timeout(60):
        while cluster.canary:
            assert cluster.caches.get(kinds.SERVICE, NAMESPACE, "podinfo")
            serving = await cluster.api.get(kinds.DEPLOYMENT.path(NAMESPACE))
            assert any(each["status"].get("availableReplicas") for each in serving["items"])
            await cluster.look()
            await asyncio.sleep(0.05)
    await cluster.api.until(kinds.DEPLOYMENT.path(NAMESPACE), lambda found: len(found["items"]) == 1, timeout=60)
    target = await cluster.api.get(kinds.DEPLOYMENT.path(NAMESPACE, "podinfo"))
    assert target["spec"]["replicas"] >= 1
    assert [event.data.message for event in cluster.bus.events()][-1] == "Terminated canary podinfo.test"
    left = await cluster.api.get(kinds.SERVICE.path(NAMESPACE))
    assert [(each["metadata"]["name"], each["spec"]["selector"]) for each in left["items"]] == [
        ("podinfo", {"app": "podinfo"})
    ]
