"""What is published about a transition: the public CloudEvent and the notifier's instructions, one pair an event. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.router import parse
from services.router.parse import Canary
from services.router.questions import payload
from services.router.rollout.spec import Strategy
from services.router.rollout.state import Phase
from shared.kube import json
from shared.kube.json import Json
from shared.wire import messages as wire
from shared.wire import subjects

_STRATEGIES: Final = {Strategy.AB_TESTING: "A/B Testing", Strategy.BLUE_GREEN: "Blue/Green"}


@dataclass(frozen=True, slots=True)
class Publication:
    """One event in its two forms, with their deterministic ids."""

    seq: int
    event: wire.CloudEvent
    notice: wire.Notice


def of(canary: Canary, transition: Json, checks: tuple[wire.Check, ...], revision: str) -> tuple[Publication, ...]:
    """The publications of one transition as the status holds it; `checks` are those of the verdict behind it, if any."""
    configs = json.mapping(canary.document, "status", "serinus").get("configs")
    told = []
    for event in json.items(transition, "events"):
        data = wire.RolloutEvent(
            canary=canary.ref,
            seq=json.number(event, "seq"),
            at=datetime.fromisoformat(json.text(transition, "at")),
            type=_type(json.text(event, "type")),
            event_type="Warning" if json.text(event, "eventType") == "Warning" else "Normal",
            message=json.text(event, "message"),
            phase=json.text(transition, "phase"),
            revision=revision,
            weight=json.number(transition, "weight"),
            failed_checks=json.number(transition, "failedChecks"),
            iterations=json.number(transition, "iterations"),
            cause=json.text(transition, "cause"),
            checks=checks,
        )
        told.append(_publication(canary, data, json.mapping(event, "alert"), configs))
    return tuple(told)


def _type(word: str) -> wire.EventType:
    """Of a newer version's event, whose type we don't know, the text tells all the same."""
    return wire.EventType(word) if word in set(wire.EventType) else wire.EventType.WARNING


def _publication(
    canary: Canary, data: wire.RolloutEvent, alert: Json, configs: Mapping[str, str] | None
) -> Publication:
    ident = f"{data.canary.uid}:{data.seq}"
    subject = subjects.rollout(data.canary.namespace, data.canary.name, data.type)
    cloud = wire.CloudEvent(
        id=ident,
        source=f"/apis/flagger.app/v1beta1/namespaces/{data.canary.namespace}/canaries/{data.canary.name}",
        type=".".join(subject.split(".")[:3]) + f".{data.type}",
        subject=f"{data.canary.namespace}/{data.canary.name}",
        time=data.at,
        data=data,
    )
    checksum = payload(canary, Phase(data.phase), configs, data.revision).checksum
    notice = wire.Notice(
        id=f"notice/{ident}",
        cause=data.cause,
        event=data.model_copy(update={"checks": ()}),
        checksum=checksum,
        alert=_alert(canary, alert) if alert else None,
        hooks=parse.hooks(canary.model, "event"),
    )
    return Publication(data.seq, cloud, notice)


def _alert(canary: Canary, alert: Json) -> wire.Alert:
    analysis = canary.model.analysis
    routes = tuple(
        wire.AlertRoute(
            provider=wire.SecretRef(
                namespace=each.provider_ref.namespace or canary.spec.namespace, name=each.provider_ref.name
            ),
            severity=each.severity,
        )
        for each in (analysis.alerts if analysis else ())
    )
    return wire.Alert(
        severity=wire.Severity(json.text(alert, "severity")),
        message=json.text(alert, "message"),
        fields=_fields(canary) if json.flag(alert, "details") else (),
        routes=routes,
    )


def _fields(canary: Canary) -> tuple[tuple[str, str], ...]:
    """The fields of an alert with details (behaviour sheet §10.1)."""
    analysis, spec = canary.model.analysis, canary.spec
    fields = [
        ("Target", f"{spec.target_kind}/{spec.target_ref}"),
        ("Failed checks threshold", str(analysis.threshold if analysis else 0)),
        ("Progress deadline", f"{canary.model.progress_deadline_seconds}s"),
    ]
    if spec.strategy is not Strategy.CANARY:
        fields.append(("Traffic routing", _STRATEGIES[spec.strategy]))
    elif analysis and analysis.step_weight > 0:
        fields.append(("Traffic routing", f"Weight step: {analysis.step_weight} max: {analysis.max_weight}"))
    elif analysis and analysis.step_weights:
        steps = ",".join(map(str, analysis.step_weights))
        fields.append(("Traffic routing", f"Weight steps: {steps} max: {analysis.max_weight}"))
    return tuple(fields)
