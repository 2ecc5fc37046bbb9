"""Under which addresses the gateway counts the canary's answers: its own, and of the revision under analysis. Pure.

A pod that is gone still counts for the length of a rate window, but never for another revision: where the canary rolls
from one revision to the next, what the old pods answered says nothing about the new ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.router import observe, routes
from services.router.found import Found
from services.router.parse import Canary
from services.router.rollout.readiness import unready
from shared.canary.resource import seconds
from shared.kube import json
from shared.kube.json import Json

ROLLOUT_WINDOW: Final = timedelta(minutes=1)
"""How long an address still counts after it left, at least: the rate window of the builtin checks."""


@dataclass(frozen=True, slots=True)
class Node:
    """One address, and when it was last seen ready."""

    address: str
    seen: datetime
    former: bool = False
    """It belonged to the revision before."""


def service_address(canary: Canary, found: Found, service: str) -> str:
    """The Service's address where the route resolves by service: one `node` for all its pods; else empty."""
    if not any(routes.resolves_by_service(each, canary.names) for each in found.generated):
        return ""
    address = json.text(found.services.get(service), "spec", "clusterIP")
    return "" if address == "None" else address


def counted(canary: Canary, found: Found, service: str, pods: tuple[str, ...]) -> tuple[str, ...]:
    """Under which addresses the gateway counts one side's answers now: its Service's, its pods', or both."""
    address = service_address(canary, found, service)
    if not address:
        return pods
    both = any(routes.resolves_by_endpoint(each, canary.names) for each in found.generated)
    return (address, *pods) if both else (address,)


def of(canary: Canary, found: Found, known: tuple[Node, ...], now: datetime) -> tuple[Node, ...]:
    """The canary's addresses, with those that its status knows."""
    metrics = canary.model.analysis.metrics if canary.model.analysis else ()
    spans = [timedelta(seconds=seconds(metric.interval)) for metric in metrics if metric.interval]
    return remembered(known, found.nodes, now, max([ROLLOUT_WINDOW, *spans]))


def of_another(canary: Canary, found: Found, known: tuple[Node, ...], now: datetime) -> tuple[Node, ...]:
    """The same in the moment in which another revision is noticed."""
    complete = found.target is not None and unready(observe.rollout(found.target), threshold=0) is None
    return superseded(known, found.nodes, now, complete=complete)


def remembered(known: tuple[Node, ...], ready: tuple[str, ...], now: datetime, window: timedelta) -> tuple[Node, ...]:
    """The addresses of now, and those that left less than a rate window ago.

    An address that a new pod got from one of the revision before counts again when the window is over.
    """
    kept = {node.address: node for node in known if now - node.seen <= window}
    kept |= {address: Node(address, now) for address in ready if address not in kept or not kept[address].former}
    return tuple(sorted(kept.values(), key=lambda node: node.address))


def superseded(known: tuple[Node, ...], ready: tuple[str, ...], now: datetime, *, complete: bool) -> tuple[Node, ...]:
    """The moment in which another revision is noticed: whatever answered so far is its predecessor's.

    Except where it's noticed late: once its Deployment is `complete`, the ready addresses are those of its own pods.
    """
    new = set(ready) if complete else set()
    old = {*(node.address for node in known), *ready} - new
    found = [*(Node(address, now) for address in new), *(Node(address, now, former=True) for address in old)]
    return tuple(sorted(found, key=lambda node: node.address))


def own(nodes: tuple[Node, ...]) -> tuple[str, ...]:
    """Those that speak for the revision under analysis."""
    return tuple(node.address for node in nodes if not node.former)


def ready_addresses(slices: Iterable[Json]) -> tuple[str, ...]:
    """Ready addresses of EndpointSlices."""
    return tuple(sorted({
        address
        for each in slices
        for endpoint in json.items(each, "endpoints")
        if json.value(endpoint, "conditions", "ready") is not False
        for address in endpoint.get("addresses") or ()
    }))  # fmt: skip
