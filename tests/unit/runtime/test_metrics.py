"""One catalogue: what the code may use, what a process shows, and what the page says."""

from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.runtime import metrics
from shared.runtime.metrics import CATALOGUE, CounterName, GaugeName, HistogramName, Metric, Metrics


def names_in(exposition: bytes) -> set[str]:
    found = set()
    for family in text_string_to_metric_families(exposition.decode()):
        found.add(family.name + "_total" if family.type == "counter" else family.name)
    return found


def test_every_name_is_described_once_and_of_its_kind() -> None:
    kinds = {"counter": get_args(CounterName), "gauge": get_args(GaugeName), "histogram": get_args(HistogramName)}
    assert sorted(metric.name for metric in CATALOGUE) == sorted(name for names in kinds.values() for name in names)
    for metric in CATALOGUE:
        assert metric.name in kinds[metric.kind]
        assert metric.meaning.endswith(".")
        assert metric.name.endswith("_total") is (metric.kind == "counter") or metric.name == "flagger_canary_total"


@pytest.mark.parametrize("service", ["watcher", "router", "analyzer", "notifier", "bootstrap"])
def test_a_process_shows_its_own_metrics_from_the_start_and_no_others(service: str) -> None:
    shown = names_in(Metrics(service).render())
    ours = {name for name in shown if name.startswith(("serinus_", "flagger_"))}
    assert ours == {metric.name for metric in CATALOGUE if service in metric.services}
    assert "process_resident_memory_bytes" in shown


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_each_can_be_used_with_exactly_its_labels(metric: Metric) -> None:
    made = Metrics()
    labels = dict.fromkeys(metric.labels, "x")

    def use(given: dict[str, str]) -> None:
        if metric.name in get_args(CounterName):
            made.inc(metric.name, 1.0, **given)  # type: ignore[arg-type]  # the line above says so
        elif metric.name in get_args(GaugeName):
            made.set(metric.name, 1.0, **given)  # type: ignore[arg-type]
        else:
            made.observe(metric.name, 1.0, **given)  # type: ignore[arg-type]

    use(labels)
    with pytest.raises(ValueError, match="label"):
        use(labels | {"another": "x"})
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(made.render().decode())
        for sample in family.samples
    }
    suffix = "_count" if metric.kind == "histogram" else ""
    assert samples[(metric.name + suffix, *sorted(labels.items()))] == 1.0


def test_what_is_gone_is_shown_no_more() -> None:
    made = Metrics("router")
    for name in ("a", "b"):
        made.set("flagger_canary_weight", 10, workload=name, namespace="test")
        made.set("flagger_canary_weight", 90, workload=f"{name}-primary", namespace="test")
    made.remove("flagger_canary_weight", workload="a")
    assert 'workload="a"' not in made.render().decode()
    assert 'workload="a-primary"' in made.render().decode()
    made.remove("flagger_canary_weight", namespace="test")
    assert "workload=" not in made.render().decode()


def test_the_page_has_every_metric_with_its_labels() -> None:
    page = metrics.document()
    for metric in CATALOGUE:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{metric.name}` |")]
        assert all(f"`{label}`" in row for label in metric.labels)


def test_flaggers_metrics_have_flaggers_labels() -> None:
    """Dashboards and alert rules made for it must go on working."""
    labels = {metric.name: metric.labels for metric in CATALOGUE if metric.name.startswith("flagger_")}
    assert labels == {
        "flagger_info": ("version", "mesh_provider"),
        "flagger_canary_total": ("namespace",),
        "flagger_canary_status": ("name", "namespace"),
        "flagger_canary_weight": ("workload", "namespace"),
        "flagger_canary_metric_analysis": ("name", "namespace", "metric"),
        "flagger_canary_duration_seconds": ("name", "namespace"),
        "flagger_canary_successes_total": ("name", "namespace", "deployment_strategy", "analysis_status"),
        "flagger_canary_failures_total": ("name", "namespace", "deployment_strategy", "analysis_status"),
    }


def test_a_process_says_what_it_is_from_the_start() -> None:
    shown = Metrics("watcher").render().decode()
    assert f'serinus_info{{service="watcher",version="{metrics.VERSION}"}} 1.0' in shown
