"""The primary workload and its autoscaler, made from the target's (behaviour sheet §3.2, §3.5, §5.1). Pure."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.router.found import PROMOTION, REVISION, Found, target_revision
from services.router.objects import NoSelector, Options, Wanted, included, owners, selector, without_flux
from services.router.parse import Canary
from services.router.revision import revision
from services.router.rollout.state import TAKEN_OVER, Phase, State
from shared.canary import configs, names
from shared.kube import json, kinds
from shared.kube.json import Json

FRESH: Final = "flagger-id"
"""Annotation of the primary's pods, another one for every copy."""
_KEPT: Final = ("progressDeadlineSeconds", "minReadySeconds", "revisionHistoryLimit", "strategy")
_MARKS: Final = frozenset({REVISION, PROMOTION})


@dataclass(frozen=True, slots=True)
class Marks:
    """What the primary carries beside its template, written in the same request."""

    revision: str
    promotion: str

    def annotations(self) -> dict[str, str]:
        return {REVISION: self.revision, **({PROMOTION: self.promotion} if self.promotion else {})}


def primary(canary: Canary, state: State, found: Found, label: tuple[str, str], options: Options) -> Iterable[Wanted]:
    """Made once; given a new template by a promotion only, in the same write as its revision.

    It's made again from what the target shows, should somebody delete it: its old template is lost, and an unjudged
    revision is better than nobody to serve.
    """
    name, shown = canary.names.primary, target_revision(found)
    promoting = state.phase is Phase.PROMOTING and shown == state.revision and state.promotion != TAKEN_OVER
    marks = Marks(shown, state.promotion if promoting else "")
    if found.primary is None:
        yield Wanted(kinds.DEPLOYMENT, name, _body(canary, found, label, options, marks))
        return
    annotations = json.mapping(found.primary, "metadata", "annotations")
    copying = marks.promotion not in {"", json.text(annotations, PROMOTION)}
    # What was never ready serves nobody yet: a first image that can't start is mended like any other.
    mending = state.phase is Phase.INITIALIZING and json.text(annotations, REVISION) not in {"", shown}
    if copying or (mending and not serving(found)):
        scaled = json.number(found.primary, "spec", "replicas", default=1) if canary.names.autoscaler else 0
        yield _renewed(name, _body(canary, found, label, options, marks), at_least=scaled)


def serving(found: Found) -> bool:
    """Does the primary, as it shall be by now, have a pod that can answer?"""
    status = json.mapping(found.primary, "status")
    seen = json.number(status, "observedGeneration") >= json.number(found.primary, "metadata", "generation")
    return seen and json.number(status, "availableReplicas") > 0


def _renewed(name: str, body: Json, *, at_least: int) -> Wanted:
    """The new template and what belongs to it, and as many replicas as the canary has, which serves its share with them:
    less would not be enough for the traffic that comes back. An autoscaler's number is only ever raised."""
    spec, metadata = json.mapping(body, "spec"), json.mapping(body, "metadata")
    exact: dict[tuple[str, ...], object] = {("spec", key): spec.get(key) for key in ("template", *_KEPT)}
    annotations = {key: value for key, value in json.mapping(metadata, "annotations").items() if key in _MARKS}
    merged: Json = {"metadata": {"annotations": annotations, "labels": metadata["labels"]}}
    if spec["replicas"]:
        merged["spec"] = {"replicas": max(spec["replicas"], at_least)}
    return Wanted(kinds.DEPLOYMENT, name, None, exact, merged)


def carried_revision(canary: Canary, found: Found, options: Options) -> str:
    """The revision that the primary was made from. One that another controller made carries no mark: then it's the
    target's, if the primary looks like made from that, else nobody knows."""
    marked = json.text(found.primary, "metadata", "annotations", REVISION)
    if marked or found.primary is None:
        return marked
    try:
        label = selector(canary, found, options)
    except NoSelector:
        return ""
    shown = target_revision(found)
    made = _template(canary, found, label, options, shown)
    have = json.mapping(found.primary, "spec", "template")
    return shown if _comparable(made) == _comparable(have) else ""


