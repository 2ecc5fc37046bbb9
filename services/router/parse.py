"""From a Canary object to what the machine decides on. Pure; the only bridge from API models to core values."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.router.rollout.inputs import Request, Verb
from services.router.rollout.spec import Spec
from shared.canary import names
from shared.canary.resource import Analysis, CanarySpec, InvalidCanary, Webhook, parse_spec, seconds
from shared.kube import json
from shared.kube.json import Json
from shared.wire.messages import CanaryRef, Hook

FINALIZER: Final = "finalizer.flagger.app"
REQUEST: Final = "serinus.dev/request"
"""Annotation `<verb>` or `<verb>:<id>`; the same value acts once, so an id makes a second request of the same verb."""
FASTEST: Final = timedelta(seconds=10)
"""Flagger raises shorter intervals to this; rate windows in people's queries count on it."""


@dataclass(frozen=True, slots=True)
class Canary:
    """One Canary object, read three ways: as it is, as the API model, as the machine's rules."""

    document: Json
    model: CanarySpec
    spec: Spec
    names: names.Names

    @property
    def ref(self) -> CanaryRef:
        return CanaryRef(namespace=self.spec.namespace, name=self.spec.name, uid=self.spec.uid)


def canary(document: Json, drain: timedelta) -> Canary:
    """Read a Canary. Raises InvalidCanary naming field and fix."""
    raw = json.mapping(document, "spec")
    model = parse_spec(raw)
    return Canary(document, model, _spec(document, model, drain), names.of(raw))


def broken(document: Json, drain: timedelta) -> Canary:
    """A stand-in for a Canary that can't be read: the parts that can, to say why, to roll back and to give back."""
    raw = json.mapping(document, "spec")
    bare: Json = {"targetRef": {"kind": "Deployment", "name": json.text(raw, "targetRef", "name")}}
    for part in ("service", "routeRef", "autoscalerRef", "progressDeadlineSeconds", "revertOnDeletion", "suspend"):
        if part in raw and _readable({**bare, part: raw[part]}):
            bare[part] = raw[part]
    model = CanarySpec.model_validate(bare)
    return Canary(document, model, _spec(document, model, drain), names.of(bare))


def _readable(spec: Json) -> bool:
    try:
        parse_spec(spec)
    except InvalidCanary:
        return False
    return True


def _spec(document: Json, model: CanarySpec, drain: timedelta) -> Spec:
    analysis = model.analysis or Analysis()
    affinity = analysis.session_affinity
    metadata = json.mapping(document, "metadata")
    finalizers = metadata.get("finalizers") or []
    return Spec(
        namespace=json.namespace(document),
        name=json.name(document),
        uid=json.uid(document),
        target=model.target_ref.name,
        target_kind=model.target_ref.kind,
        interval=max(timedelta(seconds=seconds(analysis.interval or "60s")), FASTEST),
        threshold=max(analysis.threshold, 1),
        step=analysis.step_weight,
        steps=analysis.step_weights,
        max_weight=analysis.max_weight if analysis.max_weight > 0 else 100,
        promotion_step=analysis.step_weight_promotion,
        iterations=max(analysis.iterations, 0),
        testers=bool(analysis.match),
        mirror=analysis.mirror,
        cookie=affinity.cookie_name if affinity else "",
        primary_cookie=affinity.primary_cookie_name if affinity else "",
        deadline=timedelta(seconds=model.progress_deadline_seconds),
        skip_analysis=model.skip_analysis or model.analysis is None,
        suspended=model.suspend,
        hooks=frozenset(hook.type or "rollout" for hook in analysis.webhooks),
        muted=frozenset(hook.name for hook in analysis.webhooks if hook.mute_alert),
        drain=drain,
        deleting="deletionTimestamp" in metadata and FINALIZER in finalizers,
    )


def leaving(document: Json) -> bool:
    """Is it being deleted without anything left for us to do? Its objects belong to the garbage collector then."""
    metadata = json.mapping(document, "metadata")
    return "deletionTimestamp" in metadata and FINALIZER not in (metadata.get("finalizers") or [])


def hooks(model: CanarySpec, *types: str) -> tuple[Hook, ...]:
    """The Canary's webhooks of these types in list order, with Flagger's defaults (timeout 10 s)."""
    webhooks = model.analysis.webhooks if model.analysis else ()
    return tuple(_hook(each) for each in webhooks if (each.type or "rollout") in types)


def _hook(webhook: Webhook) -> Hook:
    return Hook(
        name=webhook.name,
        type=webhook.type or "rollout",
        url=webhook.url,
        timeout_seconds=seconds(webhook.timeout) if len(webhook.timeout) >= 2 else 10.0,
        retries=webhook.retries,
        disable_tls=webhook.disable_tls,
        mute_alert=webhook.mute_alert,
        metadata=webhook.metadata,
    )


def request(document: Json) -> Request | None:
    """A person's request by annotation; unknown verbs are no request."""
    value = json.text(document, "metadata", "annotations", REQUEST)
    verb = value.partition(":")[0]
    return Request(Verb(verb), value) if verb in set(Verb) else None


def decided_on(document: Json) -> tuple[str, int, int]:
    """What of a Canary is never changed by what a step writes before its commit."""
    generation = json.number(document, "metadata", "generation")
    return json.uid(document), generation, json.number(document, "status", "serinus", "transition")
