"""The canaries in Prometheus metrics under Flagger's names: from the Canary cache, and from each transition."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.router.reconcile import Committed
from services.router.rollout.guards import SUSPENDED
from services.router.rollout.state import Phase, Purpose
from services.router.rollout.texts import Event
from shared.kube import json
from shared.kube.json import Json
from shared.runtime.metrics import Metrics
from shared.wire.messages import CheckKind, MetricSource

_STATUS: Final = {Phase.PROGRESSING: 0, Phase.FAILED: 2}


class Gauges:
    """Keeps `flagger_*` true."""

    def __init__(self, metrics: Metrics, now: Callable[[], datetime]) -> None:
        self._metrics, self._now = metrics, now
        self._namespaces: Counter[str] = Counter()
        self._held: set[str] = set()

    def changed(self, old: Json | None, new: Json | None) -> None:
        """A Canary of ours appeared, changed or went away."""
        shown = new or old
        target, namespace = json.text(shown, "spec", "targetRef", "name"), json.namespace(shown)
        self._namespaces[namespace] += (new is not None) - (old is not None)
        self._metrics.set("flagger_canary_total", self._namespaces[namespace], namespace=namespace)
        self._hold(json.uid(shown), json.text(new, "status", "serinus", "hold", "reason"))
        if new is None:
            self._metrics.remove("flagger_canary_status", name=target, namespace=namespace)
            for workload in (target, f"{target}-primary"):
                self._metrics.remove("flagger_canary_weight", workload=workload, namespace=namespace)
            return
        phase, weight = json.text(new, "status", "phase"), json.number(new, "status", "canaryWeight")
        status = next((value for each, value in _STATUS.items() if each == phase), 1)
        self._metrics.set("flagger_canary_status", status, name=target, namespace=namespace)
        self._metrics.set("flagger_canary_weight", weight, workload=target, namespace=namespace)
        self._metrics.set("flagger_canary_weight", 100 - weight, workload=f"{target}-primary", namespace=namespace)

    def _hold(self, uid: str, reason: str) -> None:
        if reason in {"", SUSPENDED}:
            self._held.discard(uid)
        else:
            self._held.add(uid)
        self._metrics.set("serinus_holds", len(self._held))

    def committed(self, done: Committed) -> None:
        """A transition was stored by this replica."""
        name, namespace = done.canary.spec.target, done.canary.spec.namespace
        ends = {draft.type for draft in done.decision.events}
        labels = {"name": name, "namespace": namespace, "deployment_strategy": done.canary.spec.strategy}
        if Event.PROMOTED in ends:
            status = "skipped" if done.canary.spec.skip_analysis else "completed"
            self._metrics.inc("flagger_canary_successes_total", **labels, analysis_status=status)
        if Event.FAILED in ends:
            self._metrics.inc("flagger_canary_failures_total", **labels, analysis_status="completed")
        tick = done.before.tick
        if done.checks and tick is not None and tick.purpose is Purpose.ANALYSIS:
            took = max(0.0, (self._now() - tick.due).total_seconds())
            self._metrics.observe("flagger_canary_duration_seconds", took, name=name, namespace=namespace)
        for check in done.checks:
            if check.kind is CheckKind.METRIC and check.value is not None:
                value = check.value / 1000 if check.type == MetricSource.DURATION else check.value
                self._metrics.set(
                    "flagger_canary_metric_analysis", value, name=name, namespace=namespace, metric=check.name
                )
