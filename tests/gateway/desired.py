"""What a gateway is asked to serve, as the cluster's objects; and what a gateway is to this suite."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sandbox.controlplane.api import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """ApisixRoutes with the Services and EndpointSlices that they name."""

    routes: Sequence[Json]
    services: Sequence[Json]
    slices: Sequence[Json]
    global_prefer_name: bool | None = None
    """Of a global rule with the prometheus plugin; None without one."""
    withheld: bool = False
    """The further upstreams of each rule don't exist yet, as with a controller that creates them last."""


class Target(Protocol):
    """The gateway double, or an APISIX."""

    version: str

    @property
    def url(self) -> str:
        """Where users' requests go."""

    @property
    def metrics_url(self) -> str:
        """The page that Prometheus scrapes."""

    @property
    def page_age(self) -> float:
        """Seconds after which the page tells of a request, at the latest."""

    @property
    def real(self) -> bool:
        """It connects to addresses, so pods have to listen at theirs."""

    async def apply(self, desired: Desired) -> None:
        """Serve this and nothing else; returns when it's in force."""
