"""What the cluster shall hold for one canary, purely from its status and from what is there.

`services.router.converge` compares the answer with the observed objects and writes only differences, in this order, so
that capacity exists before traffic reaches it and traffic has left before capacity goes.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.router import observe, routes
from services.router.observe import Found
from services.router.parse import Canary
from services.router.rollout.state import SETTLED, Phase, Stage, State
from shared.canary import configs, names
from shared.canary.resource import CanaryService, Metadata
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind

CHECKSUM: Final = "serinus.dev/checksum"
"""Annotation of a config's copy: the checksum of what was copied."""
_OPT_OUT: Final = {
    "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
    "helm.toolkit.fluxcd.io/driftDetection": "disabled",
}
_SIDECARS: Final = frozenset({"istio-proxy", "envoy"})


@dataclass(frozen=True, slots=True)
class Options:
    """Settings that shape objects."""

    selector_labels: tuple[str, ...] = ("app", "name", "app.kubernetes.io/name")
    label_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object as it shall be.

    `create` is posted if it isn't there (None: it's never created). Otherwise `owned` is compared: `exact` subtrees
    are ours entirely, `merged` keys are ours and their neighbours somebody else's. `gone` asks for its deletion.
    """

    kind: Kind
    name: str
    create: Json | None = None
    exact: Mapping[tuple[str, ...], object] = field(default_factory=dict)
    merged: Json = field(default_factory=dict)
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """A tracked config whose primary copy must carry this checksum."""

    key: str
    checksum: str


class NoSelector(Exception):
    """The target's selector has none of the labels that tell workloads apart; the text is Flagger's."""


def wanted(canary: Canary, state: State, found: Found, options: Options) -> Iterable[Wanted]:
    """Objects in the order in which they must be written. A NoSelector has become a `config_problem` before."""
    if found.target is None or canary.model.service is None:
        return
    if state.phase is Phase.TERMINATING:
        yield from _restored(canary, found, options)
        return
    serving = state.phase is not Phase.INITIALIZING or _primary_ready(found)
    if not found.config_problem:
        label = selector(canary, found, options)
        yield from (_service(canary, found, label, each) for each in ("canary", "primary"))
        yield from _primary(canary, state, found, label, options)
        yield from _autoscaler(canary, state, found)
        if serving:
            yield _service(canary, found, label, "apex")
    if serving:
        # Even while configs are missing: a rollback must reach the gateway.
        yield from _route(canary, state, found)
    replicas = target_replicas(canary, state, found)
    if replicas is not None:
        yield Wanted(kinds.DEPLOYMENT, canary.names.target, merged={"spec": {"replicas": replicas}})


def copies(state: State, found: Found) -> tuple[Copy, ...]:
    """Configs whose copies must be made or renewed before the primary's template points at them."""
    if state.phase not in {Phase.INITIALIZING, Phase.PROMOTING}:
        return ()
    have = found.copies
    return tuple(Copy(key, value) for key, value in (found.configs or {}).items() if have.get(key) != value)


def _primary_ready(found: Found) -> bool:
    rollout = observe.rollout(found.primary) if found.primary else None
    return rollout is not None and rollout.available > 0 and rollout.observed >= rollout.generation


def selector(canary: Canary, found: Found, options: Options) -> tuple[str, str]:
    """(LABEL, VALUE): the first of the known labels in the target's selector (behaviour sheet §3.1)."""
    labels = json.mapping(found.target, "spec", "selector", "matchLabels")
    for label in options.selector_labels:
        if label in labels:
            return label, json.text(labels, label)
    known = " ".join(options.selector_labels)
    text = f"deployment {canary.spec.target_ref} spec.selector.matchLabels must contain one of [{known}]"
    raise NoSelector(f"getSelectorLabel failed: {text}")


