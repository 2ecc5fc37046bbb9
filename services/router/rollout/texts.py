"""The events of a rollout with Flagger's exact texts (behaviour sheet §9, §10.1), and ours, marked so.

Ours are listed in docs/events.md, which a test holds against this file.
"""

from dataclasses import dataclass
from enum import StrEnum

from services.router.rollout.spec import Move, Spec


class Event(StrEnum):
    """Types of public events; the same words as on the wire, which the machine doesn't know. A test compares them."""

    # pylint: disable=duplicate-code
    INITIALIZED = "initialized"
    REVISION = "revision-detected"
    RESTARTED = "restarted"
    STARTED = "started"
    ADVANCED = "advanced"
    HALTED = "halted"
    WAITING = "waiting"
    GATE = "gate"
    COPYING = "copying"
    ROUTED = "routed"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling-back"
    FAILED = "failed"
    PENDING = "pending"
    HOLD = "hold"
    HOOK = "hook"
    SUSPENDED = "suspended"
    REFUSED = "refused"
    WARNING = "warning"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class AlertDraft:
    """A message to people. `details` asks for the fields of §10.1."""

    severity: str
    message: str
    details: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """One event before it has a number and a time."""

    type: Event
    message: str
    warning: bool = False
    alert: AlertDraft | None = None
    error: bool = False
    """Logged at level error instead of info."""


def normal(kind: Event, message: str, alert: AlertDraft | None = None) -> Draft:
    return Draft(kind, message, False, alert)


def warning(kind: Event, message: str, alert: AlertDraft | None = None) -> Draft:
    return Draft(kind, message, True, alert)


def providers_available() -> Draft:
    return normal(Event.HOOK, "all the metrics providers are available!")


def initialized(spec: Spec) -> Draft:
    alert = AlertDraft("info", f"New {spec.target_kind} detected, initialization completed.", True)
    return normal(Event.INITIALIZED, f"Initialization done! {spec.canary_ref}", alert)


def revision(spec: Spec) -> Draft:
    alert = AlertDraft("info", "New revision detected, progressing canary analysis.", True)
    return normal(Event.REVISION, f"New revision detected! Scaling up {spec.target_ref}", alert)


def restarted(spec: Spec) -> Draft:
    return normal(Event.RESTARTED, f"New revision detected! Restarting analysis for {spec.target_ref}")


def started(spec: Spec) -> Draft:
    return normal(Event.STARTED, f"Starting canary analysis for {spec.target_ref}")


def advanced(spec: Spec, move: Move) -> Draft:
    text = f"Advance {spec.canary_ref} canary weight {move.weight}"
    if move.switch:
        text = (
            "Stop traffic mirroring and route all traffic to canary" if spec.mirror else "Routing all traffic to canary"
        )
    elif move.iterations:
        text = f"Advance {spec.canary_ref} canary iteration {move.iterations}/{spec.iterations}"
    return normal(Event.ADVANCED, text)


def primary_advanced(spec: Spec, weight: int) -> Draft:
    return normal(Event.ROUTED, f"Advance {spec.canary_ref} primary weight {weight}")


def copying(spec: Spec) -> Draft:
    return normal(Event.COPYING, f"Copying {spec.target_ref} template spec to {spec.primary_ref}")


def routed() -> Draft:
    return normal(Event.ROUTED, "Routing all traffic to primary")


def promoted(spec: Spec) -> Draft:
    if spec.skip_analysis:
        alert = AlertDraft("info", "Canary analysis was skipped, promotion finished.")
        text = f"Promotion completed! Canary analysis was skipped for {spec.target_ref}"
        return normal(Event.PROMOTED, text, alert)
    alert = AlertDraft("info", "Canary analysis completed successfully, promotion finished.")
    return normal(Event.PROMOTED, f"Promotion completed! Scaling down {spec.target_ref}", alert)


def threshold_reached(spec: Spec, failed: int) -> Draft:
    alert = AlertDraft("error", f"Failed checks threshold reached {failed}")
    text = f"Rolling back {spec.canary_ref} failed checks threshold reached {failed}"
    return warning(Event.ROLLING_BACK, text, alert)


def deadline_exceeded(spec: Spec, cause: str) -> Draft:
    """Flagger holds this text but never reaches it (W-G8)."""
    alert = AlertDraft("error", f"Progress deadline exceeded {cause}")
    return warning(Event.ROLLING_BACK, f"Rolling back {spec.canary_ref} progress deadline exceeded {cause}", alert)


def manual_rollback(spec: Spec) -> Draft:
    alert = AlertDraft("warn", "Rolling back manual webhook invoked")
    return warning(Event.ROLLING_BACK, f"Rolling back {spec.canary_ref} manual webhook invoked", alert)


def aborted(spec: Spec) -> Draft:
    """Ours."""
    alert = AlertDraft("warn", "Rolling back, abort requested")
    return warning(Event.ROLLING_BACK, f"Rolling back {spec.canary_ref} abort requested", alert)


