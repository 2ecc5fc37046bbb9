"""The router on fakes: one canary, the guide's manifests, a clock of its own, and a process that may die anywhere."""

import copy
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from services.router.classes import Classes
from services.router.objects import Options
from services.router.ports import Cache
from services.router.reconcile import Committed, Reconciler, Rules
from services.router.world import World
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire import messages as wire
from tests.fakes.bus import FakeBus
from tests.fakes.cluster import ALL_KINDS, Crash, FakeCache, FakeCluster

GUIDE = Path(__file__).parent.parent / "guide"
START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


def guide(name: str) -> Json:
    """A manifest of the guide by file name."""
    loaded: Json = yaml.safe_load((GUIDE / f"{name}.yaml").read_text())
    loaded.setdefault("metadata", {}).setdefault("namespace", "test")
    return loaded


class Theatre:
    """`fact()` and `tick()` deliver messages; a crash starts a new process and delivers the same message again."""

    def __init__(self, canary: Json | None = None, extra: Iterable[Json] = ()) -> None:
        self.cluster, self.bus, self.clock = FakeCluster(), FakeBus(), FakeClock()
        for each in (guide("deployment"), guide("route"), canary or guide("canary"), *extra):
            self.cluster.put(each)
        self.commits: list[Committed] = []
        self.stale = 0
        self.schema_problem = ""
        self.crashes = 0
        self._facts = 0
        self._told: set[tuple[str, str, str]] = set()
        self._heard = 0
        self.unready: set[str] = set()
        self.broken: set[str] = set()
        self.cut_off_for: timedelta | None = None
        self.classes: Classes | None = None
        self.reconciler = self._process()

    def _process(self, served: Iterable[Json] = ()) -> Reconciler:
        return self.replica(FakeCache(self.cluster, kinds.CANARY, served))

    def replica(self, canaries: Cache) -> Reconciler:
        """A router that sees Canaries so; beside the one that `deliver` delivers to, if it's kept."""
        caches: dict[Kind, Cache] = {kind: self.cluster.cache(kind) for kind in ALL_KINDS}
        caches[kinds.CANARY] = canaries
        world = World(caches, self.cluster, tracking=True, index=self.cluster.index, classes=lambda: self.classes)
        rules = Rules(
            default_provider="apisix",
            metrics_server="http://prometheus:9090",
            drain=timedelta(seconds=10),
            options=Options(),
            cut_off_for=self.cut_off_for,
        )
        return Reconciler(
            world, self.cluster, self.bus, self.clock, rules,
            schema_problem=lambda: self.schema_problem, on_commit=self.commits.append, on_stale=self._count_stale,
        )  # fmt: skip

    def restart(self, served: Iterable[Json] = ()) -> None:
        """Another process, with the settings as they are now. It may have been served Canaries otherwise than they are
        stored."""
        self.reconciler = self._process(served)

    def _count_stale(self) -> None:
        self.stale += 1

    @property
    def canary(self) -> Json:
        return self.cluster.of("Canary", "podinfo")

    @property
    def phase(self) -> str:
        return str(self.canary["status"]["phase"])

    @property
    def replicas(self) -> int:
        """Of the target."""
        return int(self.cluster.of("Deployment", "podinfo")["spec"]["replicas"])

    @property
    def ref(self) -> wire.CanaryRef:
        return wire.CanaryRef(namespace="test", name="podinfo", uid="uid-Canary-podinfo")

    async def deliver(self, message: wire.Fact | wire.Verdict | wire.Nudge) -> None:
        self.cluster.time = self.stamp()
        for _ in range(50):
            try:
                await self.reconciler.handle(message)
                return
            except Crash:
                self.crashes += 1
                self.reconciler = self._process()
        raise AssertionError("the process dies for ever")

    def stamp(self) -> str:
        """The clock as Kubernetes writes it."""
        return self.clock.now().replace(microsecond=0).isoformat().replace("+00:00", "Z")

    async def fact(self) -> None:
        """The watcher tells of every object, as it does when it starts, and of those that went."""
        there = {key: json.version(each) for key, each in self.cluster.objects.items()}
        gone = {key: "0" for key in self._told if key not in there}
        self._told = set(there)
        for (kind, namespace, name), version in {**there, **gone}.items():
            self._facts += 1
            seen = wire.ObjectRef(kind=kind, namespace=namespace, name=name, resource_version=version)
            await self.deliver(wire.Fact(id=f"fact/{self._facts}", canary=self.ref, object=seen))

    async def swept(self) -> None:
        """The sweep comes by."""
        if reason := await self.look():
            self._facts += 1
            await self.deliver(wire.Nudge(id=f"nudge/{self._facts}", canary=self.ref, reason=reason))

    async def settle(self) -> None:
        """Workloads become ready, and the watcher says so, until nothing changes."""
        for _ in range(10):
            before = len(self.cluster.writes)
            self.cluster.time = self.stamp()
            self.cluster.settle(self.unready, self.broken)
            await self.fact()
            if len(self.cluster.writes) == before:
                return
        raise AssertionError("never settles")

    async def tick(
        self, outcome: wire.Outcome = wire.Outcome.PASS, checks: Iterable[wire.Check] = (), *, twice: bool = False
    ) -> wire.Tick:
        """The pending tick comes due and is judged so."""
        tick = self.bus.ticks[self.ref.namespace, self.ref.name]
        self.clock.time = max(self.clock.time, tick.tick.due)
        verdict = wire.Verdict(
            id=f"verdict/{tick.id}", canary=tick.canary, tick=tick.tick, purpose=tick.question.purpose,
            outcome=wire.Outcome.PASS if tick.question.purpose is wire.Purpose.TIMER else outcome,
            checks=() if tick.question.purpose is wire.Purpose.TIMER else tuple(checks),
        )  # fmt: skip
        for _ in range(2 if twice else 1):
            await self.deliver(verdict)
        return tick

    def messages(self) -> list[str]:
        return [event.data.message for event in self.bus.events()]

    def release(self, image: str = "stefanprodan/podinfo:6.0.1") -> None:
        """`kubectl set image`"""
        template = copy.deepcopy(self.cluster.of("Deployment", "podinfo")["spec"]["template"])
        template["spec"]["containers"][0]["image"] = image
        self.cluster.edit("Deployment", "podinfo", {"spec": {"template": template}})

    def heard(self) -> list[str]:
        """Texts since the last call."""
        texts = self.messages()
        new, self._heard = texts[self._heard :], len(texts)
        return new

    def alerts(self) -> list[tuple[str, str]]:
        """(severity, message) of all alerts."""
        return [(each.alert.severity, each.alert.message) for each in self.bus.notices() if each.alert]

    def ask(self, request: str) -> None:
        """`kubectl annotate canary/podinfo serinus.dev/request=…`"""
        self.edit({"metadata": {"annotations": {"serinus.dev/request": request}}})

    def edit(self, change: Json) -> None:
        """Somebody edits the Canary."""
        self.cluster.edit("Canary", "podinfo", change)

    async def wait(self, seconds: float) -> None:
        """Time passes, and somebody looks."""
        self.clock.time += timedelta(seconds=seconds)
        await self.fact()
        await self.swept()

    async def look(self) -> str:
        """What the sweep would find."""
        return await self.reconciler.due_for_a_look(self.canary, self.clock.now(), timedelta(seconds=5))

    def asks(self) -> str:
        """What the pending tick asks."""
        return str(self.canary["status"]["serinus"].get("tick", {}).get("purpose", ""))

    def weights(self) -> tuple[int, int]:
        backends = self.cluster.of("ApisixRoute", "podinfo-podinfo-canary")["spec"]["http"][0]["backends"]
        return backends[0]["weight"], backends[1]["weight"]


def check(name: str, kind: wire.CheckKind, outcome: wire.Outcome, message: str = "") -> wire.Check:
    return wire.Check(name=name, kind=kind, outcome=outcome, message=message)


async def progressing(canary: Json | None = None, extra: Iterable[Json] = (), steps: int = 1) -> Theatre:
    """The guide's canary with a new image, after so many passed checks."""
    theatre = await initialized(canary, extra)
    theatre.release()
    await theatre.settle()
    for _ in range(steps):
        await theatre.tick()
    theatre.heard()
    return theatre


async def initialized(canary: Json | None = None, extra: Iterable[Json] = ()) -> Theatre:
    """The guide's canary at rest."""
    theatre = Theatre(canary, extra)
    await theatre.fact()
    await theatre.tick(checks=[PROVIDERS])
    await theatre.settle()
    await theatre.tick()
    assert theatre.canary["status"]["phase"] == "Initialized"
    return theatre


PROVIDERS = wire.Check(
    name="prometheus",
    kind=wire.CheckKind.PROVIDER,
    outcome=wire.Outcome.PASS,
)
Judge = Callable[[wire.Tick], wire.Outcome]
