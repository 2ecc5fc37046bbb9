"""From changes to facts on a bus that may be away, over an API server that may be away too."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from services.watcher import handlers
from services.watcher.handlers import Handlers
from services.watcher.outbox import Outbox
from shared.errors import Never, RetryLater
from shared.kube import kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire.messages import Fact, Message
from tests.unit.watcher.objects import canary, deployment, kept, obj


class FakeBus:
    """Stores, unless it's away or refuses."""

    def __init__(self) -> None:
        self.stored: list[Fact] = []
        self.subjects: list[str] = []
        self.attempts = 0
        self.away = False
        self.refuses: set[str] = set()

    async def publish(self, subject: str, message: Message, *, stream: str, message_id: str) -> None:
        await asyncio.sleep(0)
        self.attempts += 1
        assert isinstance(message, Fact)
        assert (stream, message_id) == ("INBOX", message.id)
        if self.away:
            raise RetryLater("no bus")
        if message.object.name in self.refuses:
            raise Never("too large")
        self.stored.append(message)
        self.subjects.append(subject)

    def told(self) -> list[str]:
        return [
            ("-" if fact.object.deleted else "")
            + f"{fact.object.kind}/{fact.object.name}@{fact.object.resource_version}"
            for fact in self.stored
        ]


class FakeCluster:
    """Reads ConfigMaps and Secrets, unless it's away."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.away = False
        self.refuses = False
        self.reads = 0

    def put(self, kind: Kind, name: str, version: int, data: dict[str, str], **fields: Any) -> None:
        self.objects[kind.kind, name] = obj(kind, name, version, data=data, **fields)

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        self.reads += 1
        if self.away:
            raise RetryLater("no API server")
        if self.refuses:
            raise Never("unusable")
        found = self.objects.get((kind.kind, name))
        return dict(found) if found else None


class World:
    def __init__(self) -> None:
        self.bus = FakeBus()
        self.cluster = FakeCluster()
        self.latencies: list[float] = []
        self.ids: list[str] = []
        self.outbox = Outbox(partial(handlers.store, self.bus), lambda kind, seconds: self.latencies.append(seconds))
        self.ears = Handlers(cluster=self.cluster, outbox=self.outbox, default_provider="apisix")

    def canary(self, old: Json | None, new: Json | None) -> None:
        self.ears.changed(kinds.CANARY, old, new)

    def deployment(self, old: Json | None, new: Json | None) -> None:
        self.ears.changed(kinds.DEPLOYMENT, old, new)

    async def settled(self) -> list[str]:
        """What was told once nothing waits any more."""
        async with asyncio.timeout(30):
            while len(self.outbox):
                await asyncio.sleep(0.001)
        told = self.bus.told()
        self.ids += [fact.id for fact in self.bus.stored]
        self.bus.stored.clear()
        return told

    async def told(self, *facts: str) -> None:
        """Once exactly these were told, in this order."""
        async with asyncio.timeout(30):
            while len(self.bus.stored) < len(facts):
                await asyncio.sleep(0.001)
        assert self.bus.told() == list(facts)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.outbox.run())
        yield
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with made.running():
        yield made


@pytest.fixture
async def begun(world: World) -> World:
    """One canary with its target, everything told."""
    world.canary(None, canary(10))
    world.deployment(None, deployment(11))
    world.ears.begin(())
    await world.settled()
    return world


async def test_the_beginning(world: World) -> None:
    """Itself, its target, and a config that changed while nobody watched; not one that didn't."""
    world.cluster.put(kinds.CONFIG_MAP, "settings", 5, {"color": "blue"})
    world.cluster.put(kinds.SECRET, "keys", 6, {"value": "czNjcjN0"}, type="Opaque")
    world.deployment(None, deployment(11))
    world.canary(
        None, canary(10, status={"trackedConfigs": {"configmap/settings": "f234cb93c08ad64e", "secret/keys": "old"}})
    )
    world.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "web", 12))
    assert not len(world.outbox)
    world.ears.begin(())
    assert await world.settled() == ["Canary/podinfo@10", "Deployment/podinfo@11", "Secret/keys@6"]


