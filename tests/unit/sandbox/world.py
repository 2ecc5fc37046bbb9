"""A small world without any Kubernetes: a gateway, pods, and a user who asks one request after the other."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from sandbox.application import Application, ApplicationRunner, Behaviour
from sandbox.controlplane.api import Json
from sandbox.gateway.server import METRICS_PATH, Gateway
from sandbox.network import Network
from tests.unit.sandbox.objects import CANARY_POD, PRIMARY_POD, pod, services, slices

PRIMARY, CANARY = "ghcr.io/stefanprodan/podinfo:6.0.0", "ghcr.io/stefanprodan/podinfo:6.0.1"


@dataclass
class World:
    network: Network
    gateway: Gateway
    runner: ApplicationRunner
    user: aiohttp.ClientSession
    images: dict[str, str] = field(default_factory=dict)

    def apply(self, *routes: Json, canaries: Iterable[str] = (), endpoint_slices: list[Json] | None = None) -> None:
        """These routes, in front of the usual two Services."""
        found = slices(*canaries) if endpoint_slices is None else endpoint_slices
        self.gateway.apply(routes, services(), found)

    async def ask(self, path: str = "/api/info", *, host: str = "app.example.com", **headers: str) -> int:
        url = f"http://127.0.0.1:{self.gateway.http_port}{path}"
        async with self.user.get(url, headers={"Host": host, **headers}) as answer:
            await answer.read()
            return answer.status

    async def load(self, number: int, path: str = "/api/info") -> Counter[int]:
        """Requests on one connection, so that one worker gets them all."""
        return Counter([await self.ask(path) for _ in range(number)])

    async def pod(self, ip: str, image: str) -> Application:
        """One more pod."""
        await self.runner.start(pod(ip, image, f"pod-{ip}"))
        self.images[ip] = image
        return self.runner.running[ip]

    async def kill(self, ip: str) -> None:
        """Its address refuses connections from now on."""
        await self.runner.stop(pod(ip, self.images.pop(ip), f"pod-{ip}"))

    async def page(self) -> str:
        async with self.user.get(f"http://127.0.0.1:{self.gateway.metrics_port}{METRICS_PATH}") as answer:
            assert answer.status == 200
            return await answer.text()

    async def status(self) -> Counter[tuple[str, str]]:
        """Requests by code and node, as the metrics page has them."""
        found: Counter[tuple[str, str]] = Counter()
        for name, labels, value in parse(await self.page()):
            if name == "apisix_http_status":
                found[labels["code"], labels["node"]] += int(value)
        return found


def parse(page: str) -> list[tuple[str, dict[str, str], float]]:
    """Name, labels in their order, value of each sample."""
    found = []
    for line in page.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name, _, rest = series.partition("{")
            pairs = [part.split("=", 1) for part in rest.removesuffix("}").split(",") if part]
            found.append((name, {key: text.strip('"') for key, text in pairs}, float(value)))
    return found


@asynccontextmanager
async def world(
    version: str = "2.15.3",
    *,
    behaviours: Mapping[str, Behaviour] | None = None,
    pods: Mapping[str, str] | None = None,
    **knobs: Any,
) -> AsyncIterator[World]:
    """Pods by IP and image; without any, one primary and one canary."""
    network = Network()
    runner = ApplicationRunner(network, dict(behaviours or {}))
    async with Gateway(network, version=version, **knobs) as gateway, aiohttp.ClientSession() as user:
        found = World(network, gateway, runner, user)
        for ip, image in (pods or {PRIMARY_POD: PRIMARY, CANARY_POD: CANARY}).items():
            await found.pod(ip, image)
        yield found
        for ip in list(found.images):
            await found.kill(ip)
    await asyncio.sleep(0)
