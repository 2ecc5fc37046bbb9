"""How a Deployment moves from old ReplicaSets to the new one, and what its status says of that. Pure.

The rules are those of Kubernetes' deployment controller, without proportional scaling: a Deployment that is scaled in the
middle of a rollout grows by its new ReplicaSet only.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sandbox.apiserver.controllers import workloads
from sandbox.apiserver.kinds import Json
from sandbox.apiserver.store import Key, Stored
from sandbox.controlplane.pods import timestamp

AVAILABLE: Final = "NewReplicaSetAvailable"
TIMED_OUT: Final = "ProgressDeadlineExceeded"


def bounds(deployment: Json) -> tuple[int, int]:
    """maxSurge and maxUnavailable in pods; one of them is at least 1, or nothing could ever move."""
    spec = deployment["spec"]
    rolling, total = spec["strategy"].get("rollingUpdate") or {}, int(spec["replicas"])
    surge = workloads.share(rolling.get("maxSurge", "25%"), total, up=True)
    unavailable = workloads.share(rolling.get("maxUnavailable", "25%"), total, up=False)
    return surge, unavailable if surge or unavailable else 1


def sizes(deployment: Json, new: Stored | None, old: Sequence[Stored]) -> dict[Key, int]:
    """The next size of every ReplicaSet that has to change."""
    wanted = int(deployment["spec"]["replicas"])
    running = [each for each in old if each.object["spec"]["replicas"]]
    if new is None:
        # Paused before its first rollout, or between two: only the size is followed.
        return {running[-1].key: wanted} if len(running) == 1 and workloads.replicas(running) != wanted else {}
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        return _recreated(wanted, new, running, workloads.replicas(old, "replicas"))
    surge, unavailable = bounds(deployment)
    mine, total = workloads.replicas([new]), workloads.replicas([new, *old])
    grown = wanted if mine > wanted else mine + max(0, min(wanted + surge - total, wanted - mine))
    if grown != mine:
        return {new.key: grown}
    return _shrunk(wanted - unavailable, new, running)


def _recreated(wanted: int, new: Stored, running: Sequence[Stored], left: int) -> dict[Key, int]:
    if running:
        return {each.key: 0 for each in running}
    return {new.key: wanted} if not left and workloads.replicas([new]) != wanted else {}


def _shrunk(least: int, new: Stored, running: Sequence[Stored]) -> dict[Key, int]:
    """Old pods go: the unavailable ones first, then as many as the available ones allow."""
    missing = workloads.replicas([new]) - workloads.replicas([new], "availableReplicas")
    spare = workloads.replicas([new, *running]) - least - missing
    found: dict[Key, int] = {}
    if spare <= 0:
        return found
    for each in running:
        has = workloads.replicas([each])
        sick = min(spare, has - workloads.replicas([each], "availableReplicas"))
        if sick > 0:
            found[each.key], spare = has - sick, spare - sick
    spare = min(spare, workloads.replicas([new, *running], "availableReplicas") - least)
    for each in running:
        has = found.get(each.key, workloads.replicas([each]))
        if (less := min(spare, has)) > 0:
            found[each.key], spare = has - less, spare - less
    return found


def status(deployment: Json, new: Stored | None, sets: Sequence[Stored], now: datetime, *, created: bool) -> Json:
    """The status after what is seen now. `created`: the new ReplicaSet was made just now."""
    counts = {
        "replicas": workloads.replicas(sets, "replicas"),
        "updatedReplicas": workloads.replicas([new] if new else [], "replicas"),
        "readyReplicas": workloads.replicas(sets, "readyReplicas"),
        "availableReplicas": workloads.replicas(sets, "availableReplicas"),
        "unavailableReplicas": max(0, workloads.replicas(sets) - workloads.replicas(sets, "availableReplicas")),
    }
    found: Json = {
        "observedGeneration": deployment["metadata"]["generation"],
        **workloads.without_zeros(counts),
    }
    conditions = [_availability(deployment, counts, now)]
    if progress := _progress(deployment, counts, new, now, created):
        conditions.append(progress)
    return {**found, "conditions": conditions}


def deadline(deployment: Json) -> datetime | None:
    """When a rollout that makes no progress is late. None if nothing waits for that."""
    known = workloads.condition(deployment, "Progressing")
    if not known or known["reason"] in (AVAILABLE, TIMED_OUT):
        return None
    seconds = int(deployment["spec"]["progressDeadlineSeconds"])
    return workloads.moment(known["lastUpdateTime"]) + timedelta(seconds=seconds)


def _availability(deployment: Json, counts: Json, now: datetime) -> Json:
    _, unavailable = bounds(deployment)
    if deployment["spec"]["strategy"]["type"] != "RollingUpdate":
        unavailable = 0
    if counts["availableReplicas"] >= int(deployment["spec"]["replicas"]) - unavailable:
        words = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        words = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    return _condition(deployment, "Available", words, now)


def _progress(deployment: Json, counts: Json, new: Stored | None, now: datetime, created: bool) -> Json:
    known, before = workloads.condition(deployment, "Progressing"), deployment.get("status") or {}
    if new is None:
        return known
    name, wanted = f'ReplicaSet "{new.key[1]}"', int(deployment["spec"]["replicas"])
    success = f"{name} has successfully progressed."
    if known and known["message"] == success and counts["updatedReplicas"] == counts["replicas"]:
        return known  # once complete, it stays so through changes of its size
    late = deadline(deployment)
    if created or not known:
        words = ("True", "NewReplicaSetCreated", f'Created new replica set "{new.key[1]}"')
    elif counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == wanted:
        words = ("True", AVAILABLE, success)
    elif _moved(counts, before):
        words = ("True", "ReplicaSetUpdated", f"{name} is progressing.")
    elif late and now > late:
        words = ("False", TIMED_OUT, f"{name} has timed out progressing.")
    else:
        return known
    return _condition(deployment, "Progressing", words, now, renew=True)


def _moved(counts: Json, before: Json) -> bool:
    """Are there more new pods, more ready or available ones, or fewer old ones than before?"""
    more = any(counts[n] > before.get(n, 0) for n in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    old, were = (each.get("replicas", 0) - each.get("updatedReplicas", 0) for each in (counts, before))
    return more or old < were


def _condition(deployment: Json, kind: str, words: tuple[str, str, str], now: datetime, *, renew: bool = False) -> Json:
    known = workloads.condition(deployment, kind)
    value, reason, message = words
    same = known and known["status"] == value
    if same and not renew and (known["reason"], known["message"]) == (reason, message):
        return known
    return {
        "type": kind,
        "status": value,
        "lastUpdateTime": timestamp(now),
        "lastTransitionTime": known["lastTransitionTime"] if same else timestamp(now),
        "reason": reason,
        "message": message,
    }