async def test_who_begins_again_tells_what_changed_meanwhile_and_nothing_twice() -> None:
    """The bus drops a repeated id; one look may not hide the next, of a world in which something is gone."""
    service, other = kept(kinds.SERVICE, "web", 12, spec={"ports": [1]}), kept(kinds.SERVICE, "other", 13)

    async def first_id(*objects: Json) -> str:
        again = World()
        async with again.running():
            again.canary(None, canary(10))
            again.ears.begin(objects)
            await again.settled()
        return again.ids[0]

    before = await first_id(canary(10), service)
    assert before == await first_id(service, canary(10), other)
    assert before == await first_id(canary(10), kept(kinds.SERVICE, "web", 14, spec={"ports": [1]}))
    assert before != await first_id(canary(10))
    assert before != await first_id(canary(10), kept(kinds.SERVICE, "web", 14, spec={"ports": [2]}))


async def test_a_canary_of_somebody_else(world: World) -> None:
    world.ears.begin(())
    theirs = canary(1, spec={"provider": "istio"})
    world.canary(None, theirs)
    world.deployment(None, deployment(2))
    world.canary(theirs, canary(3, spec={"provider": "istio", "suspend": True}))
    assert await world.settled() == []
    assert world.ears.canaries == 0


async def test_a_canary_that_changes_hands(begun: World) -> None:
    """Taken from us: one last fact. Given to us: a first one."""
    theirs = canary(20, spec={"provider": "istio"})
    begun.canary(canary(10), theirs)
    begun.deployment(deployment(11), deployment(21, generation=2))
    begun.canary(theirs, canary(22))
    assert await begun.settled() == ["Canary/podinfo@22"]


async def test_a_late_canary_hears_of_itself_only(begun: World) -> None:
    begun.canary(None, canary(20, "late", spec={"targetRef": {"kind": "Deployment", "name": "late"}}))
    assert await begun.settled() == ["Canary/late@20"]


async def test_everything_that_matters_is_told(begun: World) -> None:
    scaled = {"scaleTargetRef": {"kind": "Deployment", "name": "podinfo"}}
    labels = {"labels": {"kubernetes.io/service-name": "web-canary"}}
    begun.ears.changed(kinds.DEPLOYMENT, None, deployment(20, "podinfo-primary"))
    begun.ears.changed(kinds.AUTOSCALER, None, kept(kinds.AUTOSCALER, "unnamed", 21, spec=scaled))
    begun.ears.changed(kinds.ENDPOINT_SLICE, None, kept(kinds.ENDPOINT_SLICE, "web-canary-abc", 22, metadata=labels))
    begun.ears.changed(kinds.APISIX_ROUTE, kept(kinds.APISIX_ROUTE, "route", 9), None)
    begun.ears.changed(kinds.METRIC_TEMPLATE, None, kept(kinds.METRIC_TEMPLATE, "errors", 23, namespace="shared"))
    begun.ears.changed(kinds.METRIC_TEMPLATE, None, kept(kinds.METRIC_TEMPLATE, "errors", 24))
    begun.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "other", 25))
    assert await begun.settled() == [
        "Deployment/podinfo-primary@20", "HorizontalPodAutoscaler/unnamed@21", "EndpointSlice/web-canary-abc@22",
        "-ApisixRoute/route@9", "MetricTemplate/errors@23",
    ]  # fmt: skip
    assert set(begun.bus.subjects) == {"serinus.inbox.test.podinfo"}


async def test_churn_is_not_told(begun: World) -> None:
    begun.deployment(deployment(11), deployment(12, status={"conditions": []}))
    begun.deployment(deployment(12), deployment(13))
    assert await begun.settled() == []


async def test_a_deleted_canary(begun: World) -> None:
    begun.canary(canary(10), None)
    begun.deployment(deployment(11), deployment(12, generation=2))
    assert await begun.settled() == ["-Canary/podinfo@10"]
    assert begun.ears.canaries == 0


async def test_of_two_with_one_target_the_other_hears_when_one_goes(begun: World) -> None:
    begun.canary(None, canary(20, "twin"))
    await begun.settled()
    begun.canary(canary(10), None)
    assert await begun.settled() == ["-Canary/podinfo@10", "-Canary/podinfo@10"]


