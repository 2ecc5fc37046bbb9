"""From a Deployment, a Service and an ApisixRoute in a cluster to an answer for the user: pods, network, gateway."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import yaml

from sandbox.apiserver.server import ApiServer
from sandbox.application import ApplicationRunner, Behaviour
from sandbox.controlplane import binaries
from sandbox.controlplane.api import Api, Json
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.controlplane.server import ControlPlane
from sandbox.gateway import controller
from sandbox.gateway.server import Gateway
from sandbox.network import Network
from tests.unit.sandbox.objects import TARGET_PORT, backend, route, rule

CRDS = Path(__file__).parents[2] / "sandbox" / "crds" / "apisix.yaml"
DEPLOYMENTS = "/apis/apps/v1/namespaces/test/deployments"
ROUTES = "/apis/apisix.apache.org/v2/namespaces/test/apisixroutes"
IMAGE, BROKEN = "ghcr.io/stefanprodan/podinfo:6.0.0", "ghcr.io/stefanprodan/podinfo:6.0.1"


def deployment(image: str = IMAGE) -> Json:
    ports = [{"name": "http", "containerPort": TARGET_PORT}]
    labels = {"app": "podinfo"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "podinfo", "namespace": "test"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "podinfod", "image": image, "ports": ports}]},
            },
        },
    }


def service() -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {"metadata": {"name": "podinfo"}, "spec": {"selector": {"app": "podinfo"}, "ports": ports}}


def apisix_route(granularity: str = "endpoint") -> Json:
    head = {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute"}
    return {**head, **route(rule("method", backend("podinfo", granularity=granularity)), name="podinfo")}


class Scene:
    """The cluster with its node and its gateway, as one user sees it."""

    def __init__(
        self, server: ApiServer | ControlPlane, admin: Api, gateway: Gateway, user: aiohttp.ClientSession
    ) -> None:
        self.server = server
        self.admin = admin
        self.gateway = gateway
        self.user = user

    async def away(self) -> None:
        """The API server ends; what it knew stays."""
        if isinstance(self.server, ControlPlane):
            self.server.kill_apiserver()
        else:
            await self.server.stop()

    async def back(self) -> None:
        if isinstance(self.server, ControlPlane):
            await self.server.start_apiserver()
        else:
            await self.server.start()
            self.server.forget()  # where the watches were is gone, so they have to list again

    async def ask(self) -> int:
        url = f"http://127.0.0.1:{self.gateway.http_port}/api/info"
        async with self.user.get(url, headers={"Host": "app.example.com"}) as answer:
            return answer.status

    async def becomes(self, status: int) -> None:
        await eventually(self.ask, status)


async def eventually(look: Callable[[], Awaitable[int]], wanted: int, timeout: float = 40.0) -> None:
    last = -1
    try:
        async with asyncio.timeout(timeout):
            while (last := await look()) != wanted:
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"still {last}, not {wanted}") from None


REAL = pytest.param("real", marks=pytest.mark.cluster)


@pytest.fixture(params=["emulator", REAL])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ApiServer | ControlPlane]:
    running = ControlPlane(tmp_path, binaries=binaries.locate()) if request.param == "real" else ApiServer()
    async with running:
        yield running


@pytest.fixture
async def scene(server: ApiServer | ControlPlane) -> AsyncIterator[Scene]:
    network = Network()
    runner = ApplicationRunner(network, {BROKEN: Behaviour(fail_ratio=1.0)})
    async with server.api() as admin, Gateway(network) as gateway, aiohttp.ClientSession() as user:
        # The controller is there before its kind is.
        following = asyncio.create_task(controller.follow(admin, gateway, reports=True))
        for crd in yaml.safe_load_all(CRDS.read_text()):
            await admin.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        await admin.until("/apis/apisix.apache.org/v2/apisixroutes", lambda _: True)
        await admin.create("/api/v1/namespaces", {"metadata": {"name": "test"}})
        await admin.until("/api/v1/namespaces/test/serviceaccounts/default", lambda _: True)
        async with FakeKubelet(server.url, server.admin_token, server.ca_file, runners=[runner]):
            yield Scene(server, admin, gateway, user)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@pytest.mark.parametrize("granularity", ["endpoint", "service"])
async def test_a_deployment_answers_through_the_gateway(scene: Scene, granularity: str) -> None:
    await scene.admin.create(ROUTES, apisix_route(granularity))
    await scene.admin.create("/api/v1/namespaces/test/services", service())
    await scene.becomes(503 if granularity == "endpoint" else 502)
    await scene.admin.create(DEPLOYMENTS, deployment())
    await scene.becomes(200)
    # Another image is another behaviour, and the old pods are gone from network and gateway.
    await scene.admin.replace(f"{DEPLOYMENTS}/podinfo", deployment(BROKEN))
    await scene.becomes(500)
    await scene.admin.delete(f"{ROUTES}/podinfo")
    await scene.becomes(404)


async def test_the_route_says_what_the_controller_made_of_it(scene: Scene) -> None:
    """As 1.x does: a route whose Service isn't there isn't synced, and is as soon as there is one."""
    await scene.admin.create(ROUTES, apisix_route())
    told = await scene.admin.until(f"{ROUTES}/podinfo", lambda found: bool(found.get("status")))
    [condition] = told["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "ResourceSyncAborted")
    await scene.admin.create("/api/v1/namespaces/test/services", service())
    await scene.admin.until(
        f"{ROUTES}/podinfo", lambda found: bool(found["status"]["conditions"][0]["reason"] == "ResourcesSynced")
    )


async def test_the_gateway_serves_on_while_the_api_server_is_away_and_catches_up(scene: Scene) -> None:
    await scene.admin.create("/api/v1/namespaces/test/services", service())
    await scene.admin.create(DEPLOYMENTS, deployment())
    await scene.admin.create(ROUTES, apisix_route())
    await scene.becomes(200)

    await scene.away()
    assert await scene.ask() == 200
    await scene.back()
    await scene.admin.delete(f"{ROUTES}/podinfo")
    await scene.becomes(404)
