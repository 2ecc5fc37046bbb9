"""The same stories over HTTP, with controllers and our caches: on the embedded API server, and on the real one in the
cluster suite. Only the bus and the judge are in memory.

What fakes can only claim: nothing that the server defaults is taken for a difference, and nothing at rest is written.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.controlplane.api import Api
from sandbox.controlplane.kubelet import FakeKubelet
from services.router import handlers
from services.router.app import Kept
from services.router.objects import Options
from services.router.reconcile import Reconciler, Rules
from services.router.world import METADATA_ONLY, WATCHED, World
from shared.kube import door, informer, json, kinds
from shared.kube.caches import Caches, Follow
from shared.kube.json import Json
from shared.wire import messages as wire
from tests.fakes.bus import FakeBus
from tests.story.servers import embedded, install, opened, real
from tests.story.theatre import guide

pytestmark = pytest.mark.timeout(180)
NAMESPACE = "test"


class JumpingClock:
    """The real time, and what was skipped of it: nobody waits for an interval."""

    def __init__(self) -> None:
        self.skipped = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.skipped

    def monotonic(self) -> float:
        return self.now().timestamp()

    def reach(self, moment: datetime) -> None:
        self.skipped += max(moment - self.now(), timedelta())


class Cluster:
    """A router in this process, and everything else of the cluster outside of it."""

    def __init__(self, api: Api, access: door.Cluster) -> None:
        self.api, self.access = api, access
        self.bus, self.clock = FakeBus(), JumpingClock()
        follow = {kind: Follow(metadata_only=kind in METADATA_ONLY) for kind in WATCHED}
        follow[kinds.CANARY] = Follow(keep=informer.slim_managed_fields)
        self.caches = Caches(access, follow)
        world = World({kind: Kept(self.caches, kind) for kind in WATCHED}, access, tracking=True)
        rules = Rules(
            default_provider="apisix",
            metrics_server="http://prometheus",
            drain=timedelta(seconds=10),
            options=Options(),
        )
        self.router = Reconciler(
            world, access, self.bus, self.clock, rules,
            schema_problem=lambda: "", on_commit=lambda _: None, on_stale=lambda: None,
        )  # fmt: skip

    @property
    def canary(self) -> Json:
        return self.caches.get(kinds.CANARY, NAMESPACE, "podinfo") or {}

    @property
    def ref(self) -> wire.CanaryRef:
        return wire.CanaryRef(namespace=NAMESPACE, name="podinfo", uid=json.uid(self.canary))

    async def look(self) -> None:
        await self.handle(wire.Nudge(id="look", canary=self.ref, reason="test"))

    async def handle(self, message: wire.Nudge | wire.Verdict) -> None:
        """Controllers write all the time: as in the process, a lost race is decided anew."""
        await handlers.decide(self.router, message, lambda: None)

    async def until(self, phase: str, timeout: float = 60.0) -> None:
        """Play on, each tick judged good as soon as its checks could be, until the phase is reached and at rest."""
        async with asyncio.timeout(timeout):
            while True:
                await self.look()
                tick = json.mapping(self.canary, "status", "serinus", "tick")
                if json.text(self.canary, "status", "phase") == phase and not tick:
                    return
                stage = json.text(self.canary, "status", "serinus", "stage")
                if tick and stage not in {"readying", "copying"}:
                    await self._judge()
                else:
                    await asyncio.sleep(0.05)

    async def _judge(self) -> None:
        tick = self.bus.ticks[NAMESPACE, "podinfo"]
        self.clock.reach(tick.tick.due)
        checks = ()
        verdict = wire.Verdict(
            id=f"verdict/{tick.id}", canary=tick.canary, tick=tick.tick, purpose=tick.question.purpose,
            outcome=wire.Outcome.PASS, checks=checks,
        )  # fmt: skip
        await self.handle(verdict)

    def weights(self) -> dict[str, int]:
        route = self.caches.get(kinds.APISIX_ROUTE, NAMESPACE, "podinfo-podinfo-canary")
        rule = json.items(route, "spec", "http")[0]
        return {each["serviceName"]: each["weight"] for each in rule["backends"]}


@pytest.fixture
async def writes() -> Counter[str]:
    """What the router asked of the API server, but for reads."""
    return Counter()


@pytest.fixture(params=[embedded, pytest.param(real, marks=pytest.mark.cluster)], ids=lambda each: str(each.__name__))
async def cluster(request: pytest.FixtureRequest, tmp_path: Path, writes: Counter[str]) -> AsyncIterator[Cluster]:
    async with request.param(tmp_path / "server") as server, server.api() as api:
        await prepare(api)
        access = await opened(
            server, tmp_path, lambda verb, kind, outcome, _: writes.update([f"{verb} {kind} {outcome}"])
        )
        async with FakeKubelet(server.url, server.admin_token, server.ca_file):
            made = Cluster(api, access)
            following = asyncio.create_task(made.caches.run())
            await made.caches.wait_synced()
            yield made
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await access.close()


async def prepare(api: Api) -> None:
    await install(api)
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await api.until(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default", lambda _: True)
    deployment, canary = guide("deployment"), guide("canary")
    deployment["spec"]["minReadySeconds"] = 0
    volume = {"name": "colors", "configMap": {"name": "colors"}}
    deployment["spec"]["template"]["spec"]["volumes"] = [volume]
    canary["spec"]["autoscalerRef"] = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "name": "podinfo",
    }
    canary["spec"]["revertOnDeletion"] = True
    route = guide("route")
    route["spec"]["http"][0]["plugins"].append({"name": "limit-count", "enable": True, "config": {"count": 100}})
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "colors"}, "data": {"color": "red"}}
    for kind, obj in (
        (kinds.CONFIG_MAP, config), (kinds.DEPLOYMENT, deployment), (kinds.AUTOSCALER, guide("hpa")),
        (kinds.APISIX_ROUTE, route), (kinds.CANARY, canary),
    ):  # fmt: skip
        await api.create(kind.path(NAMESPACE), obj)


def changes(writes: Counter[str]) -> dict[str, int]:
    return {what: count for what, count in writes.items() if what.split()[0] not in {"get", "list", "watch"}}


async def released(cluster: Cluster, image: str) -> None:
    path = kinds.DEPLOYMENT.path(NAMESPACE, "podinfo")
    template = copy.deepcopy((await cluster.api.get(path))["spec"]["template"])
    template["spec"]["containers"][0]["image"] = image
    answer = await cluster.api.patch(path, {"spec": {"template": template}})
    await cluster.caches.current(kinds.DEPLOYMENT, NAMESPACE, "podinfo", json.version(answer), 5.0)


async def test_a_rollout_and_nothing_written_that_is_as_wanted(cluster: Cluster, writes: Counter[str]) -> None:
    async with asyncio.timeout(10):
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
    async with asyncio.timeout(10):
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

    await cluster.api.delete(path)
    async with asyncio.timeout(30):
        while cluster.canary:
            await cluster.look()
            await asyncio.sleep(0.05)
    target = await cluster.api.get(kinds.DEPLOYMENT.path(NAMESPACE, "podinfo"))
    assert target["spec"]["replicas"] >= 1
    assert [event.data.message for event in cluster.bus.events()][-1] == "Terminated canary podinfo.test"