def owner(canary: Canary) -> Json:
    """The controller reference that lets the garbage collector follow the Canary."""
    return {
        "apiVersion": kinds.CANARY.api_version, "kind": "Canary", "name": canary.spec.name, "uid": canary.spec.uid,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def owned(canary: Canary, document: Json | None) -> bool:
    """Is this object's controller a Canary of our name?"""
    return any(
        json.text(each, "kind") == "Canary"
        and json.text(each, "name") == canary.spec.name
        and json.flag(each, "controller")
        for each in json.items(document, "metadata", "ownerReferences")
    )


# --- services ----------------------------------------------------------------------------------------------------


def _service(canary: Canary, found: Found, label: tuple[str, str], role: str) -> Wanted:
    service = canary.model.service
    if service is None:
        raise ValueError("a canary without spec.service is refused before")
    name = {
        "apex": canary.names.apex, "primary": canary.names.primary_service, "canary": canary.names.canary_service,
    }[role]  # fmt: skip
    value = label[1] if role == "canary" else names.primary(label[1])
    have = found.services.get(name)
    ports = _ports(service, found.target)
    exact: dict[tuple[str, ...], object] = {("spec", "selector"): {label[0]: value}}
    if _comparable(json.items(have, "spec", "ports")) != _comparable(ports):
        exact["spec", "ports"] = _with_node_ports(ports, have)
    extra: Metadata = getattr(service, role) or Metadata()
    metadata = {"labels": {**extra.labels, label[0]: name}, "annotations": {**extra.annotations, **_OPT_OUT}}
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": canary.spec.namespace, **metadata, "ownerReferences": [owner(canary)]},
        "spec": _service_spec(service, {label[0]: value}, ports),
    }
    return Wanted(kinds.SERVICE, name, body, exact, {"metadata": metadata} if owned(canary, have) else {})


def _service_spec(service: CanaryService, select: Mapping[str, str], ports: list[Json]) -> Json:
    spec: Json = {"type": "ClusterIP", "selector": dict(select), "ports": ports}
    if service.headless:
        spec["clusterIP"] = "None"
    if service.traffic_distribution:
        spec["trafficDistribution"] = service.traffic_distribution
    return spec


def _ports(service: CanaryService, target: Json | None) -> list[Json]:
    main: Json = {
        "name": service.port_name, "protocol": "TCP", "port": service.port,
        "targetPort": service.target_port or service.port,
    }  # fmt: skip
    if service.app_protocol:
        main["appProtocol"] = service.app_protocol
    found = {main["name"]: main}
    for container in json.items(target, "spec", "template", "spec", "containers") if service.port_discovery else ():
        if json.text(container, "name") in _SIDECARS:
            continue
        for index, port in enumerate(json.items(container, "ports")):
            number, name = json.number(port, "containerPort"), json.text(port, "name")
            if main["targetPort"] in {number, name or number} or number == main["port"] == main["targetPort"]:
                continue
            name = name or f"tcp-{json.text(container, 'name')}-{index}"
            found.setdefault(name, {"name": name, "protocol": "TCP", "port": number, "targetPort": number})
    return list(found.values())


def _comparable(ports: list[Json]) -> list[Json]:
    fields = ("name", "protocol", "port", "targetPort", "appProtocol")
    essence = [{key: port[key] for key in fields if port.get(key) is not None} for port in ports]
    return sorted(essence, key=lambda port: json.number(port, "port"))


def _with_node_ports(ports: list[Json], have: Json | None) -> list[Json]:
    given = {
        json.text(port, "name"): port["nodePort"] for port in json.items(have, "spec", "ports") if "nodePort" in port
    }
    return [{**port, "nodePort": given[port["name"]]} if port["name"] in given else port for port in ports]


# --- the primary -------------------------------------------------------------------------------------------------


def _primary(canary: Canary, state: State, found: Found, label: tuple[str, str], options: Options) -> Iterable[Wanted]:
    """Made once; given a new template by a promotion only, in the same write as its revision."""
    if copies(state, found):
        return
    shown = observe.target_revision(found)
    if found.primary is None:
        if state.phase is Phase.INITIALIZING or shown == state.promoted:
            yield Wanted(kinds.DEPLOYMENT, canary.names.primary, _primary_body(canary, found, label, options, shown))
        return
    carried = json.text(found.primary, "metadata", "annotations", observe.PROMOTION)
    if state.phase is Phase.PROMOTING and state.promotion not in {"", carried} and shown == state.revision:
        body = _primary_body(canary, found, label, options, shown, state.promotion)
        spec = {key: value for key, value in json.mapping(body, "spec").items() if key not in {"selector", "template"}}
        if canary.names.autoscaler or not spec["replicas"]:
            del spec["replicas"]
        labels = json.mapping(body, "metadata", "labels")
        merged = {
            "metadata": {"annotations": _marks(shown, state.promotion), "labels": labels},
            "spec": spec,
        }
        template = json.mapping(body, "spec", "template")
        yield Wanted(kinds.DEPLOYMENT, canary.names.primary, None, {("spec", "template"): template}, merged)


