"""Is a Deployment ready? Flagger's rules and texts, as a pure function over numbers.

Source: behaviour sheet §5.3. `services.router.observe` reads the numbers from the Deployment.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

_WAIT = "waiting for rollout to finish: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The numbers of one Deployment that readiness rests on."""

    name: str
    generation: int = 0
    observed: int = 0
    replicas: int | None = 1
    """spec.replicas; None where it is unset."""
    current: int = 0
    """status.replicas"""
    updated: int = 0
    available: int = 0
    exceeded: bool = False
    """Condition Progressing has reason ProgressDeadlineExceeded."""
    progressing: bool = False
    """A Progressing condition exists."""
    settled: bool = False
    """Condition Progressing has reason NewReplicaSetAvailable: Kubernetes watches over no deadline any more."""
    unavailable_since: datetime | None = None
    """lastUpdateTime of Available=False with reason MinimumReplicasUnavailable."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """`text` is empty when ready. Not retriable means that waiting longer won't help."""

    ready: bool
    retriable: bool = True
    text: str = ""
    deadline: datetime | None = None
    """When the same state stops being retriable, if it does."""


READY = Readiness(True)


def readiness(
    rollout: Rollout,
    threshold: int,
    deadline: timedelta,
    now: datetime,
    since: datetime | None = None,
    awaited: datetime | None = None,
) -> Readiness:
    """Evaluate in Flagger's order. `threshold` is percent of updated replicas that must be available.

    `since` is when this template was asked for. A condition of before says nothing about it: a fix of a workload that
    has been unavailable for long gets its full deadline, and what the cluster hasn't looked at yet isn't judged.

    `awaited` is since when nothing but its readiness has been waited for. A Deployment that took up its template at no
    replicas counts as complete for Kubernetes, and as available where all of it may be unavailable: then only we are left
    to say when it was long enough.
    """
    text = unready(rollout, threshold)
    if text is None:
        return READY
    if rollout.generation > rollout.observed:
        return Readiness(False, True, text)
    if rollout.exceeded:
        return Readiness(False, False, text)
    began = rollout.unavailable_since or (awaited if rollout.settled else None)
    if not rollout.progressing or began is None:
        return Readiness(False, True, text)
    until = max(began, since or began) + deadline
    return Readiness(False, until >= now, text, until)


def unready(rollout: Rollout, threshold: int) -> str | None:
    """Why it isn't ready, in Flagger's words, or None if it is."""
    if rollout.generation > rollout.observed:
        return _WAIT + "observed deployment generation less than desired generation"
    if rollout.replicas == 0:  # 0 of 0 replicas are available, and serve nobody (W-G9)
        return "deployment is scaled to zero"
    if rollout.exceeded:
        return f'deployment "{rollout.name}" exceeded its progress deadline'
    if rollout.replicas is not None and rollout.updated < rollout.replicas:
        return _WAIT + f"{rollout.updated} out of {rollout.replicas} new replicas have been updated"
    if rollout.current > rollout.updated:
        return _WAIT + f"{rollout.current - rollout.updated} old replicas are pending termination"
    needed = rollout.updated * threshold // 100
    if rollout.available < needed:
        return _WAIT + f"{rollout.available} of {needed} (readyThreshold {threshold}%) updated replicas are available"
    return None
