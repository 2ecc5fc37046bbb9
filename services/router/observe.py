"""From cached objects to what the machine sees. Pure: the objects come in as a `Found`, the time as an argument."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.router import parse, policy, routes
from services.router.parse import Canary
from services.router.revision import revision
from services.router.rollout.inputs import Observation
from services.router.rollout.readiness import READY, Readiness, Rollout, readiness
from services.router.rollout.state import Phase, State
from shared.kube import json
from shared.kube.json import Json

REVISION: Final = "serinus.dev/revision"
"""Annotation of the primary: the revision it was made from, written in the same request as its template."""
PROMOTION: Final = "serinus.dev/promotion"
"""Annotation of the primary: id of the copy it carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything of the cluster that one canary rests on, as it is right now."""

    target: Json | None = None
    primary: Json | None = None
    services: Mapping[str, Json] = field(default_factory=dict)
    """The apex, primary and canary Service by name, as far as they exist."""
    source_route: Json | None = None
    route: Json | None = None
    autoscaler: Json | None = None
    primary_autoscaler: Json | None = None
    other_autoscaler: str = ""
    """Name of an autoscaler that scales the target although the Canary names none."""
    nodes: tuple[str, ...] = ()
    """Ready addresses behind the canary Service."""
    primary_nodes: tuple[str, ...] = ()
    """The same behind the primary Service."""
    templates: Mapping[tuple[str, str], Json] = field(default_factory=dict)
    """MetricTemplates that the Canary names, by (namespace, name), as far as they exist."""
    configs: Mapping[str, str] | None = None
    """Checksums of tracked configs by key (`configmap/x`); None while tracking is off."""
    config_problem: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)
    """Checksums that the primary's copies carry, by the source's key."""
    rival: str = ""
    """`N.NS` of an older Canary with the same target."""
    invalid: str = ""
    """Why this Canary can't be read."""
    hold: str = ""


def observe(canary: Canary, state: State, found: Found, now: datetime) -> Observation:
    """What the machine needs to see."""
    analysis = canary.model.analysis
    refusals = (found.invalid,) if found.invalid else policy.refusals(canary.model, found.rival)
    problem = _problem(canary, found)
    thresholds = (analysis.primary_ready_threshold, analysis.canary_ready_threshold) if analysis else (100, 100)
    annotations = json.mapping(found.primary, "metadata", "annotations")
    return Observation(
        revision="" if problem or found.target is None else target_revision(found),
        problem=problem,
        primary=_ready(found.primary, thresholds[0], canary, now),
        primary_revision=json.text(annotations, REVISION),
        primary_promotion=json.text(annotations, PROMOTION),
        canary=_ready(found.target, thresholds[1], canary, now) if found.target else READY,
        canary_scaled=json.number(found.target, "spec", "replicas", default=1) > 0,
        refusals=refusals,
        hold=found.hold,
        warnings=_warnings(canary, state, found),
        request=parse.request(canary.document),
    )


def target_revision(found: Found) -> str:
    """The revision that the target shows now."""
    return revision(json.mapping(found.target, "spec", "template"), found.configs or {})


def _problem(canary: Canary, found: Found) -> str:
    target, namespace = canary.names.target, canary.spec.namespace
    if found.target is None:
        return f'deployment {target}.{namespace} get query error: deployments.apps "{target}" not found'
    if found.config_problem:
        return found.config_problem
    if canary.names.autoscaler and found.autoscaler is None:
        name = canary.names.autoscaler
        text = f'horizontalpodautoscalers.autoscaling "{name}" not found'
        return f"HorizontalPodAutoscaler {name}.{namespace} get query error: {text}"
    try:
        routes.managed_rule(found.source_route, canary.names, namespace)
    except routes.NoRoute as error:
        return str(error)
    return ""


def _warnings(canary: Canary, state: State, found: Found) -> tuple[str, ...]:
    if not found.other_autoscaler or state.phase is Phase.NEW:
        return ()
    name, target = found.other_autoscaler, canary.spec.target_ref
    return (
        f"HorizontalPodAutoscaler {name}.{canary.spec.namespace} scales {target}, but spec.autoscalerRef is not set: "
        f"no autoscaler {name}-primary is created; set spec.autoscalerRef to have one",
    )


def _ready(deployment: Json | None, threshold: int, canary: Canary, now: datetime) -> Readiness:
    if deployment is None:
        return Readiness(False, True, "it does not exist")
    return readiness(rollout(deployment), threshold, canary.spec.deadline, now)


def rollout(deployment: Json) -> Rollout:
    """The numbers of a Deployment object."""
    conditions = {json.text(each, "type"): each for each in json.items(deployment, "status", "conditions")}
    available, progressing = conditions.get("Available", {}), conditions.get("Progressing", {})
    missing = available.get("status") == "False" and available.get("reason") == "MinimumReplicasUnavailable"
    since = json.text(available, "lastUpdateTime")
    replicas = json.value(deployment, "spec", "replicas")
    return Rollout(
        name=json.name(deployment),
        generation=json.number(deployment, "metadata", "generation"),
        observed=json.number(deployment, "status", "observedGeneration"),
        replicas=replicas if isinstance(replicas, int) else None,
        current=json.number(deployment, "status", "replicas"),
        updated=json.number(deployment, "status", "updatedReplicas"),
        available=json.number(deployment, "status", "availableReplicas"),
        exceeded=progressing.get("reason") == "ProgressDeadlineExceeded",
        progressing=bool(progressing),
        unavailable_since=datetime.fromisoformat(since) if missing and since else None,
    )
