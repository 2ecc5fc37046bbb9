"""What this router takes on, and what it refuses: pure, from a Canary to sentences that name the field and the fix.

Refused is never approximated: no object of a refused Canary is touched.
"""

from datetime import datetime, timedelta
from typing import Final

from services.router.found import Found
from shared.canary import ownership
from shared.canary.resource import Analysis, CanarySpec
from shared.kube import json
from shared.kube.json import Json

QUIET: Final = timedelta(minutes=2)
"""Another controller writes about once an interval while it acts; one that was silent for two, and for so long, has let
go."""


def contested(canary: Json, interval: timedelta, now: datetime) -> str:
    """Does somebody else write the status of this Canary after us? The reason to hold it, or an empty text.

    The status remembers which foreign writes were there when we last wrote it unopposed: Flagger's last one before
    we took over is among them, and only what came after that is a contest.
    """
    own = json.mapping(canary, "status", "serinus")
    writers = ownership.status_writers(canary)
    if ownership.ROUTER not in writers and not own:
        return ""
    known = json.mapping(own, "writers")
    for manager, written in sorted(writers.items()):
        fresh = written != "" and now - datetime.fromisoformat(written) < max(QUIET, 2 * interval)
        if manager != ownership.ROUTER and fresh and known.get(manager) != written:
            return f"another controller ({manager}) writes this Canary"
    return ""


def refusals(spec: CanarySpec, found: Found) -> tuple[str, ...]:
    """Sentences about what keeps this Canary from being run."""
    return (found.invalid,) if found.invalid else _refused(spec, found.rival)


def _refused(spec: CanarySpec, rival: str) -> tuple[str, ...]:
    found = []
    if spec.target_ref.kind != "Deployment":
        found.append(f"spec.targetRef.kind {spec.target_ref.kind} is not supported: use Deployment")
    if spec.autoscaler_ref and spec.autoscaler_ref.kind != "HorizontalPodAutoscaler":
        kind = spec.autoscaler_ref.kind
        found.append(f"spec.autoscalerRef.kind {kind} is not supported: use HorizontalPodAutoscaler")
    if spec.service is None:
        found.append("spec.service is missing: set spec.service.port")
    if rival:
        found.append(
            f"spec.targetRef.name {spec.target_ref.name} belongs to canary {rival} already: delete one of them"
        )
    return (*found, *(_analysis(spec.analysis) if spec.analysis else ()))


def _analysis(analysis: Analysis) -> tuple[str, ...]:
    found = []
    if analysis.iterations > 0:
        if analysis.match and analysis.mirror:
            found.append("spec.analysis.mirror is not supported with match and iterations: remove one of the three")
        if analysis.session_affinity:
            found.append("spec.analysis.sessionAffinity is not supported with iterations: remove one of them")
    elif not analysis.step_weight and not any(analysis.step_weights):
        found.append(
            "spec.analysis.stepWeight is 0 and spec.analysis.stepWeights is empty: set one of them, or iterations"
        )
    if analysis.step_weights and list(analysis.step_weights) != sorted(set(analysis.step_weights)):
        found.append("spec.analysis.stepWeights must rise: " + ", ".join(map(str, analysis.step_weights)))
    return tuple(found)
