"""Many canaries at once, for what is measured by their number: idle cost, ticks on time, analyzers that scale."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from sandbox.controlplane.api import Api, Json
from sandbox.listener import Listener

NAMESPACE = "crowd"
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Member:
    """One application with its route and its Canary, all of the same name."""

    name: str

    @property
    def canary(self) -> str:
        return f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/{self.name}"

    @property
    def target(self) -> str:
        return f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{self.name}"

    @property
    def route(self) -> str:
        return f"/apis/apisix.apache.org/v2/namespaces/{NAMESPACE}/apisixroutes/{self.name}-{self.name}-canary"

    async def release(self, api: Api, image: str) -> None:
        """A new revision."""
        containers = [{"name": "app", "image": image}]
        await api.patch(self.target, {"spec": {"template": {"spec": {"containers": containers}}}})


async def gathered(api: Api, count: int, *, max_weight: int = 100, timeout: float = 300.0) -> list[Member]:
    """Create so many and wait until all are initialized. They go up by one percent a step: nearly endlessly."""
    members = [Member(f"app-{number:03}") for number in range(count)]
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await each(members, lambda member: _create(api, member, max_weight))
    await each(members, lambda member: _rested(api, member, timeout))
    return members


async def each(members: Sequence[Member], act: Callable[[Member], Awaitable[object]]) -> None:
    """Do it for all, a few at a time: the API server shares the machine."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(member: Member) -> None:
        async with room:
            await act(member)

    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(one(member))


async def _create(api: Api, member: Member, max_weight: int) -> None:
    for collection, manifest in _manifests(member.name, max_weight):
        await api.create(f"{collection.format(NAMESPACE)}", manifest)


async def _rested(api: Api, member: Member, timeout: float) -> None:
    """Initialized, and the last thing that follows from it has happened: the target has no replicas any more."""

    def done(found: Json) -> bool:
        status = found.get("status", {})
        return status.get("phase") == "Initialized" and not status["serinus"].get("tick")

    await api.until(member.canary, done, timeout=timeout)
    await api.until(member.target, lambda found: found["spec"]["replicas"] == 0, timeout=timeout)


def _manifests(name: str, max_weight: int) -> list[tuple[str, Json]]:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "app:1", "ports": [{"containerPort": 80}]}]},
            },
        },
    }
    backend = {"serviceName": name, "servicePort": 80}
    rule = {"name": "all", "match": {"hosts": [f"{name}.example.com"], "paths": ["/*"]}, "backends": [backend]}
    route = {
        "apiVersion": "apisix.apache.org/v2",
        "kind": "ApisixRoute",
        "metadata": {"name": name},
        "spec": {"http": [rule]},
    }
    metrics = [
        {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"},
        {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "1m"},
    ]
    canary = {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": name},
            "service": {"port": 80},
            "analysis": {
                "interval": "10s", "threshold": 5, "stepWeight": 1, "maxWeight": max_weight, "metrics": metrics,
            },
        },
    }  # fmt: skip
    return [
        ("/apis/apps/v1/namespaces/{}/deployments", deployment),
        ("/apis/apisix.apache.org/v2/namespaces/{}/apisixroutes", route),
        ("/apis/flagger.app/v1beta1/namespaces/{}/canaries", canary),
    ]


class Oracle(Listener):
    """A Prometheus that answers 100 to every question: percent, milliseconds or requests, all of them good.

    `delay` is in seconds; `queries` counts the questions.
    """

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__(self._answer)
        self.delay = delay
        self.queries = 0

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.queries += 1
        await asyncio.sleep(self.delay)
        asked = request.query_string
        value = "1" if "vector%281%29" in asked or "vector(1)" in asked else "100"
        result = [{"metric": {}, "value": [time.time(), value]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})
