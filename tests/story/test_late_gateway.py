"""Clients of a gateway that hears of everything up to five seconds late, while pods end for good: a promotion and a rollback.

Time runs ten times as fast here: intervals, drains, lags and ends of pods keep their proportions. All of it is in one event
loop, so a busy machine delays them alike.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import pytest

from sandbox.application import ApplicationRunner
from sandbox.controlplane import pods
from sandbox.controlplane.api import Api
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.gateway import controller
from sandbox.gateway.server import Gateway
from sandbox.network import Network
from sandbox.traffic import Traffic
from services.router.parse import REQUEST
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.runtime import tasks
from tests.story.played import NAMESPACE, Cluster, JumpingClock, released
from tests.story.servers import APISIX, LINES, embedded, install, opened
from tests.story.theatre import guide

TIMES: Final = 10
RATE: Final = 40.0
LATEST: Final = 5.0 / TIMES
BORN: Final = 3.0 / TIMES
"""When the upstreams of a new rule are there, on controllers 2.x."""
DRAIN: Final = timedelta(seconds=10)
GATEWAYS: Final = {"2.15.3": (APISIX, 0.0), "3.18.0": (LINES["2.2"], BORN)}
"""Where rules come and go (session affinity), those of the newer one don't serve from their first moment on."""


class QuickClock(JumpingClock):
    """Ten seconds a second."""

    def __init__(self) -> None:
        super().__init__()
        self._began = datetime.now(UTC)

    def now(self) -> datetime:
        return self._began + TIMES * (datetime.now(UTC) - self._began)


def manifests(ends_after: float, version: str) -> list[tuple[kinds.Kind, Json]]:
    """Two replicas that go on for so long once their end has begun, and then are gone."""
    deployment, canary = guide("deployment"), guide("canary")
    deployment["spec"].update(minReadySeconds=0, replicas=2)
    deployment["spec"]["strategy"]["rollingUpdate"] = {"maxUnavailable": 0, "maxSurge": 1}
    deployment["spec"]["template"]["metadata"]["annotations"][pods.ENDS_AFTER] = str(ends_after)
    canary["spec"]["analysis"].update(stepWeight=25, metrics=[], webhooks=[])
    if GATEWAYS[version][1]:
        canary["spec"]["analysis"]["sessionAffinity"] = {"cookieName": "side"}
    return [(kinds.APISIX_ROUTE, guide("route")), (kinds.DEPLOYMENT, deployment), (kinds.CANARY, canary)]


@contextlib.asynccontextmanager
async def playing(folder: Path, version: str, ends_after: float) -> AsyncIterator[tuple[Cluster, Gateway]]:
    """The guide's objects behind such a gateway, and pods that answer."""
    network, (routes, born) = Network(), GATEWAYS[version]
    lag = partial(Random(5).uniform, 0.0, LATEST)
    async with embedded(folder) as server, server.api() as api, contextlib.AsyncExitStack() as stack:
        await _begin(api, routes)
        access = await opened(server, folder)
        stack.push_async_callback(access.close)
        runner = ApplicationRunner(network, {})
        await stack.enter_async_context(FakeKubelet(server.url, server.admin_token, runners=[runner]))
        gateway = Gateway(network, version=version, lag=lag, upstream_lag=born)
        await stack.enter_async_context(gateway)
        made = Cluster(server, api, access, manifests(ends_after, version), DRAIN, QuickClock())
        following = [made.caches.run(), controller.follow(api, gateway, reports=True)]
        stack.push_async_callback(tasks.ended, *map(asyncio.create_task, following))
        await made.caches.wait_synced()
        for kind, obj in made.manifests:
            await api.create(kind.path(NAMESPACE), obj)
        await made.caches.current(kinds.CANARY, NAMESPACE, "podinfo", "1", 5.0)
        yield made, gateway


async def _begin(api: Api, routes: Path) -> None:
    await install(api, routes)
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await api.until(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default", lambda _: True)


async def reached(cluster: Cluster, phase: str, weight: int = 0) -> None:
    """Every check good, and none before its time."""
    async with asyncio.timeout(120):
        while True:
            await cluster.look()
            status = json.mapping(cluster.canary, "status")
            tick = json.mapping(status, "serinus", "tick")
            there = (json.text(status, "phase"), json.number(status, "canaryWeight")) == (phase, weight)
            if there and (weight or not tick):
                return
            ripe = tick and cluster.bus.ticks[NAMESPACE, "podinfo"].tick.due <= cluster.clock.now()
            if not (ripe and await cluster.judge()):
                await asyncio.sleep(0.05)


async def lag_passed(traffic: Traffic) -> None:
    """And as many have asked since."""
    await traffic.more(round(2 * LATEST * RATE))


GOOD, OTHER = "stefanprodan/podinfo:6.0.1", "stefanprodan/podinfo:6.0.2"


@pytest.mark.parametrize("version", GATEWAYS)
async def test_nobody_meets_a_pod_that_is_gone(version: str, tmp_path: Path) -> None:
    async with playing(tmp_path, version, LATEST + 0.5) as (cluster, gateway):
        await reached(cluster, "Initialized")
        async with Traffic(gateway, "app.example.com", rate=RATE) as traffic:
            await released(cluster, GOOD)
            await reached(cluster, "Succeeded")
            await lag_passed(traffic)
            await released(cluster, OTHER)
            await reached(cluster, "Progressing", 25)
            await lag_passed(traffic)
            path = kinds.CANARY.path(NAMESPACE, "podinfo")
            written = await cluster.api.patch(path, {"metadata": {"annotations": {REQUEST: "abort"}}})
            await cluster.caches.current(kinds.CANARY, NAMESPACE, "podinfo", json.version(written), 5.0)
            await reached(cluster, "Failed")
            await lag_passed(traffic)
        assert [answer for answer in traffic.answers if answer.failed] == []
        assert len(traffic.answers) > 150
