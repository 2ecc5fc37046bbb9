"""What a question is formed from: a canary, where its rollout stands, and under which names either side is counted. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.router import nodes, routes
from services.router.counted import Counted
from services.router.found import Found
from services.router.parse import Canary
from services.router.rollout import reach
from services.router.rollout.state import State
from shared.canary import queries
from shared.canary.resource import CanaryMetric
from shared.kube.json import Json

SUCCESS_RATE: Final = "request-success-rate"
DURATION: Final = "request-duration"
BUILTIN: Final = frozenset({SUCCESS_RATE, DURATION})


@dataclass(frozen=True, slots=True)
class Scene:
    """What a question is formed from."""

    canary: Canary
    state: State
    found: Found
    nodes: tuple[str, ...]
    """The canary's `node` values: its pods' addresses seen during the analysis, or its Service's address."""
    metrics_server: str
    workers: int = 1
    """Worker processes of the gateway, over all its replicas."""

    @property
    def metrics(self) -> tuple[CanaryMetric, ...]:
        return self.canary.model.analysis.metrics if self.canary.model.analysis else ()

    @property
    def server(self) -> str:
        """The Prometheus of builtin checks and inline queries."""
        return self.canary.model.metrics_server or self.metrics_server

    @property
    def routed(self) -> bool:
        """Does the gateway send the canary anything, and so count it?"""
        return reach.routed(self.canary.spec, self.state)

    @property
    def primary(self) -> tuple[str, ...]:
        """The primary's `node` values."""
        found = self.found
        return nodes.counted(self.canary, found, self.canary.names.primary_service, found.primary_nodes)

    @property
    def route(self) -> str:
        """Pattern of the generated routes' labels."""
        return self._labelled(routes.apisix_names)

    @property
    def counted(self) -> Counted:
        return Counted(
            namespace=self.canary.spec.namespace,
            target=self.canary.spec.target,
            # In an A/B test the public's rules say nothing about the canary, and failures there are none of its.
            route=self.route if self.state.weight > 0 else self._labelled(routes.testers_names),
            nodes=queries.node_pattern(self.nodes),
            routed=self.routed,
        )

    def _labelled(self, named: Callable[[Json, str], tuple[str, ...]]) -> str:
        namespace = self.canary.spec.namespace
        return queries.route_pattern(name for route in self.found.generated for name in named(route, namespace))
