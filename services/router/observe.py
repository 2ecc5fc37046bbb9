"""From cached objects to what the machine sees. Pure: the objects come in as a `Found`, the time as an argument."""

from datetime import datetime

from services.router import handing_back, idle, parse, policy, preflight, primary_objects, routes
from services.router.found import PROMOTION, Found, target_revision
from services.router.objects import Options
from services.router.parse import Canary
from services.router.rollout.inputs import Observation, Verb
from services.router.rollout.readiness import Readiness, Rollout, readiness, unready
from services.router.rollout.state import ANALYSING, TAKEN_OVER, Phase, Stage, State
from shared.kube import json
from shared.kube.json import Json


def observe(canary: Canary, state: State, found: Found, options: Options, now: datetime) -> Observation:
    """What the machine needs to see."""
    problem = _problem(canary, found, options, served=state.phase is not Phase.INITIALIZING)
    annotations = json.mapping(found.primary, "metadata", "annotations")
    carried = "" if problem else primary_objects.carried_revision(canary, found, options)
    took_over = state.promotion == TAKEN_OVER
    deleting = canary.spec.deleting
    return Observation(
        revision="" if problem or found.target is None else target_revision(found),
        problem=problem,
        target_missing=found.target is None or (deleting and "deletionTimestamp" in found.target["metadata"]),
        primary=primary(canary, state, found, now),
        routed=max([routes.share(each, canary.names) for each in found.generated], default=0),
        primary_revision=carried,
        primary_promotion=TAKEN_OVER if took_over and carried == state.revision else json.text(annotations, PROMOTION),
        canary=target(canary, state, found, now),
        canary_scaled=json.number(found.target, "spec", "replicas", default=1) > 0,
        fronted=deleting and handing_back.fronted(canary, found, options),
        unpromoted=deleting and handing_back.unpromoted(canary, found, options),
        canary_sized=deleting and handing_back.sized(canary, found),
        belongings=tuple(f"{kind.kind} {json.name(each)}" for kind, each in found.belongings),
        raised=idle.raised(canary, state, found),
        sized_by=idle.claimed(found),
        refusals=policy.refusals(canary.model, found),
        hold=found.hold,
        warnings=_warnings(canary, state, found),
        request=parse.request(canary.document),
    )


def primary(canary: Canary, state: State, found: Found, now: datetime) -> Readiness:
    """The primary's readiness; a promotion's copy starts its deadline anew."""
    since = state.step_started if state.phase is Phase.PROMOTING else None
    if found.primary is None:
        return _missing(canary.names.primary, canary.spec.namespace)
    return readiness(rollout(found.primary), _primary_threshold(canary), canary.spec.deadline, now, since)


def target(canary: Canary, state: State, found: Found, now: datetime) -> Readiness:
    """The target's readiness; each rollout starts its deadline anew. A target that isn't there won't be ready."""
    since = state.rollout_started if state.phase in ANALYSING else None
    awaited = since if state.stage is Stage.READYING else None
    if found.target is None:
        return _missing(canary.names.target, canary.spec.namespace, retriable=False)
    return readiness(rollout(found.target), _canary_threshold(canary), canary.spec.deadline, now, since, awaited)


def aborting(canary: Canary, state: State, found: Found) -> bool:
    """Is an abort pending that will take the canary's traffic away?

    A person may have done so already with nobody here to decide it (`abort --direct`). Giving the traffic back until it
    is decided would be the one thing that wasn't asked for. The exception is the machine's: who serves everybody stays.
    """
    asked = parse.request(canary.document)
    if asked is None or asked.verb is not Verb.ABORT or asked.id == state.request or state.phase not in ANALYSING:
        return False
    return state.weight < 100 or primary_serves(canary, found)


def primary_serves(canary: Canary, found: Found) -> bool:
    """Is the primary there and ready, by the Canary's own threshold?"""
    return found.primary is not None and unready(rollout(found.primary), _primary_threshold(canary)) is None


def _primary_threshold(canary: Canary) -> int:
    return canary.model.analysis.primary_ready_threshold if canary.model.analysis else 100


def _canary_threshold(canary: Canary) -> int:
    return canary.model.analysis.canary_ready_threshold if canary.model.analysis else 100


def _missing(name: str, namespace: str, *, retriable: bool = True) -> Readiness:
    return Readiness(
        False, retriable, f'deployment {name}.{namespace} get query error: deployments.apps "{name}" not found'
    )


def _problem(canary: Canary, found: Found, options: Options, *, served: bool) -> str:
    name, namespace = canary.names.target, canary.spec.namespace
    if found.target is None:
        return _missing(name, namespace).text
    if found.trouble or found.config_problem:
        return found.trouble or found.config_problem
    if canary.names.autoscaler and found.autoscaler is None:
        name = canary.names.autoscaler
        text = f'horizontalpodautoscalers.autoscaling "{name}" not found'
        return f"HorizontalPodAutoscaler {name}.{namespace} get query error: {text}"
    return preflight.problem(canary, found, options, served=served)


def _warnings(canary: Canary, state: State, found: Found) -> tuple[str, ...]:
    if state.phase in {Phase.NEW, Phase.TERMINATING}:
        return ()
    return (*_unnamed_autoscaler(canary, found), *preflight.warnings(canary, found))


def _unnamed_autoscaler(canary: Canary, found: Found) -> tuple[str, ...]:
    if not found.other_autoscaler:
        return ()
    name, scaled = found.other_autoscaler, canary.spec.target_ref
    return (
        f"HorizontalPodAutoscaler {name}.{canary.spec.namespace} scales {scaled}, but spec.autoscalerRef is not set: "
        f"no autoscaler {name}-primary is created; set spec.autoscalerRef to have one",
    )


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
        settled=progressing.get("reason") == "NewReplicaSetAvailable",
        unavailable_since=datetime.fromisoformat(since) if missing and since else None,
    )
