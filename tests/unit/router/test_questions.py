"""What a tick asks, against §7 of the behaviour sheet: queries rendered, bounds taken, and what can't be asked said."""

from datetime import timedelta
from typing import Any

import pytest

from services.router import parse, questions
from services.router.found import Found
from services.router.questions import Scene
from services.router.rollout.state import PendingTick, Phase, Purpose, Stage, State
from shared.canary import queries
from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.theatre import guide
from tests.unit.router.stage import START

ROUTE = {"metadata": {"name": "podinfo-podinfo-canary"}, "spec": {"http": [{"name": "method"}]}}
CANARY, PRIMARY = queries.node_pattern(["10.0.0.9"]), queries.node_pattern(["10.0.0.1"])
STATE = State(phase=Phase.PROGRESSING, stage=Stage.JUDGING, weight=10, revision="r2", step_started=START)


def template(query: str, namespace: str = "test", **provider: Any) -> dict[tuple[str, str], Json]:
    spec = {"provider": {"type": "prometheus", "address": "http://prometheus.mine", **provider}, "query": query}
    return {(namespace, "own"): {"metadata": {"name": "own", "namespace": namespace}, "spec": spec}}


def scene(metrics: list[Json], templates: dict[tuple[str, str], Json] | None = None, **spec: Any) -> Scene:
    canary = guide("canary")
    canary["spec"].update(spec)
    canary["spec"]["analysis"]["metrics"] = metrics
    found = Found(route=ROUTE, templates=templates or {}, primary_nodes=("10.0.0.1",))
    return Scene(parse.canary(canary, timedelta()), STATE, found, ("10.0.0.9",), "http://prometheus.default")


def only(metrics: list[Json], templates: dict[tuple[str, str], Json] | None = None, **spec: Any) -> wire.Metric:
    [metric] = questions.metrics(scene(metrics, templates, **spec))
    return metric


def test_builtins_are_asked_for_the_canarys_own_nodes_by_the_routes_own_name() -> None:
    """W-A6, W-A8, W-A9."""
    rate, duration = questions.metrics(scene([
        {"name": "request-success-rate", "thresholdRange": {"min": 99}},
        {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "30s"},
    ]))  # fmt: skip
    assert (rate.source, rate.lower, rate.upper) == (wire.MetricSource.SUCCESS_RATE, 99, None)
    assert (duration.source, duration.lower, duration.upper) == (wire.MetricSource.DURATION, None, 500)
    for metric, window in ((rate, "1m"), (duration, "30s")):
        assert "test_podinfo-podinfo-canary_method" in metric.query
        assert f'node=~"{CANARY}"' in metric.query
        assert f"offset {window}" in metric.query
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
    assert "offset 10s" in question.evidence.query
    assert questions.question(scene([{"name": "mine", "query": "1"}]), tick).evidence is None


def test_each_provider_is_asked_once() -> None:
    metrics: list[Json] = [
        {"name": "request-success-rate", "threshold": 1}, {"name": "request-duration", "threshold": 1},
        {"name": "mine", "templateRef": {"name": "own"}},
    ]  # fmt: skip
    question = questions.question(scene(metrics, template("1")), PendingTick(1, START, Purpose.PROVIDERS, ""))
    assert [each.address for each in question.providers] == ["http://prometheus.default", "http://prometheus.mine"]


def test_a_route_that_resolves_by_service_has_one_constant_node() -> None:
    backends = [{"serviceName": "podinfo-canary", "resolveGranularity": "service"}]
    route = {"spec": {"http": [{"backends": backends}]}}
    canary = parse.canary(guide("canary"), timedelta())
    service = {"spec": {"clusterIP": "10.96.0.7"}}
    found = Found(route=route, services={"podinfo-canary": service}, nodes=("10.0.0.9",))
    assert questions.nodes_of(canary, found) == ("10.96.0.7",)
    headless = Found(route=route, services={"podinfo-canary": {"spec": {"clusterIP": "None"}}}, nodes=("10.0.0.9",))
    assert questions.nodes_of(canary, headless) == ("10.0.0.9",)


def test_addresses_count_for_a_window_after_they_left() -> None:
    known = (("10.0.0.8", START - timedelta(seconds=59)), ("10.0.0.7", START - timedelta(seconds=61)))
    kept = questions.remembered(known, ("10.0.0.9",), START, timedelta(minutes=1))
    assert kept == (("10.0.0.8", START - timedelta(seconds=59)), ("10.0.0.9", START))


def test_only_ready_addresses_count() -> None:
    endpoints = [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}}, {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
        {"addresses": ["10.0.0.3"]},
    ]  # fmt: skip
    assert questions.slices_of([{"endpoints": endpoints}]) == ("10.0.0.1", "10.0.0.3")