def _marks(revision: str, promotion: str) -> dict[str, str]:
    return {observe.REVISION: revision, **({observe.PROMOTION: promotion} if promotion else {})}


def _primary_body(
    canary: Canary, found: Found, label: tuple[str, str], options: Options, revision: str, promotion: str = ""
) -> Json:
    """The target through the primary transform (behaviour sheet §3.2)."""
    target = found.target or {}
    spec = json.mapping(target, "spec")
    value = names.primary(label[1])
    kept = ("progressDeadlineSeconds", "minReadySeconds", "revisionHistoryLimit", "strategy")
    annotations = {key: text for key, text in json.mapping(target, "metadata", "annotations").items() if _portable(key)}
    replicas = json.number(spec, "replicas", default=1)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": canary.names.primary,
            "namespace": canary.spec.namespace,
            "labels": {**included(json.mapping(target, "metadata", "labels"), options), label[0]: value},
            "annotations": {**annotations, **_marks(revision, promotion)},
            "ownerReferences": [owner(canary)],
        },
        "spec": {
            **{key: spec[key] for key in kept if key in spec},
            "replicas": replicas if promotion else replicas or 1,
            "selector": {"matchLabels": {label[0]: value}},
            "template": _primary_template(canary, found, label, options, promotion or revision),
        },
    }


def _portable(key: str) -> bool:
    """Annotations that mean the target itself would lie on its copy."""
    return "toolkit.fluxcd.io" not in key and not key.startswith(
        ("kubectl.kubernetes.io/", "deployment.kubernetes.io/", "argocd.argoproj.io/")
    )


def included(labels: Mapping[str, str], options: Options) -> dict[str, str]:
    """Labels that may be copied to generated objects (behaviour sheet §3.4)."""
    prefixes = options.label_prefixes
    return {
        key: value
        for key, value in labels.items()
        if "toolkit.fluxcd.io" not in key and ("*" in prefixes or key.startswith(tuple(prefixes) or ("\0",)))
    }


def _primary_template(canary: Canary, found: Found, label: tuple[str, str], options: Options, fresh: str) -> Json:
    template = configs.rename(json.mapping(found.target, "spec", "template"), set(found.configs or {}))
    metadata = json.mapping(template, "metadata")
    labels = {key: value for key, value in json.mapping(metadata, "labels").items() if "toolkit.fluxcd.io" not in key}
    annotations = {
        key: value for key, value in json.mapping(metadata, "annotations").items() if "toolkit.fluxcd.io" not in key
    }
    # Fresh for every copy, so that every promotion rolls out; the same for a repeated write of the same copy.
    annotations["flagger-id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{canary.spec.uid}/{fresh}"))
    pod = json.mapping(template, "spec")
    _rewrite_affinity(pod, canary.names.target, options)
    return {
        "metadata": {"labels": {**labels, label[0]: names.primary(label[1])}, "annotations": annotations},
        "spec": pod,
    }


def _rewrite_affinity(pod: Json, target: str, options: Options) -> None:
    """Anti-affinity and spread rules about the target's own pods shall be about the primary's."""
    rules = json.mapping(pod, "affinity", "podAntiAffinity")
    terms = json.items(rules, "requiredDuringSchedulingIgnoredDuringExecution")
    for each in json.items(rules, "preferredDuringSchedulingIgnoredDuringExecution"):
        terms.append(json.mapping(each, "podAffinityTerm"))
    for term in [*terms, *json.items(pod, "topologySpreadConstraints")]:
        select = json.mapping(term, "labelSelector")
        for expression in json.items(select, "matchExpressions"):
            values = expression.get("values") or []
            if json.text(expression, "key") in options.selector_labels and target in values:
                values[values.index(target)] = names.primary(target)
        labels = json.mapping(select, "matchLabels")
        for key in options.selector_labels:
            if labels.get(key) == target:
                labels[key] = names.primary(target)


