"""Every metric of every process: one catalogue, read by code, docs and tests."""

import sys
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.process_collector import ProcessCollector

CounterName = Literal[
    "flagger_canary_successes_total",
    "flagger_canary_failures_total",
    "serinus_messages_total",
    "serinus_dead_letters_total",
    "serinus_stale_messages_total",
    "serinus_facts_published_total",
    "serinus_watch_restarts_total",
    "serinus_verdicts_total",
    "serinus_checks_total",
    "serinus_kubernetes_writes_total",
    "serinus_prometheus_errors_total",
    "serinus_alerts_total",
    "serinus_event_webhooks_total",
    "serinus_overdue_ticks_total",
    "serinus_commit_conflicts_total",
]
GaugeName = Literal[
    "flagger_info",
    "flagger_canary_total",
    "flagger_canary_status",
    "flagger_canary_weight",
    "flagger_canary_metric_analysis",
    "serinus_bus_gone",
    "serinus_crd_incompatible",
    "serinus_holds",
    "serinus_info",
]
HistogramName = Literal[
    "flagger_canary_duration_seconds",
    "serinus_message_seconds",
    "serinus_tick_lateness_seconds",
    "serinus_kubernetes_seconds",
    "serinus_prometheus_query_seconds",
]
MetricName = CounterName | GaugeName | HistogramName


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric, described once."""

    name: MetricName
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = ()
    services: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Flagger's (the Go client's default) buckets, so that its dashboards read ours."""

_ALL: Final = ("watcher", "router", "analyzer", "notifier", "bootstrap")
_CONSUMERS: Final = ("router", "analyzer", "notifier")
_OUTCOMES: Final = "name", "namespace", "deployment_strategy", "analysis_status"

CATALOGUE: Final[tuple[Metric, ...]] = (
    Metric(
        name="flagger_info",
        kind="gauge",
        labels=("version", "mesh_provider"),
        services=("router",),
        meaning="Always 1; the version and the default provider.",
    ),
    Metric(
        name="flagger_canary_total",
        kind="gauge",
        labels=("namespace",),
        services=("router",),
        meaning="Canaries in the namespace.",
    ),
    Metric(
        name="flagger_canary_status",
        kind="gauge",
        labels=("name", "namespace"),
        services=("router",),
        meaning="0 progressing, 2 failed, 1 everything else. `name` is the target's.",
    ),
    Metric(
        name="flagger_canary_weight",
        kind="gauge",
        labels=("workload", "namespace"),
        services=("router",),
        meaning="Traffic weight in percent; one series for the target, one for `<target>-primary`.",
    ),
    Metric(
        name="flagger_canary_metric_analysis",
        kind="gauge",
        labels=("name", "namespace", "metric"),
        services=("router",),
        meaning="Last value of the check: success rate in percent, duration in seconds, else the query's own unit.",
    ),
    Metric(
        name="flagger_canary_duration_seconds",
        kind="histogram",
        labels=("name", "namespace"),
        services=("router",),
        meaning="Seconds from a check's due time until the status shows what came of it.",
        buckets=_SECONDS,
    ),
    Metric(
        name="flagger_canary_successes_total",
        kind="counter",
        labels=_OUTCOMES,
        services=("router",),
        meaning="Rollouts that succeeded; `analysis_status` is completed or skipped.",
    ),
    Metric(
        name="flagger_canary_failures_total",
        kind="counter",
        labels=_OUTCOMES,
        services=("router",),
        meaning="Rollouts that failed; `analysis_status` is completed.",
    ),
    Metric(
        name="serinus_info",
        kind="gauge",
        labels=("version", "service"),
        services=_ALL,
        meaning="Always 1; which version of which service this is.",
    ),
    Metric(
        name="serinus_messages_total",
        kind="counter",
        labels=("service", "stream", "outcome"),
        services=_CONSUMERS,
        meaning="Deliveries by outcome: done, retry (put back), newer (put back: a newer wire schema), left (of a newer schema, and no newer replica came), failed (put back: an error of ours), dead.",
    ),
    Metric(
        name="serinus_message_seconds",
        kind="histogram",
        labels=("service", "stream"),
        services=_CONSUMERS,
        meaning="Seconds from delivery to acknowledgement.",
        buckets=(0.001, 0.0025, *_SECONDS, 30.0, 60.0),
    ),
    Metric(
        name="serinus_dead_letters_total",
        kind="counter",
        labels=("service", "reason"),
        services=_CONSUMERS,
        meaning="Messages given up: undecodable, schema (too old), refused (can never succeed), failed (a fault of ours, ten times), exhausted (out of attempts).",
    ),
    Metric(
        name="serinus_stale_messages_total",
        kind="counter",
        services=("router",),
        meaning="Messages that came late, early or twice, or were for a predecessor of the same name; they change nothing.",
    ),
    Metric(
        name="serinus_facts_published_total",
        kind="counter",
        labels=("kind",),
        services=("watcher",),
        meaning="Facts stored on the bus, by kind of the object that changed.",
    ),
    Metric(
        name="serinus_watch_restarts_total",
        kind="counter",
        labels=("kind", "reason"),
        services=("watcher", "router", "notifier"),
        meaning="Watches that had to be opened again.",
    ),
    Metric(
        name="serinus_tick_lateness_seconds",
        kind="histogram",
        services=("analyzer",),
        meaning="Seconds between a tick's due time and its arrival.",
        buckets=(*_SECONDS, 30.0, 60.0, 300.0),
    ),
    Metric(
        name="serinus_verdicts_total",
        kind="counter",
        labels=("outcome",),
        services=("analyzer",),
        meaning="Verdicts by outcome: pass, fail, hold, error.",
    ),
    Metric(
        name="serinus_checks_total",
        kind="counter",
        labels=("outcome",),
        services=("analyzer",),
        meaning="Checks by numbers and what came of them: passed, failed, no_data, held, error. Without values is no_data, whatever it counts as.",
    ),
    Metric(
        name="serinus_kubernetes_writes_total",
        kind="counter",
        labels=("kind", "verb", "outcome"),
        services=("router", "notifier"),
        meaning="Writes to the Kubernetes API; the outcome is `ok` or a word for the failure.",
    ),
    Metric(
        name="serinus_kubernetes_seconds",
        kind="histogram",
        services=_ALL,
        meaning="Seconds that requests to the Kubernetes API took.",
        buckets=_SECONDS,
    ),
    Metric(
        name="serinus_prometheus_query_seconds",
        kind="histogram",
        services=("analyzer",),
        meaning="Seconds that queries to Prometheus took.",
        buckets=_SECONDS,
    ),
    Metric(
        name="serinus_prometheus_errors_total",
        kind="counter",
        labels=("reason",),
        services=("analyzer",),
        meaning="Queries to Prometheus without an answer, by reason.",
    ),
    Metric(
        name="serinus_alerts_total",
        kind="counter",
        labels=("provider", "outcome"),
        services=("notifier",),
        meaning="Attempts to send an alert, by type of provider and outcome: delivered, refused (given up), undelivered or "
        "unsure (put back).",
    ),
    Metric(
        name="serinus_event_webhooks_total",
        kind="counter",
        labels=("outcome",),
        services=("notifier",),
        meaning="Calls of event webhooks by outcome: delivered, refused (given up), undelivered or unsure (put back).",
    ),
    Metric(
        name="serinus_bus_gone",
        kind="gauge",
        services=("router",),
        meaning="1 while NATS doesn't answer this replica: rolling canaries are held.",
    ),
    Metric(
        name="serinus_crd_incompatible",
        kind="gauge",
        services=("router",),
        meaning="1 while an installed CRD lacks a field that we must store: nothing is written then.",
    ),
    Metric(
        name="serinus_holds",
        kind="gauge",
        services=("router",),
        meaning="Canaries that are held at the moment, those aside that people suspended.",
    ),
    Metric(
        name="serinus_overdue_ticks_total",
        kind="counter",
        services=("router",),
        meaning="Ticks that the sweep had to arm again.",
    ),
    Metric(
        name="serinus_commit_conflicts_total",
        kind="counter",
        services=("router",),
        meaning="Status commits that lost to another writer (409) and were decided again.",
    ),
)