def _comparable(template: Json) -> str:
    """As a revision, but for the marks that every copy has of its own."""
    metadata = json.mapping(template, "metadata")
    annotations = {key: value for key, value in json.mapping(metadata, "annotations").items() if key != FRESH}
    return revision({**template, "metadata": {**metadata, "annotations": annotations}}, {})


def _body(canary: Canary, found: Found, label: tuple[str, str], options: Options, marks: Marks) -> Json:
    """The target through the primary transform (behaviour sheet §3.2)."""
    target = found.target or {}
    spec = json.mapping(target, "spec")
    value = names.primary(label[1])
    annotations = {key: text for key, text in json.mapping(target, "metadata", "annotations").items() if _portable(key)}
    replicas = json.number(spec, "replicas", default=1)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": canary.names.primary,
            "namespace": canary.spec.namespace,
            "labels": {**included(json.mapping(target, "metadata", "labels"), options), label[0]: value},
            "annotations": {**annotations, **marks.annotations()},
            "ownerReferences": owners(canary, found),
        },
        "spec": {
            **{key: spec[key] for key in _KEPT if key in spec},
            "replicas": replicas if found.primary else replicas or 1,
            "selector": {"matchLabels": {label[0]: value}},
            "template": _template(canary, found, label, options, marks.promotion or marks.revision),
        },
    }


def _portable(key: str) -> bool:
    """Annotations that mean the target itself would lie on its copy."""
    return "toolkit.fluxcd.io" not in key and not key.startswith(
        ("kubectl.kubernetes.io/", "deployment.kubernetes.io/", "argocd.argoproj.io/")
    )


def _template(canary: Canary, found: Found, label: tuple[str, str], options: Options, fresh: str) -> Json:
    template = configs.rename(json.mapping(found.target, "spec", "template"), set(found.configs or {}))
    metadata = json.mapping(template, "metadata")
    labels = without_flux(json.mapping(metadata, "labels"))
    annotations = without_flux(json.mapping(metadata, "annotations"))
    # Fresh for every copy, so that every promotion rolls out; the same for a repeated write of the same copy.
    annotations[FRESH] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{canary.spec.uid}/{fresh}"))
    pod = json.mapping(template, "spec")
    rewrite_affinity(pod, canary.names.target, canary.names.primary, options)
    return {
        "metadata": {"labels": {**labels, label[0]: names.primary(label[1])}, "annotations": annotations},
        "spec": pod,
    }


def rewrite_affinity(pod: Json, old: str, new: str, options: Options) -> None:
    """Anti-affinity and spread rules about one workload's own pods shall be about the other's."""
    rules = json.mapping(pod, "affinity", "podAntiAffinity")
    terms = json.items(rules, "requiredDuringSchedulingIgnoredDuringExecution")
    for each in json.items(rules, "preferredDuringSchedulingIgnoredDuringExecution"):
        terms.append(json.mapping(each, "podAffinityTerm"))
    for term in [*terms, *json.items(pod, "topologySpreadConstraints")]:
        select = json.mapping(term, "labelSelector")
        for expression in json.items(select, "matchExpressions"):
            values = expression.get("values") or []
            if json.text(expression, "key") in options.selector_labels and old in values:
                values[values.index(old)] = new
        labels = json.mapping(select, "matchLabels")
        for key in options.selector_labels:
            if labels.get(key) == old:
                labels[key] = new


def autoscaler(canary: Canary, state: State, found: Found) -> Iterable[Wanted]:
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
    labels = without_flux(json.mapping(source, "metadata", "labels"))
    body = {
        "apiVersion": kinds.AUTOSCALER.api_version,
        "kind": kinds.AUTOSCALER.kind,
        "metadata": {
            "name": name, "namespace": canary.spec.namespace, "labels": labels, "ownerReferences": owners(canary, found),
        },
        "spec": spec,
    }  # fmt: skip
    if found.primary_autoscaler is None:
        yield Wanted(kinds.AUTOSCALER, name, body)
    elif state.phase is Phase.PROMOTING:
        yield Wanted(kinds.AUTOSCALER, name, None, {("spec",): spec}, {"metadata": {"labels": labels}})