def _autoscaler(canary: Canary, state: State, found: Found) -> Iterable[Wanted]:
    """The primary's own HPA: made once, renewed by promotions."""
    reference, source = canary.model.autoscaler_ref, found.autoscaler
    if reference is None or source is None or found.primary is None:
        return
    spec = {**json.mapping(source, "spec")}
    spec["scaleTargetRef"] = {**json.mapping(spec, "scaleTargetRef"), "name": canary.names.primary}
    limits = reference.primary_scaler_replicas
    if limits and limits.min_replicas:
        spec["minReplicas"] = limits.min_replicas
    if limits and limits.max_replicas:
        spec["maxReplicas"] = limits.max_replicas
    name = canary.names.primary_autoscaler
    labels = {k: v for k, v in json.mapping(source, "metadata", "labels").items() if "toolkit.fluxcd.io" not in k}
    body = {
        "apiVersion": kinds.AUTOSCALER.api_version,
        "kind": kinds.AUTOSCALER.kind,
        "metadata": {
            "name": name, "namespace": canary.spec.namespace, "labels": labels, "ownerReferences": [owner(canary)],
        },
        "spec": spec,
    }  # fmt: skip
    if found.primary_autoscaler is None:
        yield Wanted(kinds.AUTOSCALER, name, body)
    elif state.phase is Phase.PROMOTING:
        yield Wanted(kinds.AUTOSCALER, name, None, {("spec",): spec})


# --- traffic and size --------------------------------------------------------------------------------------------


def _route(canary: Canary, state: State, found: Found) -> Iterable[Wanted]:
    source = found.source_route
    try:
        spec = routes.generated_spec(source or {}, canary.names, canary.spec.namespace, state.weight)
    except routes.NoRoute:
        # The source is gone or unusable: people have been told. What it generated keeps serving with safe weights.
        return
    labels = routes.copied(json.mapping(source, "metadata", "labels"))
    annotations = {**routes.copied(json.mapping(source, "metadata", "annotations")), **_OPT_OUT}
    body = {
        "apiVersion": kinds.APISIX_ROUTE.api_version,
        "kind": kinds.APISIX_ROUTE.kind,
        "metadata": {
            "name": canary.names.canary_route,
            "namespace": canary.spec.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner(canary)],
        },
        "spec": spec,
    }
    yield Wanted(kinds.APISIX_ROUTE, canary.names.canary_route, body, {("spec",): spec})


def target_replicas(canary: Canary, state: State, found: Found) -> int | None:
    """How many replicas the target shall have, or None where its number is none of our business."""
    have = json.number(found.target, "spec", "replicas", default=1)
    idle = state.phase in SETTLED and state.stage in {Stage.IDLE, Stage.CONFIRMING} and state.weight == 0
    if idle or state.phase is Phase.WAITING:
        return None if have == 0 else 0
    if state.phase in {Phase.NEW, Phase.INITIALIZING} or state.phase in SETTLED or have > 0:
        return None
    return scaled_up(canary, found)


def scaled_up(canary: Canary, found: Found) -> int:
    """Replicas of a target that stands at zero (behaviour sheet §3.6)."""
    if canary.names.autoscaler:
        return max(json.number(found.autoscaler, "spec", "minReplicas", default=1), 1)
    return max(json.number(found.primary, "spec", "replicas", default=1), 1)


def _restored(canary: Canary, found: Found, options: Options) -> Iterable[Wanted]:
    """Deletion: the target serves before the apex points at it, and the route goes last (behaviour sheet §2.9)."""
    replicas = json.number(found.primary, "spec", "replicas", default=1) or 1
    if json.number(found.target, "spec", "replicas", default=1) == 0:
        yield Wanted(kinds.DEPLOYMENT, canary.names.target, merged={"spec": {"replicas": replicas}})
        return
    ready = observe.rollout(found.target or {})
    if ready.observed < ready.generation or ready.available < (ready.replicas or 1):
        return
    label, value = selector(canary, found, options)
    apex = found.services.get(canary.names.apex)
    if apex is not None:
        yield Wanted(kinds.SERVICE, canary.names.apex, None, {("spec", "selector"): {label: value}})
    yield Wanted(kinds.APISIX_ROUTE, canary.names.canary_route, gone=True)
