"""The sandbox's gateway as a target of the suite."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sandbox.gateway.server import METRICS_PATH, Gateway
from sandbox.network import Network
from tests.gateway.desired import Desired


class Double:
    """Its page is rendered for each request here: the cache has tests of its own, with the other things of the double alone."""

    real = False
    page_age = 0.0

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.version = gateway.dialect.version
        self.url = f"http://127.0.0.1:{gateway.http_port}"
        self.metrics_url = f"http://127.0.0.1:{gateway.metrics_port}{METRICS_PATH}"

    async def apply(self, desired: Desired) -> None:
        self._gateway.global_prefer_name = desired.global_prefer_name
        self._gateway.upstream_lag = math.inf if desired.withheld else 0.0
        self._gateway.apply(desired.routes, desired.services, desired.slices)


@asynccontextmanager
async def double(network: Network, version: str) -> AsyncIterator[Double]:
    async with Gateway(network, version=version, refresh_interval=0) as gateway:
        yield Double(gateway)
