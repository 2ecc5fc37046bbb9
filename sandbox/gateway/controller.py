"""Keeps a gateway configured from a cluster, as the ingress controller does: watches, applies what it sees, says so."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import aiohttp

from sandbox.controlplane.api import Api, ApiError, Json
from sandbox.gateway import status
from sandbox.gateway.server import Gateway
from sandbox.network import ServiceTable

_log = logging.getLogger(__name__)

ROUTES: Final = "/apis/apisix.apache.org/v2/apisixroutes"
SERVICES: Final = "/api/v1/services"
SLICES: Final = "/apis/discovery.k8s.io/v1/endpointslices"

MANAGER: Final = "apisix-ingress-controller"

_PAUSE = 0.2  # seconds between attempts while the API server is away, or doesn't know ApisixRoutes yet
_GATHER = 0.05  # seconds in which changes come together: a rollout writes several objects at once


async def follow(api: Api, gateway: Gateway, *, reports: bool = False) -> None:
    """Runs until cancelled. `api` needs the rights to list and watch the three kinds, and to write the status of routes
    if it `reports`: one controller of a cluster does.

    Nothing is applied before all three lists are in: half a cluster would be a wrong configuration.
    """
    changed, told = asyncio.Event(), _Reporter(api, gateway)
    kinds = [_Kind(path, changed.set) for path in (ROUTES, SERVICES, SLICES)]
    async with asyncio.TaskGroup() as group:
        for kind in kinds:
            group.create_task(kind.watch(api))
        if reports:
            group.create_task(told.report())
        while True:
            await changed.wait()
            await asyncio.sleep(_GATHER)
            changed.clear()
            if all(kind.listed for kind in kinds):
                routes, services, slices = (list(kind.objects.values()) for kind in kinds)
                gateway.apply(routes, services, slices)
                told.applied(routes, ServiceTable(services, slices))


class _Reporter:
    """Writes how routes fare. On its own, so that a slow API server doesn't keep the gateway from what comes next."""

    def __init__(self, api: Api, gateway: Gateway) -> None:
        self._api, self._gateway = api, gateway
        self._latest: tuple[list[Json], ServiceTable] | None = None
        self._changed = asyncio.Event()

    def applied(self, routes: list[Json], table: ServiceTable) -> None:
        """The gateway goes by these now."""
        self._latest = routes, table
        self._changed.set()

    async def report(self) -> None:
        """For ever. What can't be said now is said after the next change."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(2 * _GATHER)  # or what was just written is written again: it isn't seen yet
            self._changed.clear()
            if self._latest:
                await self._report(*self._latest)

    async def _report(self, routes: list[Json], table: ServiceTable) -> None:
        gateway = self._gateway
        for route in routes:
            told = status.conditions(
                route, table, gateway.dialect, datetime.now(UTC), gateway.memo, default_class=gateway.default_class
            )
            if told is None:
                continue
            namespace, name = _key(route)
            path = f"/apis/apisix.apache.org/v2/namespaces/{namespace}/apisixroutes/{name}/status"
            try:
                await self._api.patch(path, {"status": {"conditions": told}}, fieldManager=MANAGER)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _log.info("the status of %s/%s isn't written: %s", namespace, name, error)


class _Kind:
    """All objects of one kind, by namespace and name."""

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.listed = False
        self._path = path
        self._changed = changed

    async def watch(self, api: Api) -> None:
        """For ever; a broken stream means a new list."""
        while True:
            try:
                version = await self._relist(api)
                async for event in api.watch(self._path, version):
                    if event["type"] != "BOOKMARK":
                        self._see(event["type"], event["object"])
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                _log.info("the watch of %s broke: %s", self._path, error)
                await asyncio.sleep(_PAUSE)

    async def _relist(self, api: Api) -> str:
        found = await api.get(self._path)
        self.objects = {_key(item): item for item in found["items"]}
        self.listed = True
        self._changed()
        return str(found["metadata"]["resourceVersion"])

    def _see(self, what: str, item: Json) -> None:
        if what == "DELETED":
            self.objects.pop(_key(item), None)
        else:
            self.objects[_key(item)] = item
        self._changed()


def _key(item: Json) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]