VERSION: Final = "0.1.0"

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics of one process. Names are checked by mypy, labels by the client library.

    Those of the process's own kind exist from the start, so that an alert sees a zero; any other appears when used.
    """

    def __init__(self, service: str = "") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library's own gap
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._by_name = {metric.name: metric for metric in CATALOGUE}
        self._families: dict[MetricName, Counter | Gauge | Histogram] = {}
        for metric in CATALOGUE:
            if not service or service in metric.services:
                self._family(metric.name)
        if service:
            self.set("serinus_info", 1, version=VERSION, service=service)

    def inc(self, name: CounterName, amount: float = 1.0, /, **labels: str) -> None:
        """Counts."""
        counter = self._family(name)
        assert isinstance(counter, Counter), name
        (counter.labels(**labels) if labels else counter).inc(amount)

    def set(self, name: GaugeName, value: float, /, **labels: str) -> None:
        """Sets a gauge."""
        gauge = self._family(name)
        assert isinstance(gauge, Gauge), name
        (gauge.labels(**labels) if labels else gauge).set(value)

    def observe(self, name: HistogramName, value: float, /, **labels: str) -> None:
        """Adds one observation."""
        histogram = self._family(name)
        assert isinstance(histogram, Histogram), name
        (histogram.labels(**labels) if labels else histogram).observe(value)

    def remove(self, name: MetricName, /, **labels: str) -> None:
        """Drops all series whose labels include these, so that what is gone isn't shown for ever."""
        self._family(name).remove_by_labels(labels)

    def render(self) -> bytes:
        """The exposition that Prometheus scrapes."""
        return generate_latest(self._registry)

    def _family(self, name: MetricName) -> Counter | Gauge | Histogram:
        found = self._families.get(name)
        if found is None:
            found = self._families[name] = _create(self._by_name[name], self._registry)
        return found


def _create(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    match metric.kind:
        case "counter":
            return Counter(metric.name, metric.meaning, metric.labels, registry=registry)
        case "gauge":
            return Gauge(metric.name, metric.meaning, metric.labels, registry=registry)
        case "histogram":
            return Histogram(metric.name, metric.meaning, metric.labels, buckets=metric.buckets, registry=registry)


def document() -> str:
    """docs/metrics.md, made of the catalogue."""
    lines = [
        "# Metrics",
        "",
        "Made by `python -m shared.runtime.metrics`; don't edit. Every process serves `/metrics` on its HTTP port. The names",
        "that begin with `flagger_` are Flagger's, with its labels, so that dashboards and alerts made for it go on working;",
        "unlike there, series of a deleted Canary disappear.",
        "",
        "| Name | Kind | Labels | Meaning | Service |",
        "| --- | --- | --- | --- | --- |",
    ]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        services = "all" if metric.services == _ALL else ", ".join(metric.services)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} | {services} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
