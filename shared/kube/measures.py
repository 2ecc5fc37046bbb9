"""From what the door and the caches report to the metrics of the process."""

from typing import Final

from shared.kube.door import Observe
from shared.runtime.metrics import Metrics

_WRITES: Final = frozenset({"create", "patch", "update", "delete"})


def requests(metrics: Metrics) -> Observe:
    """For `door.connect(observe=…)`: how long every request took, and what became of every write."""

    def observe(verb: str, kind: str, outcome: str, seconds: float) -> None:
        metrics.observe("serinus_kubernetes_seconds", seconds)
        if verb in _WRITES:
            metrics.inc("serinus_kubernetes_writes_total", kind=kind, verb=verb, outcome=outcome)

    return observe


class Watches:
    """For `Caches(observe=…)`: watches that had to be opened again, and why."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, kind: str, reason: str) -> None:
        self._metrics.inc("serinus_watch_restarts_total", kind=kind, reason=reason)
