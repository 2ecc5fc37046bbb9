"""What a tick asks: the whole question, rendered, so that any analyzer can judge it without reading the cluster. Pure.

Queries of people are templates with Flagger's variables (`{{ namespace }}`, `{{ variables.x }}`) and two of ours,
`{{ canaryNodes }}` and `{{ primaryNodes }}`: regular expressions that match the `node` label of either side.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, TypedDict

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import ValidationError

from services.router import drain, evidence, parse
from services.router.parse import Canary
from services.router.revision import webhook_checksum
from services.router.rollout.spec import first_gates, gate
from services.router.rollout.state import PendingTick, Phase, Purpose
from services.router.scene import BUILTIN, SUCCESS_RATE, Scene
from services.router.status import short
from shared.canary import queries
from shared.canary.resource import CanaryMetric, MetricTemplateSpec, seconds
from shared.kube import json
from shared.wire import messages as wire

DEFAULT_INTERVAL: Final = "1m"
_TEMPLATES: Final = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
# PromQL is no HTML, so nothing is escaped.


def question(scene: Scene, tick: PendingTick) -> wire.Question:
    """The question of the pending tick."""
    canary, state = scene.canary, scene.state
    return wire.Question(
        purpose=wire.Purpose(tick.purpose),
        payload=payload(canary, state.phase, scene.found.configs, state.revision),
        target=canary.spec.target,
        failed_before=state.failed_checks,
        **_asked(scene, tick),
    )


class _Asked(TypedDict, total=False):
    rollback: tuple[wire.Hook, ...]
    hooks: tuple[wire.Hook, ...]
    gates: tuple[wire.Hook, ...]
    metrics: tuple[wire.Metric, ...]
    evidence: wire.Evidence | None
    comparison: wire.Comparison | None
    providers: tuple[wire.Provider, ...]
    drain: wire.Sides | None


def _asked(scene: Scene, tick: PendingTick) -> _Asked:
    model = scene.canary.model
    match tick.purpose:
        case Purpose.PROVIDERS:
            return {"providers": _providers(scene, tick)}
        case Purpose.CONFIRM_ROLLOUT:
            # As documented by Flagger, which asks rollback hooks from the first step on only (W-G16).
            return {"rollback": parse.hooks(model, "rollback"), "gates": parse.hooks(model, "confirm-rollout")}
        case Purpose.PRE_ROLLOUT:
            return {
                "rollback": parse.hooks(model, "rollback"),
                "hooks": parse.hooks(model, "pre-rollout"),
                "gates": parse.hooks(model, *(first_gates(scene.canary.spec) - {"pre-rollout"})),
            }
        case Purpose.ANALYSIS:
            return _analysis(scene, tick)
        case Purpose.POST_ROLLOUT:
            return {"hooks": parse.hooks(model, "post-rollout")}
        case Purpose.TIMER:
            return {"drain": drain.asked(scene, tick)}


def payload(canary: Canary, phase: Phase, configs: Mapping[str, str] | None, revision: str) -> wire.HookPayload:
    """The fields of webhook bodies that don't depend on the hook."""
    checksum = webhook_checksum(configs, short(revision))
    return wire.HookPayload(name=canary.spec.name, namespace=canary.spec.namespace, phase=str(phase), checksum=checksum)


def _analysis(scene: Scene, tick: PendingTick) -> _Asked:
    model, state = scene.canary.model, scene.state
    return {
        "rollback": parse.hooks(model, "rollback"),
        "hooks": parse.hooks(model, "rollout"),
        "gates": parse.hooks(model, gate(scene.canary.spec, state.weight, state.iterations)),
        "metrics": metrics(scene, tick),
        "evidence": evidence.asked(scene, tick),
        "comparison": evidence.comparison(scene, tick),
    }


def metrics(scene: Scene, tick: PendingTick) -> tuple[wire.Metric, ...]:
    """Every check of the Canary; one that can't be asked carries Flagger's text instead of a query."""
    builtin = [each for metric in scene.metrics for each in _own(scene, metric, tick)]
    templated = [
        _templated(scene, metric)
        for metric in scene.metrics
        if metric.template_ref or not (metric.name in BUILTIN or metric.query)
    ]
    return (*builtin, *templated)


def _own(scene: Scene, metric: CanaryMetric, tick: PendingTick) -> list[wire.Metric]:
    """Builtin and inline checks: asked of the canary's own metrics server."""
    interval, found = _interval(scene, metric, tick), []
    provider = wire.Provider(address=scene.server)
    if metric.name in BUILTIN:
        rate, counted = metric.name == SUCCESS_RATE, scene.counted
        query, fallback = counted.success_rate(interval) if rate else counted.duration(interval, metric.latency)
        found.append(wire.Metric(
            name=metric.name,
            source=wire.MetricSource.SUCCESS_RATE if rate else wire.MetricSource.DURATION,
            query=query,
            fallback=fallback,
            provider=provider,
            blame=(rate and counted.blame(interval)) or None,
            no_data=wire.NoData(metric.no_data),
            **_bounds(metric, lower=rate),
        ))  # fmt: skip
    if metric.query:
        made = wire.Metric(
            name=metric.name,
            source=wire.MetricSource.QUERY,
            provider=provider,
            no_data=wire.NoData(metric.no_data),
            **_bounds(metric, lower=False),
        )
        found.append(_rendered(scene, metric, made, metric.query, f"Prometheus query failed for {metric.name}: "))
    return found


