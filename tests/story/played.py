"""A router in this process against an API server over HTTP, with controllers and our caches. Only the bus and the judge are
in memory.
"""

import asyncio
import contextlib
import copy
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbox.apiserver.server import ApiServer
from sandbox.controlplane.api import Api
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.controlplane.server import ControlPlane
from services.router import handlers
from services.router.app import Kept, followed
from services.router.index import Index
from services.router.objects import Options
from services.router.reconcile import Reconciler, Rules
from services.router.world import WATCHED, World
from shared.kube import door, json, kinds
from shared.kube.caches import Caches
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire import messages as wire
from tests.fakes.bus import FakeBus
from tests.story.servers import APISIX, install, opened
from tests.story.theatre import guide

NAMESPACE = "test"
Server = Callable[[Path], AbstractAsyncContextManager[ApiServer | ControlPlane]]


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

    def __init__(
        self,
        server: ApiServer | ControlPlane,
        api: Api,
        access: door.Cluster,
        manifests: list[tuple[Kind, Json]],
        drain: timedelta,
        clock: JumpingClock | None = None,
    ) -> None:
        self.server, self.api, self.access, self.manifests = server, api, access, manifests
        self.bus, self.clock = FakeBus(), clock or JumpingClock()
        index = Index()
        self.caches = Caches(access, followed(tracking=True), on_change=index.changed)
        world = World({kind: Kept(self.caches, kind) for kind in WATCHED}, access, tracking=True, index=index)
        rules = Rules(
            default_provider="apisix",
            metrics_server="http://prometheus",
            drain=drain,
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
                if not await self.judge():
                    await asyncio.sleep(0.05)

    async def judge(self, *, shut: bool = False) -> bool:
        """The pending tick is judged good, but for its gates if they are shut; False where there is none, or a workload
        is waited for."""
        stage = json.text(self.canary, "status", "serinus", "stage")
        if not json.mapping(self.canary, "status", "serinus", "tick") or stage in {"readying", "copying"}:
            return False
        tick = self.bus.ticks[NAMESPACE, "podinfo"]
        self.clock.reach(tick.tick.due)
        gates = tick.question.gates if shut else ()
        checks = tuple(
            wire.Check(name=gate.name, kind=wire.CheckKind.GATE, outcome=wire.Outcome.FAIL) for gate in gates
        )
        verdict = wire.Verdict(
            id=f"verdict/{tick.id}", canary=tick.canary, tick=tick.tick, purpose=tick.question.purpose,
            outcome=wire.Outcome.PASS, checks=checks,
        )  # fmt: skip
        await self.handle(verdict)
        return True

    def weights(self) -> dict[str, int]:
        route = self.caches.get(kinds.APISIX_ROUTE, NAMESPACE, "podinfo-podinfo-canary")
        rule = json.items(route, "spec", "http")[0]
        return {each["serviceName"]: each["weight"] for each in rule["backends"]}


@contextlib.asynccontextmanager
async def playing(
    serve: Server,
    folder: Path,
    writes: Counter[str],
    *,
    routes: Path = APISIX,
    drain: timedelta = timedelta(seconds=10),
) -> AsyncIterator[Cluster]:
    """The guide's objects on a server whose ApisixRoutes are defined by `routes`, and somebody who follows them."""
    async with serve(folder / "server") as server, server.api() as api:
        manifests = await prepare(api, routes)
        access = await opened(
            server, folder, lambda verb, kind, outcome, _: writes.update([f"{verb} {kind} {outcome}"])
        )
        async with FakeKubelet(server.url, server.admin_token, server.ca_file):
            made = Cluster(server, api, access, manifests, drain)
            following = asyncio.create_task(made.caches.run())
            await made.caches.wait_synced()
            yield made
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await access.close()


async def prepare(api: Api, routes: Path) -> list[tuple[Kind, Json]]:
    """Creates what the guide has, with a config, an autoscaler and an integer in a plugin; answers the manifests."""
    await install(api, routes)
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
    route["spec"]["ingressClassName"] = "apisix"
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "colors"}, "data": {"color": "red"}}
    manifests = [
        (kinds.CONFIG_MAP, config), (kinds.DEPLOYMENT, deployment), (kinds.AUTOSCALER, guide("hpa")),
        (kinds.APISIX_ROUTE, route), (kinds.CANARY, canary),
    ]  # fmt: skip
    for kind, obj in manifests:
        await api.create(kind.path(NAMESPACE), obj)
    return manifests


def changes(writes: Counter[str]) -> dict[str, int]:
    return {what: count for what, count in writes.items() if what.split()[0] not in {"get", "list", "watch"}}


async def released(cluster: Cluster, image: str) -> None:
    path = kinds.DEPLOYMENT.path(NAMESPACE, "podinfo")
    template = copy.deepcopy((await cluster.api.get(path))["spec"]["template"])
    template["spec"]["containers"][0]["image"] = image
    answer = await cluster.api.patch(path, {"spec": {"template": template}})
    await cluster.caches.current(kinds.DEPLOYMENT, NAMESPACE, "podinfo", json.version(answer), 60.0)
