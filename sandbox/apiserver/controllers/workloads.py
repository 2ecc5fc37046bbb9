"""What Deployments and ReplicaSets have in common: owning, counting pods, conditions, time. Pure."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sandbox.apiserver.kinds import Json
from sandbox.apiserver.store import Store, Stored

HASH: Final = "pod-template-hash"
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_ENDED: Final = ("Succeeded", "Failed")


def owned(store: Store, owner: Json, kind: str) -> list[Stored]:
    """The objects of a kind that this one controls, in the order of their names."""
    uid = owner["metadata"]["uid"]
    found = [each for _, each in store.dependents(uid, kind) if controller(each.object) == uid]
    return sorted(found, key=lambda each: each.key)


def controller(obj: Json) -> str:
    """The uid of the owner that controls an object, empty without one."""
    owners: list[Json] = obj["metadata"].get("ownerReferences") or []
    return next((str(each["uid"]) for each in owners if each.get("controller")), "")


def reference(owner: Json) -> Json:
    """The ownerReference of what this one controls."""
    head = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    return {**head, "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}


def active(pod: Json) -> bool:
    """Does it count as a replica: neither ended nor about to?"""
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") not in _ENDED


def ready_since(pod: Json) -> datetime | None:
    """None for a pod that isn't ready."""
    found = condition(pod, "Ready")
    if found.get("status") != "True":
        return None
    return moment(found["lastTransitionTime"]) if found.get("lastTransitionTime") else datetime.min.replace(tzinfo=UTC)


def available_at(pod: Json, min_ready: int) -> datetime | None:
    """When a ready pod begins to count as available. None for a pod that isn't ready."""
    since = ready_since(pod)
    return since + timedelta(seconds=min_ready) if since and min_ready else since


def condition(obj: Json, kind: str) -> Json:
    """Empty if there is none."""
    found: list[Json] = (obj.get("status") or {}).get("conditions") or []
    return next((each for each in found if each["type"] == kind), {})


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def without_zeros(counts: Json) -> Json:
    """Kubernetes doesn't write a status field that is zero."""
    return {name: value for name, value in counts.items() if value}


def template_hash(template: Json) -> str:
    """Ten letters that stand for a pod template."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:10])


def share(value: Any, total: int, *, up: bool) -> int:
    """A number, or a percentage of a total."""
    if not isinstance(value, str):
        return int(value or 0)
    percent = int(value.rstrip("%"))
    return -(-total * percent // 100) if up else total * percent // 100


def replicas(sets: Sequence[Stored], name: str = "") -> int:
    """The sum over ReplicaSets of what is wanted, or of a count of their status."""
    if not name:
        return sum(int(each.object["spec"]["replicas"]) for each in sets)
    return sum(int((each.object.get("status") or {}).get(name, 0)) for each in sets)