def _interval(scene: Scene, metric: CanaryMetric, tick: PendingTick) -> str:
    """The metric's, but never from before this analysis: where one address stands for all the canary's pods, and
    while a gateway's page is old, the revision before would answer too."""
    wanted = metric.interval or DEFAULT_INTERVAL
    began = scene.state.analysis_started
    if began is None:
        return wanted
    since = max(tick.due - began, timedelta(seconds=1))
    return wanted if timedelta(seconds=seconds(wanted)) <= since else queries.window(since)


def _templated(scene: Scene, metric: CanaryMetric) -> wire.Metric:
    bounds, no_data = _bounds(metric, lower=False), wire.NoData(metric.no_data)
    made = wire.Metric(name=metric.name, source=wire.MetricSource.TEMPLATE, no_data=no_data, **bounds)
    reference = metric.template_ref
    if reference is None:
        text = "Metric query failed for no usable metrics template and query were configured"
        return made.model_copy(update={"error": text})
    namespace = reference.namespace or scene.canary.spec.namespace
    prefix = f"Metric template {reference.name}.{namespace}"
    document = scene.found.templates.get((namespace, reference.name))
    if document is None:
        missing = f'metrictemplates.flagger.app "{reference.name}" not found'
        return made.model_copy(update={"error": f"{prefix} error: {missing}"})
    try:
        template = MetricTemplateSpec.model_validate(json.mapping(document, "spec"))
    except ValidationError as error:
        return made.model_copy(update={"error": f"{prefix} error: {error.errors()[0]['msg']}"})
    if template.provider.type != "prometheus":
        kind = template.provider.type
        text = f"{prefix} provider {kind} error: this provider is not supported, use prometheus"
        return made.model_copy(update={"error": text})
    provider = _provider(template, namespace, f"{reference.name}.{namespace}")
    made = made.model_copy(update={"provider": provider})
    return _rendered(scene, metric, made, template.query, f"{prefix} query render error: ")


def _provider(template: MetricTemplateSpec, namespace: str, name: str) -> wire.Provider:
    secret = template.provider.secret_ref
    return wire.Provider(
        type=template.provider.type,
        address=template.provider.address,
        headers={key: list(values) for key, values in template.provider.headers.items()},
        insecure_skip_verify=template.provider.insecure_skip_verify,
        secret=wire.SecretRef(namespace=namespace, name=secret.name) if secret else None,
        template=name,
    )


def _rendered(scene: Scene, metric: CanaryMetric, made: wire.Metric, text: str, prefix: str) -> wire.Metric:
    try:
        return made.model_copy(update={"query": _TEMPLATES.from_string(text).render(variables(scene, metric))})
    except TemplateError as error:
        return made.model_copy(update={"error": prefix + str(error)})


def variables(scene: Scene, metric: CanaryMetric) -> dict[str, object]:
    """Flagger's template variables (behaviour sheet §7.2) and ours."""
    canary = scene.canary
    ingress = canary.model.ingress_ref
    return {
        "name": canary.spec.name,
        "namespace": canary.spec.namespace,
        "target": canary.spec.target,
        "service": canary.names.apex,
        "ingress": ingress.name if ingress else canary.spec.target,
        "route": canary.names.route or canary.spec.target,
        "interval": metric.interval or DEFAULT_INTERVAL,
        "variables": dict(metric.template_variables),
        "canaryNodes": queries.node_pattern(scene.nodes),
        "primaryNodes": queries.node_pattern(scene.primary),
    }


def _bounds(metric: CanaryMetric, *, lower: bool) -> dict[str, float | None]:
    """`thresholdRange` wins over `threshold`; an absent threshold counts as 0 (behaviour sheet §7.3)."""
    if metric.threshold_range is not None:
        return {"lower": metric.threshold_range.min, "upper": metric.threshold_range.max}
    threshold = metric.threshold or 0.0
    return {"lower": threshold, "upper": None} if lower else {"lower": None, "upper": threshold}


def _providers(scene: Scene, tick: PendingTick) -> tuple[wire.Provider, ...]:
    """Each provider once, the canary's own metrics server first."""
    found: dict[str, wire.Provider] = {}
    for metric in metrics(scene, tick):
        if metric.provider:
            found.setdefault(metric.provider.model_dump_json(), metric.provider)
    return tuple(found.values())
