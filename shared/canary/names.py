"""Which objects belong to a Canary, by name. Pure; the watcher finds its way back by it, the router creates by it."""

from dataclasses import dataclass, replace

from shared.kube import json
from shared.kube.json import Json

PRIMARY = "-primary"
CANARY = "-canary"


def primary(name: str) -> str:
    """The name of the primary's copy: workload, autoscaler, ConfigMap, Secret."""
    return name + PRIMARY


def target(spec: Json) -> str:
    """T: the workload that people deploy."""
    return json.text(spec, "targetRef", "name")


def apex(spec: Json) -> str:
    """APEX: the Service that clients use, and the stem of the two others."""
    return json.text(spec, "service", "name") or target(spec)


def autoscaler(spec: Json) -> str:
    """AS, or the empty string."""
    return json.text(spec, "autoscalerRef", "name")


def route(spec: Json) -> str:
    """ROUTE: the ApisixRoute that people wrote, or the empty string."""
    return json.text(spec, "routeRef", "name")


def further_routes(spec: Json) -> tuple[str, ...]:
    """Routes beside ROUTE that lead to the same Service, each once."""
    named = dict.fromkeys(json.text(each, "name") for each in json.items(spec, "routeRefs"))
    return tuple(name for name in named if name and name != route(spec))


def canary_route(route_name: str, apex_name: str) -> str:
    """The ApisixRoute that carries the weights."""
    return f"{route_name}-{apex_name}{CANARY}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """All names that follow from a Canary's spec. Empty: the Canary has no such part."""

    target: str
    apex: str
    autoscaler: str = ""
    route: str = ""
    further_routes: tuple[str, ...] = ()

    @property
    def primary(self) -> str:
        """The primary workload."""
        return primary(self.target)

    @property
    def primary_autoscaler(self) -> str:
        return primary(self.autoscaler) if self.autoscaler else ""

    @property
    def primary_service(self) -> str:
        return primary(self.apex)

    @property
    def canary_service(self) -> str:
        return self.apex + CANARY

    @property
    def canary_route(self) -> str:
        return canary_route(self.route, self.apex) if self.route else ""

    def each_route(self) -> tuple["Names", ...]:
        """The same names once for each of the canary's routes, `route` being that one; none without a route."""
        each = (self.route, *self.further_routes)
        return tuple(replace(self, route=name, further_routes=()) for name in each if name)


def of(spec: Json) -> Names:
    """The names that follow from an unstructured `spec`."""
    return Names(
        target=target(spec),
        apex=apex(spec),
        autoscaler=autoscaler(spec),
        route=route(spec),
        further_routes=further_routes(spec),
    )