async def test_a_tracked_config_carries_its_checksum_and_nothing_else(begun: World) -> None:
    begun.cluster.put(kinds.CONFIG_MAP, "settings", 30, {"color": "blue"})
    begun.ears.changed(kinds.CONFIG_MAP, None, kept(kinds.CONFIG_MAP, "settings", 30))
    begun.ears.changed(kinds.CONFIG_MAP, None, kept(kinds.CONFIG_MAP, "unrelated", 31))
    await begun.told("ConfigMap/settings@30")
    (fact,) = begun.bus.stored
    assert fact.checksum == "f234cb93c08ad64e"
    assert "blue" not in fact.model_dump_json()


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "helm.sh/release.v1"},
        {"type": "Opaque", "metadata": {"annotations": {"flagger.app/config-tracking": "disabled"}}},
    ],
)
async def test_an_ignored_config_has_no_checksum(begun: World, fields: dict[str, Any]) -> None:
    begun.cluster.put(kinds.SECRET, "keys", 30, {"a": "Yg=="}, **fields)
    begun.ears.changed(kinds.SECRET, None, kept(kinds.SECRET, "keys", 30))
    await begun.told("Secret/keys@30")
    assert begun.bus.stored[0].checksum is None


async def test_a_new_reference_is_followed_and_an_old_one_no_more(begun: World) -> None:
    begun.cluster.put(kinds.CONFIG_MAP, "others", 30, {})
    begun.cluster.put(kinds.CONFIG_MAP, "settings", 31, {})
    begun.deployment(deployment(11), deployment(12, config="others", generation=2))
    begun.ears.changed(kinds.CONFIG_MAP, None, kept(kinds.CONFIG_MAP, "others", 30))
    begun.ears.changed(kinds.CONFIG_MAP, None, kept(kinds.CONFIG_MAP, "settings", 31))
    assert await begun.settled() == ["Deployment/podinfo@12", "ConfigMap/others@30"]


async def test_facts_wait_for_the_bus_one_per_object(begun: World) -> None:
    begun.bus.away = True
    for version in range(20, 24):
        begun.deployment(deployment(version), deployment(version + 1, generation=version))
        begun.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "web", 1000 + version))
        await asyncio.sleep(0)
    assert len(begun.outbox) == 2
    begun.bus.away = False
    assert sorted(await begun.settled()) == ["Deployment/podinfo@24", "Service/web@1023"]


async def test_a_bus_that_is_away_is_not_stormed(begun: World) -> None:
    begun.bus.away = True
    begun.bus.attempts = 0
    begun.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "web", 20))
    await asyncio.sleep(0.5)
    assert begun.bus.attempts < 8


async def test_an_unreadable_config_holds_up_itself_only(begun: World) -> None:
    begun.cluster.away = True
    begun.cluster.put(kinds.SECRET, "keys", 30, {}, type="Opaque")
    begun.ears.changed(kinds.SECRET, None, kept(kinds.SECRET, "keys", 30))
    begun.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "web", 31))
    await begun.told("Service/web@31")
    begun.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "web", 32))  # doesn't wait for the retry
    await begun.told("Service/web@31", "Service/web@32")
    begun.cluster.away = False
    assert await begun.settled() == ["Service/web@31", "Service/web@32", "Secret/keys@30"]


async def test_a_refused_fact_blocks_nobody(begun: World) -> None:
    begun.bus.refuses.add("route")
    begun.ears.changed(kinds.APISIX_ROUTE, None, kept(kinds.APISIX_ROUTE, "route", 20))
    begun.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "web", 21))
    assert await begun.settled() == ["Service/web@21"]


async def test_a_config_that_nobody_will_ever_read_blocks_nobody(begun: World) -> None:
    begun.cluster.refuses = True
    begun.ears.changed(kinds.SECRET, None, kept(kinds.SECRET, "keys", 30))
    begun.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "web", 31))
    assert await begun.settled() == ["Service/web@31"]


async def test_a_target_that_is_gone_tracks_nothing_for_a_new_canary(begun: World) -> None:
    begun.canary(canary(10), None)
    begun.deployment(deployment(11), None)
    begun.canary(None, canary(20))
    await begun.settled()
    begun.ears.changed(kinds.CONFIG_MAP, None, kept(kinds.CONFIG_MAP, "settings", 30))
    assert await begun.settled() == []


async def test_latency_is_measured(begun: World) -> None:
    loop = asyncio.get_running_loop()
    begun.latencies.clear()
    begin = loop.time()
    begun.ears.changed(kinds.SERVICE, None, kept(kinds.SERVICE, "web", 21))
    await begun.settled()
    assert 0 <= begun.latencies[0] <= loop.time() - begin


async def test_no_desk_is_left_behind(begun: World) -> None:
    assert not begun.outbox._desks
