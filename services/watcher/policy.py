"""What the watcher knows without looking: which objects matter to which Canary, and which changes matter at all.

Pure. An object's address is (kind, namespace, name); EndpointSlices, whose names are random, are known under their
Service's. `matters` gives the addresses that one Canary depends on, `addresses` those under which one object may be
looked up, and services.watcher.index joins the two.
"""

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from shared.canary import configs, names, ownership
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire.messages import CanaryRef, Fact, ObjectRef

OF_SERVICE: Final = "kubernetes.io/service-name"
"""Label of an EndpointSlice: its Service."""


class Address(NamedTuple):
    """Where an object is, under its kind's name."""

    kind: str
    namespace: str
    name: str


def address(obj: Json) -> Address:
    return Address(json.text(obj, "kind"), json.namespace(obj), json.name(obj))


def canary_ref(canary: Json) -> CanaryRef:
    return CanaryRef(namespace=json.namespace(canary), name=json.name(canary), uid=json.uid(canary))


def addresses(obj: Json) -> tuple[Address, ...]:
    """Under which addresses Canaries may wait for this object.

    An autoscaler also speaks for the workload that it scales: one that nobody named in a Canary scales it all the same.
    A Canary speaks for its target too: of two with the same target only the older one runs.
    """
    own = address(obj)
    if own.kind == kinds.CANARY.kind:
        return own, target(obj)
    if own.kind == kinds.ENDPOINT_SLICE.kind:
        return (own._replace(name=json.text(obj, "metadata", "labels", OF_SERVICE)),)
    if own.kind == kinds.AUTOSCALER.kind:
        scaled = json.mapping(obj, "spec", "scaleTargetRef")
        return own, Address(json.text(scaled, "kind"), own.namespace, json.text(scaled, "name"))
    return (own,)


def target(canary: Json) -> Address:
    """The workload of a Canary."""
    return Address(
        json.text(canary, "spec", "targetRef", "kind"),
        json.namespace(canary),
        names.target(json.mapping(canary, "spec")),
    )


def matters(canary: Json, tracked: tuple[configs.ConfigRef, ...] = ()) -> frozenset[Address]:
    """Everything that this Canary depends on. `tracked` is what its target's pod template refers to."""
    spec, home = json.mapping(canary, "spec"), json.namespace(canary)
    known = names.of(spec)
    local: tuple[tuple[Kind, str], ...] = (
        (kinds.CANARY, json.name(canary)),
        (kinds.DEPLOYMENT, known.primary),
        (kinds.AUTOSCALER, known.autoscaler),
        (kinds.AUTOSCALER, known.primary_autoscaler),
        (kinds.SERVICE, known.apex),
        (kinds.SERVICE, known.primary_service),
        (kinds.SERVICE, known.canary_service),
        (kinds.ENDPOINT_SLICE, known.primary_service),
        (kinds.ENDPOINT_SLICE, known.canary_service),
        *((kinds.APISIX_UPSTREAM, name) for name in (known.apex, known.primary_service, known.canary_service)),
        *((kinds.APISIX_ROUTE, each.route) for each in known.each_route()),
        *((kinds.APISIX_ROUTE, each.canary_route) for each in known.each_route()),
    )
    found = {Address(kind.kind, home, name) for kind, name in local if name} | {target(canary)}
    for ref in tracked:
        found |= {Address(ref.kind, home, ref.name), Address(ref.kind, home, names.primary(ref.name))}
    return frozenset(found | _referred(spec, home))


def _referred(spec: Json, home: str) -> set[Address]:
    """MetricTemplates and AlertProviders; they may live in other namespaces."""
    templates = [json.mapping(metric, "templateRef") for metric in json.items(spec, "analysis", "metrics")]
    providers = [json.mapping(alert, "providerRef") for alert in json.items(spec, "analysis", "alerts")]
    return {
        Address(kind.kind, json.text(ref, "namespace") or home, json.text(ref, "name"))
        for kind, refs in ((kinds.METRIC_TEMPLATE, templates), (kinds.ALERT_PROVIDER, providers))
        for ref in refs
        if ref
    }


def material(old: Json | None, new: Json | None) -> bool:
    """Is this change worth a fact? Both sides are as services.watcher.memory keeps them."""
    if old is None or new is None or json.uid(old) != json.uid(new):
        return True
    if json.text(new, "kind") == kinds.CANARY.kind:
        return _canary_changed(old, new)
    return bool(json.value(old, "digest") != json.value(new, "digest"))


def _canary_changed(old: Json, new: Json) -> bool:
    """Everything but what the router itself does to the status."""
    if old.get("spec") != new.get("spec"):
        return True
    told = ("generation", "labels", "annotations", "deletionTimestamp")
    if any(json.value(old, "metadata", field) != json.value(new, "metadata", field) for field in told):
        return True
    return old.get("status") != new.get("status") and ownership.foreign_status_write(old, new)


def view(objects: Iterable[Json]) -> str:
    """A word for how these objects are; the same wherever they are the same. Churn that is no news doesn't change it."""
    parts = [f"{address(obj)} {json.uid(obj)} {json.value(obj, 'digest') or json.version(obj)!r}" for obj in objects]
    return hashlib.blake2b("\n".join(sorted(parts)).encode(), digest_size=8).hexdigest()


def fact(canary: CanaryRef, obj: Json, *, deleted: bool = False, checksum: str | None = None, view: str = "") -> Fact:
    """The message. Its id is the same on every replica, so the bus drops all copies but one."""
    kind, version = json.text(obj, "kind"), json.version(obj)
    ident = f"{canary.uid}/{kind}/{json.uid(obj)}/{version}" + ("/deleted" if deleted else "")
    ident += f"/{view}" if view else ""
    reference = ObjectRef(
        kind=kind, namespace=json.namespace(obj), name=json.name(obj), resource_version=version, deleted=deleted
    )
    return Fact(id=ident, cause=f"{kind}/{json.uid(obj)}/{version}", canary=canary, object=reference, checksum=checksum)
