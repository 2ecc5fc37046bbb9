"""Keeps as many pods as a ReplicaSet wants, and counts them."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from sandbox.apiserver import kinds
from sandbox.apiserver.controllers import workloads
from sandbox.apiserver.kinds import Json
from sandbox.apiserver.objects import Objects, Writer
from sandbox.apiserver.store import Event, Key, Stored

_STATUS: Final = Writer(subresource="status")


class ReplicaSets:
    """Keys are those of ReplicaSets."""

    def __init__(self, objects: Objects, now: Callable[[], datetime]) -> None:
        self._objects = objects
        self._now = now
        self._sets, self._pods = (objects.registry.built_in(key) for key in (kinds.REPLICA_SETS, kinds.PODS))

    def touched(self, kind: str, event: Event) -> Iterable[Key]:
        if kind == kinds.REPLICA_SETS:
            return [event.stored.key]
        if kind != kinds.PODS:
            return []
        owner = self._objects.store.find(workloads.controller(event.stored.object))
        return [owner[1].key] if owner and owner[0] == kinds.REPLICA_SETS else []

    def reconcile(self, key: Key) -> float | None:
        stored = self._objects.store.get(kinds.REPLICA_SETS, key)
        if stored is None:
            return None
        pods = self._active(stored)
        if "deletionTimestamp" not in stored.object["metadata"]:
            wanted = int(stored.object["spec"]["replicas"])
            for _ in range(wanted - len(pods)):
                self._objects.create(self._pods, key[0], _pod(stored.object))
            for pod in sorted(pods, key=_worth)[: max(0, len(pods) - wanted)]:
                self._objects.delete(self._pods, pod.key)
            pods = self._active(stored)
        return self._count(stored, pods)

    def _active(self, stored: Stored) -> list[Stored]:
        pods = workloads.owned(self._objects.store, stored.object, kinds.PODS)
        return [pod for pod in pods if workloads.active(pod.object)]

    def _count(self, stored: Stored, pods: Sequence[Stored]) -> float | None:
        now, min_ready = self._now(), int(stored.object["spec"].get("minReadySeconds") or 0)
        since = [at for pod in pods if (at := workloads.available_at(pod.object, min_ready))]
        pending = [(at - now).total_seconds() for at in since if at > now]
        counts = {
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": len(since),
            "availableReplicas": len(since) - len(pending),
        }
        generation = stored.object["metadata"]["generation"]
        status = {"replicas": len(pods), **workloads.without_zeros(counts), "observedGeneration": generation}
        self._objects.patch(self._sets, stored.key, lambda old: {**old, "status": status}, _STATUS)
        return min(pending) if pending else None


def _pod(replica_set: Json) -> Json:
    template, name = replica_set["spec"]["template"], replica_set["metadata"]["name"]
    metadata = {**(template.get("metadata") or {}), "generateName": f"{name}-"}
    return {"metadata": {**metadata, "ownerReferences": [workloads.reference(replica_set)]}, "spec": template["spec"]}


def _worth(pod: Stored) -> tuple[bool, bool, float]:
    """What goes first: pods without a node, then those that aren't ready, then the newest."""
    created = workloads.moment(pod.object["metadata"]["creationTimestamp"]).timestamp()
    return bool(pod.object["spec"].get("nodeName")), workloads.ready_since(pod.object) is not None, -created