def abandoned(spec: Spec) -> Draft:
    """Ours: `SERINUS_BUS_LOST_POLICY=rollback`."""
    alert = AlertDraft("error", "Rolling back, cut off from the bus")
    return warning(Event.ROLLING_BACK, f"Rolling back {spec.canary_ref} cut off from the bus", alert)


def fast_aborted(spec: Spec, why: str) -> Draft:
    """Ours: `analysis.fastAbort`."""
    alert = AlertDraft("error", f"Rolling back, fast abort: {why}")
    return warning(Event.ROLLING_BACK, f"Rolling back {spec.canary_ref} fast abort: {why}", alert)


def failed(spec: Spec) -> Draft:
    return warning(Event.FAILED, f"Canary failed! Scaling down {spec.canary_ref}")


def kept(spec: Spec) -> Draft:
    """Ours: after a failed promotion the canary serves; scaling it down would be an outage (W-G5)."""
    return warning(
        Event.FAILED, f"Canary failed! {spec.canary_ref} keeps all traffic since {spec.primary_ref} is not ready"
    )


def promotion_failed(spec: Spec, cause: str) -> Draft:
    alert = AlertDraft("error", f"Promotion failed, primary not ready: {cause}")
    return warning(Event.FAILED, f"Promotion of {spec.target_ref} failed, primary not ready: {cause}", alert)


def primary_unready(spec: Spec, text: str) -> str:
    return f"{spec.primary_ref} not ready: {text}"


def canary_unready(spec: Spec, text: str) -> str:
    return f"canary deployment {spec.target_ref} not ready: {text}"


def suspended() -> Draft:
    return normal(Event.SUSPENDED, "skipping canary run as object is suspended")


def waiting_rollout(spec: Spec, hook: str) -> Draft:
    alert = None if hook in spec.muted else AlertDraft("warn", "Canary is waiting for approval.")
    return warning(Event.WAITING, f"Halt {spec.canary_ref} advancement waiting for approval {hook}", alert)


def waiting_traffic(spec: Spec, hook: str) -> Draft:
    alert = None if hook in spec.muted else AlertDraft("warn", "Canary traffic increase is waiting for approval.")
    text = f"Halt {spec.canary_ref} advancement waiting for traffic increase approval {hook}"
    return warning(Event.WAITING, text, alert)


def waiting_promotion(spec: Spec, hook: str) -> Draft:
    alert = None if hook in spec.muted else AlertDraft("warn", "Canary promotion is waiting for approval.")
    text = f"Halt {spec.canary_ref} advancement waiting for promotion approval {hook}"
    return warning(Event.WAITING, text, alert)


def yielded(spec: Spec, manager: str) -> Draft:
    """Ours."""
    text = f"{spec.target_ref} is idle, but {manager} keeps scaling it up, so it is left as it is"
    return warning(Event.WARNING, f"{text}: {unyielded(manager)}")


def unyielded(manager: str) -> str:
    """How that is mended."""
    how = f"remove spec.replicas from what {manager} applies, or stop it from scaling the target between rollouts"
    return f"{how}, then scale the target to zero"


def idle_again(spec: Spec) -> Draft:
    """Ours."""
    return normal(Event.WARNING, f"{spec.target_ref} is idle: it is kept at zero replicas again")


def holding(spec: Spec, reason: str) -> Draft:
    """Ours."""
    return warning(Event.HOLD, f"Holding {spec.canary_ref}: {reason}")


def resumed(spec: Spec, reason: str) -> Draft:
    """Ours. A reason is a state that the canary was in, or a sentence about who writes it."""
    who, writes, what = reason.partition(" writes ")
    if writes:
        return normal(Event.HOLD, f"Resuming {spec.canary_ref}: {who} no longer writes {what}")
    return normal(Event.HOLD, f"Resuming {spec.canary_ref}: no longer {reason}")


def unmeasured(spec: Spec) -> Draft:
    """Ours: the gateway counts nothing of a canary that it routes nothing to (W-A7)."""
    return warning(
        Event.WARNING,
        f"No numbers of {spec.target_ref} while no traffic is routed to it: builtin checks then read "
        "http_request_duration_seconds of its own pods. Export that and send them load, or route testers to it with "
        "spec.analysis.match, or judge by a MetricTemplate or a webhook instead",
    )


def terminating(spec: Spec) -> Draft:
    return normal(Event.TERMINATING, f"Terminating canary {spec.canary_ref}")


def restoring(spec: Spec) -> Draft:
    """Ours."""
    text = f"Restoring {spec.target_ref} to the template of {spec.primary_ref}: what it shows was not promoted"
    return warning(Event.TERMINATING, text)


def left_behind(belongings: tuple[str, ...], cause: str) -> Draft:
    """Ours."""
    return warning(Event.TERMINATING, f"Leaving {', '.join(belongings)} in place: progress deadline exceeded {cause}")


def terminated(spec: Spec) -> Draft:
    return normal(Event.TERMINATED, f"Terminated canary {spec.canary_ref}")
