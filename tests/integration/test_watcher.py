"""Watchers on a real bus over the API emulator: everything is told, once, whatever goes away meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from sandbox.nats import NatsServer
from shared.kube import kinds
from shared.kube.json import Json
from tests.integration import bus_stage
from tests.integration.bus_stage import as_user, until
from tests.integration.watcher_stage import Heard, World, cluster, doubled, ready, short, watcher
from tests.unit.runtime.running import running

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with bus_stage.nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture
async def heard(nats: NatsServer) -> AsyncIterator[Heard]:
    async with as_user(nats, "admin") as admin:
        await admin.purge("INBOX")
        found = Heard(admin)
        await found.now()
        yield found


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with cluster() as found:
        yield found


def service(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "test", "name": name},
        "spec": {"ports": [{"port": 80, "targetPort": 9898}], "selector": {"app": name}},
    }


def config(kind: str, name: str, **fields: object) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"namespace": "test", "name": name}, **fields}


def tracking(config_map: str, secret: str) -> Json:
    """A patch that lets the target use these."""
    sources = [{"configMapRef": {"name": config_map}}, {"secretRef": {"name": secret}}]
    container = {"name": "podinfod", "image": "ghcr.io/stefanprodan/podinfo:6.0.0", "envFrom": sources}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


async def test_two_replicas_tell_everything_once(nats: NatsServer, heard: Heard, world: World) -> None:
    await world.guide("deployment", "hpa", "route", "metric-template")
    async with watcher(nats, world.server.url) as one, watcher(nats, world.server.url) as two:
        await ready(one, two)
        assert await heard.now() == []
        (canary,) = await world.guide("canary")
        (fact,) = await heard.of("Canary/podinfo")
        assert (fact.canary.uid, fact.canary.namespace, fact.canary.name) == (
            canary["metadata"]["uid"],
            "test",
            "podinfo",
        )
        for name in ("podinfo", "podinfo-primary", "podinfo-canary"):
            await world.apply(service(name))
        await heard.of("Service/podinfo", "Service/podinfo-primary", "Service/podinfo-canary",
                       "EndpointSlice/" + await slice_of(world, "podinfo-canary"),
                       "EndpointSlice/" + await slice_of(world, "podinfo-primary"))  # fmt: skip
        await world.apply(config("ConfigMap", "settings", data={"color": "blue"}), config("ConfigMap", "unrelated"))
        await world.apply(config("Secret", "keys", type="Opaque", data={"key": "aHVudGVyMg=="}))
        await world.patch(kinds.DEPLOYMENT, "podinfo", tracking("settings", "keys"))
        await heard.of("Deployment/podinfo")
        await world.patch(kinds.CONFIG_MAP, "settings", {"data": {"color": "red"}})
        await world.patch(kinds.SECRET, "keys", {"data": {"key": "czNjcjN0"}})
        checksums = {short(fact): fact.checksum for fact in await heard.of("ConfigMap/settings", "Secret/keys")}
        assert all(len(checksums[name] or "") == 16 for name in ("ConfigMap/settings", "Secret/keys"))
        await world.apply(config("ConfigMap", "settings-primary"), config("Secret", "keys-primary", type="Opaque"))
        await world.delete(kinds.CONFIG_MAP, "settings-primary")
        await world.delete(kinds.SECRET, "keys-primary")
        await world.patch(kinds.APISIX_ROUTE, "podinfo", {"spec": {"http": None}})
        await world.patch(kinds.AUTOSCALER, "podinfo", {"spec": {"maxReplicas": 5}})
        await world.delete(kinds.SERVICE, "podinfo-canary")
        await world.patch(kinds.CANARY, "podinfo", {"metadata": {"annotations": {"serinus.dev/request": "pause"}}})
        await world.delete(kinds.CANARY, "podinfo")
        await heard.of(
            "-ConfigMap/settings-primary", "-Secret/keys-primary", "ApisixRoute/podinfo",
            "HorizontalPodAutoscaler/podinfo", "-Service/podinfo-canary", "-Canary/podinfo",
        )  # fmt: skip
        told = [short(fact) for fact in heard.facts]
        assert "ConfigMap/unrelated" not in told
        assert "MetricTemplate/not-found-percentage" not in told
        assert doubled(heard.facts) == []
        assert not any(b"hunter2" in fact.model_dump_json().encode() for fact in heard.facts)
        for replica in (one, two):
            assert not replica.health.silent()


async def slice_of(world: World, service_name: str) -> str:
    """The EndpointSlice that the controllers made for a Service."""
    label = f"kubernetes.io/service-name={service_name}"
    path = kinds.ENDPOINT_SLICE.path("test")
    found = await world.api.until(path, lambda listed: bool(listed["items"]), labelSelector=label)
    name: str = found["items"][0]["metadata"]["name"]
    return name


async def test_the_routers_own_writes_are_no_news(nats: NatsServer, heard: Heard, world: World) -> None:
    """Else every commit would wake the router again."""
    await world.guide("deployment", "canary")
    async with watcher(nats, world.server.url) as one:
        await ready(one)
        await heard.of("Canary/podinfo", "Deployment/podinfo")
        path = f"{kinds.CANARY.path('test', 'podinfo')}/status"
        for weight in (10, 20):
            await world.api.patch(path, {"status": {"canaryWeight": weight}}, fieldManager="serinus-router")
        await world.api.patch(path, {"status": {"phase": "Failed"}}, fieldManager="flagger")
        await world.apply(service("podinfo"))
        facts = await heard.of("Canary/podinfo", "Service/podinfo")
        assert sorted(map(short, facts)) == ["Canary/podinfo", "Service/podinfo"]


async def test_an_idle_cluster_costs_no_request_and_every_request_only_reads(
    nats: NatsServer, heard: Heard, world: World
) -> None:
    await world.guide("deployment", "route", "canary")
    async with watcher(nats, world.server.url) as one:
        await ready(one)
        await heard.of("Canary/podinfo", "Deployment/podinfo")
        await until(lambda: world.asked("serinus-watcher")["watch"] >= 11)  # each a moment after its list
        before = world.asked("serinus-watcher")
        await world.apply(service("podinfo"))
        await heard.of("Service/podinfo")
        assert world.asked("serinus-watcher") == before
        assert set(before) == {"list", "watch"}
        assert before["watch"] == before["list"] == 11


async def test_what_changed_while_the_api_was_away_is_told_when_it_is_back(
    nats: NatsServer, heard: Heard, world: World
) -> None:
    """It comes back with its past forgotten: only lists can tell what was deleted."""
    await world.guide("deployment", "route", "canary")
    await world.apply(service("podinfo"), service("podinfo-primary"))
    async with watcher(nats, world.server.url) as one:
        await ready(one)
        await heard.of("Canary/podinfo", "Deployment/podinfo")
        await world.server.stop()
        world.unseen_patch(kinds.APISIX_ROUTE, "podinfo", {"spec": {"http": []}})
        world.unseen_deletion(kinds.SERVICE, "podinfo")
        world.server.forget()
        await world.server.start()
        facts = await heard.of("-Service/podinfo", "ApisixRoute/podinfo")
        await ready(one)
        assert doubled(facts) == []
        assert sorted(map(short, facts)) == ["-Service/podinfo", "ApisixRoute/podinfo"]


async def test_facts_survive_an_outage_of_the_bus_and_old_ones_make_room(tmp_path: Path, world: World) -> None:
    await world.guide("deployment", "route", "canary")
    async with NatsServer(tmp_path / "nats", more=bus_stage.ADMINS) as nats:
        await bus_stage.bootstrapped(nats)
        async with watcher(nats, world.server.url) as one:
            async with as_user(nats, "admin") as admin:
                heard = Heard(admin)
                await ready(one)
                await heard.of("Canary/podinfo", "Deployment/podinfo")
            await nats.stop()
            await until(lambda: "nats" in one.health.missing(), "it never noticed")
            for number in range(30):
                await world.patch(kinds.APISIX_ROUTE, "podinfo", {"metadata": {"labels": {"n": str(number)}}})
            latest = await world.patch(kinds.DEPLOYMENT, "podinfo", {"spec": {"replicas": 3}})
            await world.apply(service("podinfo"))
            await world.delete(kinds.SERVICE, "podinfo")
            await nats.start()
            async with as_user(nats, "admin") as admin:
                facts = await heard.by(admin).of("ApisixRoute/podinfo", "Deployment/podinfo", "-Service/podinfo")
            await ready(one)
    told = [short(fact) for fact in facts]
    assert told.count("ApisixRoute/podinfo") <= 2  # one may have been under way when the bus went
    assert told.count("Service/podinfo") <= 1
    assert doubled(facts) == []
    (deployed,) = [fact for fact in facts if short(fact) == "Deployment/podinfo"][-1:]
    assert int(deployed.object.resource_version) >= int(latest["metadata"]["resourceVersion"])


async def test_who_comes_back_looks_for_what_vanished_however_soon(
    nats: NatsServer, heard: Heard, world: World
) -> None:
    await world.guide("deployment", "route", "canary")
    await world.apply(service("podinfo"))
    async with watcher(nats, world.server.url) as one:
        await ready(one)
        await heard.of("Canary/podinfo", "Deployment/podinfo")
    async with watcher(nats, world.server.url) as one:
        await ready(one)
        await world.apply(service("podinfo-canary"))
        await heard.of("Service/podinfo-canary")
        assert len([fact for fact in heard.facts if short(fact) == "Canary/podinfo"]) == 1
    await world.delete(kinds.SERVICE, "podinfo")
    async with watcher(nats, world.server.url) as one:
        await ready(one)
        await heard.of("Canary/podinfo")


async def test_a_process_waits_for_the_api_and_the_bus_and_says_so(tmp_path: Path) -> None:
    nats = NatsServer(tmp_path / "nats", more=bus_stage.ADMINS)
    async with cluster() as world, aiohttp.ClientSession() as session:
        await world.guide("deployment", "canary")
        await world.server.stop()
        env = nats.env("watcher") | {"SERINUS_KUBE_URL": world.server.url, "SERINUS_HTTP_HOST": "127.0.0.1"}
        async with running("services.watcher", SERINUS_HTTP_PORT="0", **env) as child:
            url = f"http://127.0.0.1:{await child.port()}"

            async def missing() -> set[str]:
                async with session.get(f"{url}/readyz") as answer:
                    return set((await answer.json()).get("missing", ()))

            await child.said("canaries can't be followed")
            assert await missing() == {"kubernetes", "nats", "start"}
            async with session.get(f"{url}/livez") as answer:
                assert answer.status == 200
            await world.server.start()
            async with nats:
                await bus_stage.bootstrapped(nats)
                async with as_user(nats, "admin") as admin:
                    await Heard(admin).of("Canary/podinfo", "Deployment/podinfo")
                async with asyncio.timeout(40):
                    while await missing():
                        await asyncio.sleep(0.02)
                child.process.terminate()
                assert await child.ended() == 0


async def test_a_namespaced_watcher_knows_its_own_only(nats: NatsServer, heard: Heard, world: World) -> None:
    await world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    await world.guide("deployment")
    async with watcher(nats, world.server.url, watch_namespace="other, test") as one:
        await ready(one)
        (canary,) = await world.guide("canary")
        elsewhere = {**canary, "metadata": {"namespace": "default", "name": "podinfo"}}
        await world.apply(elsewhere, elsewhere | {"metadata": {"namespace": "other", "name": "mine"}})
        facts = await heard.of("Canary/podinfo", "Canary/mine")
        assert {fact.canary.namespace for fact in facts} == {"test", "other"}
        paths = {each.path for each in world.server.requests if each.agent == "serinus-watcher"}
        assert all("/namespaces/test/" in path or "/namespaces/other/" in path for path in paths)
