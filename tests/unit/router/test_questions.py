"""What a tick asks, against §7 of the behaviour sheet: queries rendered, bounds taken, and what can't be asked said."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.router import parse, questions
from services.router.found import Found, RouteFound
from services.router.rollout.state import PendingTick, Phase, Purpose, Stage, State
from services.router.scene import Scene
from shared.canary import queries
from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.theatre import guide
from tests.unit.router.stage import START

ROUTE = {"metadata": {"name": "podinfo-podinfo-canary"}, "spec": {"http": [{"name": "method"}]}}
CANARY, PRIMARY = queries.node_pattern(["10.0.0.9"]), queries.node_pattern(["10.0.0.1"])
TICK = PendingTick(1, START, Purpose.ANALYSIS, "r2")
STATE = State(phase=Phase.PROGRESSING, stage=Stage.JUDGING, weight=10, revision="r2", step_started=START)


def template(query: str, namespace: str = "test", **provider: Any) -> dict[tuple[str, str], Json]:
    spec = {"provider": {"type": "prometheus", "address": "http://prometheus.mine", **provider}, "query": query}
    return {(namespace, "own"): {"metadata": {"name": "own", "namespace": namespace}, "spec": spec}}


def scene(metrics: list[Json], templates: dict[tuple[str, str], Json] | None = None, **spec: Any) -> Scene:
    canary = guide("canary")
    canary["spec"].update(spec)
    canary["spec"]["analysis"]["metrics"] = metrics
    found = Found(
        routes={"podinfo": RouteFound(generated=ROUTE)}, templates=templates or {}, primary_nodes=("10.0.0.1",)
    )
    return Scene(parse.canary(canary, timedelta()), STATE, found, ("10.0.0.9",), "http://prometheus.default")


def only(metrics: list[Json], templates: dict[tuple[str, str], Json] | None = None, **spec: Any) -> wire.Metric:
    [metric] = questions.metrics(scene(metrics, templates, **spec), TICK)
    return metric


def test_builtins_are_asked_for_the_canarys_own_nodes_by_the_routes_own_name() -> None:
    """W-A6, W-A8, W-A9."""
    rate, duration = questions.metrics(scene([
        {"name": "request-success-rate", "thresholdRange": {"min": 99}},
        {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "30s"},
    ]), TICK)  # fmt: skip
    assert (rate.source, rate.lower, rate.upper) == (wire.MetricSource.SUCCESS_RATE, 99, None)
    assert (duration.source, duration.lower, duration.upper) == (wire.MetricSource.DURATION, None, 500)
    for metric, window in ((rate, "1m"), (duration, "30s")):
        assert "test_podinfo-podinfo-canary_method" in metric.query
        assert f'node=~"{CANARY}"' in metric.query
        assert f"[{window}:1s]" in metric.query
        assert "node=~" not in metric.fallback
        assert metric.provider == wire.Provider(address="http://prometheus.default")


def test_the_old_threshold_bounds_from_the_side_that_makes_sense() -> None:
    assert only([{"name": "request-success-rate", "threshold": 99}]).lower == 99
    assert only([{"name": "request-duration", "threshold": 500}]).upper == 500
    assert only([{"name": "mine", "query": "1"}]).upper == 0, "none is zero"


def test_inline_queries_go_to_the_canarys_metrics_server() -> None:
    text = 'sum(rate(x{ns="{{ namespace }}",t="{{ target }}",r="{{ route }}"}[{{ interval }}]))'
    metric = only([{"name": "mine", "query": text, "threshold": 1}], metricsServer="http://prometheus.other")
    assert metric.source is wire.MetricSource.QUERY
    assert metric.query == 'sum(rate(x{ns="test",t="podinfo",r="podinfo"}[1m]))'
    assert metric.provider == wire.Provider(address="http://prometheus.other")


def test_a_template_is_rendered_with_flaggers_variables_and_ours() -> None:
    text = "{{ name }} {{ namespace }} {{ target }} {{ service }} {{ ingress }} {{ route }} {{ interval }} {{ variables.x }}"
    text += " {{ canaryNodes }} {{ primaryNodes }}"
    metric = only(
        [{"name": "mine", "templateRef": {"name": "own"}, "templateVariables": {"x": "y"}, "interval": "2m"}],
        template(text, secretRef={"name": "key"}, headers={"X-Scope": ["a", "b"]}),
        ingressRef={"apiVersion": "v1", "kind": "Ingress", "name": "front"},
        service={"port": 80, "name": "apex"},
    )
    assert metric.query == f"podinfo test podinfo apex front podinfo 2m y {CANARY} {PRIMARY}"
    assert metric.provider is not None
    assert metric.provider.secret == wire.SecretRef(namespace="test", name="key")
    assert metric.provider.headers == {"X-Scope": ["a", "b"]}
    assert metric.provider.template == "own.test"


def test_a_template_of_another_namespace() -> None:
    reference = {"name": "own", "namespace": "shared"}
    metric = only([{"name": "mine", "templateRef": reference}], template("{{ interval }}", "shared"))
    assert (metric.query, metric.error) == ("1m", "")


@pytest.mark.parametrize(
    ("metric", "templates", "text"),
    [
        (
            {"templateRef": {"name": "own"}}, {},
            'Metric template own.test error: metrictemplates.flagger.app "own" not found',
        ),
        (
            {"templateRef": {"name": "own"}}, template("{{ nobody }}"),
            "Metric template own.test query render error: 'nobody' is undefined",
        ),
        (
            {"templateRef": {"name": "own"}}, template("{{ variables.absent }}"),
            "Metric template own.test query render error: 'dict object' has no attribute 'absent'",
        ),
        (
            {"templateRef": {"name": "own"}}, template("q", type="datadog"),
            "Metric template own.test provider datadog error: this provider is not supported, use prometheus",
        ),
        (
            {"templateRef": {"name": "own"}}, {("test", "own"): {"spec": {"provider": {"type": "prometheus"}}}},
            "Metric template own.test error: Field required",
        ),
        ({}, {}, "Metric query failed for no usable metrics template and query were configured"),
        ({"query": "{{ broken"}, {}, "Prometheus query failed for mine: "),
    ],
)  # fmt: skip
def test_what_cant_be_asked_is_said(metric: Json, templates: dict[tuple[str, str], Json], text: str) -> None:
    found = only([{"name": "mine", **metric}], templates)
    assert found.error.startswith(text)
    assert found.query == ""


def test_templates_of_people_reach_nothing_but_their_variables() -> None:
    text = "{{ ''.__class__.__mro__ }}"
    assert "query render error" in only([{"name": "mine", "templateRef": {"name": "own"}}], template(text)).error


def test_evidence_is_asked_where_the_gateways_numbers_count() -> None:
    tick = PendingTick(7, START + timedelta(seconds=10), Purpose.ANALYSIS, "r2")
    question = questions.question(scene([{"name": "request-duration", "threshold": 1}]), tick)
    assert question.evidence is not None
    assert question.evidence.first_tick
    assert "[10s:1s]" in question.evidence.query
    assert questions.question(scene([{"name": "mine", "query": "1"}]), tick).evidence is None


def test_each_provider_is_asked_once() -> None:
    metrics: list[Json] = [
        {"name": "request-success-rate", "threshold": 1}, {"name": "request-duration", "threshold": 1},
        {"name": "mine", "templateRef": {"name": "own"}},
    ]  # fmt: skip
    question = questions.question(scene(metrics, template("1")), PendingTick(1, START, Purpose.PROVIDERS, ""))
    assert [each.address for each in question.providers] == ["http://prometheus.default", "http://prometheus.mine"]


@pytest.mark.parametrize(("began", "interval"), [(5, "5s"), (30, "30s"), (90, "1m")])
def test_a_builtin_check_never_looks_back_beyond_its_analysis(began: int, interval: str) -> None:
    state = replace(STATE, analysis_started=START - timedelta(seconds=began))
    asked = replace(scene([{"name": "request-success-rate", "threshold": 99}]), state=state)
    (metric,) = questions.question(asked, TICK).metrics
    assert f"[{interval}:" in metric.query


def unrouted(**analysis: Any) -> Scene:
    """At weight 0, in the middle of an analysis by iterations."""
    asked = scene([{"name": "request-success-rate", "threshold": 99}, {"name": "request-duration", "threshold": 1}])
    document = asked.canary.document
    document["spec"]["analysis"].update({"stepWeight": 0, "iterations": 5, **analysis})
    state = replace(STATE, weight=0, iterations=2, analysis_started=START - timedelta(seconds=30))
    return replace(asked, canary=parse.canary(document, timedelta()), state=state)


def test_before_any_traffic_is_routed_the_pods_are_asked() -> None:
    """W-A7."""
    question = questions.question(unrouted(), TICK)
    for metric in question.metrics:
        assert "http_request_duration_seconds" in metric.query
        assert 'kubernetes_namespace="test",kubernetes_pod_name=~"podinfo-[0-9a-z]+-[0-9a-z]+"' in metric.query
        assert 'namespace="test",pod=~"podinfo-[0-9a-z]+-[0-9a-z]+"' in metric.query
        assert "[30s:1s]" in metric.query
        assert "apisix" not in metric.query + metric.fallback
    evidence = question.evidence
    assert evidence is not None
    assert evidence.query == evidence.nodes_query == evidence.route_query
    assert "http_request_duration_seconds_count" in evidence.query


def test_what_testers_are_answered_is_the_gateways_number() -> None:
    """W-A2."""
    match = [{"headers": {"x-canary": {"exact": "insider"}}}]
    rules = [{"name": "method"}, {"name": "method-canary-1"}]
    route = {"metadata": {"name": "podinfo-podinfo-canary"}, "spec": {"http": rules}}
    asked = unrouted(match=match)
    asked = replace(asked, found=replace(asked.found, routes={"podinfo": RouteFound(generated=route)}))
    own, public = "test_podinfo-podinfo-canary_method-canary-1", "test_podinfo-podinfo-canary_method|"
    question = questions.question(asked, TICK)
    assert question.evidence is not None
    for query in (*(metric.query for metric in question.metrics), question.evidence.query):
        assert f'node=~"{CANARY}"' in query
        assert own in query
        assert public not in query, "the public's failures aren't the canary's"
    asked = replace(asked, state=replace(asked.state, weight=10))
    assert all(public in metric.query for metric in questions.question(asked, TICK).metrics)


@pytest.mark.parametrize(
    ("iterations", "gates"), [(2, ()), (5, ("confirm-promotion",)), (6, ("confirm-promotion",))]
)  # fmt: skip
def test_iterations_are_gated_at_their_end_only(iterations: int, gates: tuple[str, ...]) -> None:
    types = ("confirm-traffic-increase", "confirm-promotion", "pre-rollout")
    hooks = [{"name": each, "type": each, "url": "http://gate/"} for each in types]
    asked = unrouted(webhooks=hooks)
    asked = replace(asked, state=replace(asked.state, iterations=iterations))
    assert tuple(hook.type for hook in questions.question(asked, TICK).gates) == gates
    first = questions.question(asked, PendingTick(1, START, Purpose.PRE_ROLLOUT, "r2"))
    assert ([each.type for each in first.hooks], first.gates) == (["pre-rollout"], ())
