"""Deployments: a ReplicaSet for each pod template, moved by the rules of `rollout`, old ones kept as history."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from sandbox.apiserver import kinds
from sandbox.apiserver.controllers import rollout, workloads
from sandbox.apiserver.kinds import Json, Resource
from sandbox.apiserver.objects import Objects, Writer
from sandbox.apiserver.store import Event, Key, Stored

_STATUS: Final = Writer(subresource="status")
_REVISION: Final = "deployment.kubernetes.io/revision"
_NOT_COPIED: Final = ("kubectl.kubernetes.io/last-applied-configuration", _REVISION)


class Deployments:
    """Keys are those of Deployments."""

    def __init__(self, objects: Objects, now: Callable[[], datetime]) -> None:
        self._objects = objects
        self._now = now
        self._kind, self._sets = (objects.registry.built_in(key) for key in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS))

    def touched(self, kind: str, event: Event) -> Iterable[Key]:
        if kind == kinds.DEPLOYMENTS:
            return [event.stored.key]
        if kind != kinds.REPLICA_SETS:
            return []
        owner = self._objects.store.find(workloads.controller(event.stored.object))
        return [owner[1].key] if owner and owner[0] == kinds.DEPLOYMENTS else []

    def reconcile(self, key: Key) -> float | None:
        stored = self._objects.store.get(kinds.DEPLOYMENTS, key)
        if stored is None or "deletionTimestamp" in stored.object["metadata"]:
            return None
        sets = workloads.owned(self._objects.store, stored.object, kinds.REPLICA_SETS)
        new = self._current(stored.object, sets)
        created = new is None and not stored.object["spec"].get("paused")
        if created:
            new = self._create(stored.object, sets)
            sets = [*sets, new]
        old = sorted((each for each in sets if each is not new), key=lambda each: _revision(each.object))
        if new:
            self._pass_on(stored.object, new)
            stored = self._mark(stored, new)
        if all(_counted(each) for each in sets):  # otherwise their numbers are from before the last change
            self._resize(rollout.sizes(stored.object, new, old))
            self._forget(stored.object, old)
        now = self._now()
        status = rollout.status(stored.object, new, sets, now, created=created)
        stored = self._objects.patch(self._kind, key, lambda found: {**found, "status": status}, _STATUS)
        late = rollout.deadline(stored.object)
        return max(0.0, (late - now).total_seconds()) + 0.01 if late else None

    def _current(self, deployment: Json, sets: Sequence[Stored]) -> Stored | None:
        """The oldest ReplicaSet with the wanted template."""
        wanted = deployment["spec"]["template"]
        same = [each for each in sets if _template(each.object) == wanted]
        return min(same, key=lambda each: each.object["metadata"]["creationTimestamp"], default=None)

    def _create(self, deployment: Json, sets: Sequence[Stored]) -> Stored:
        spec, metadata = deployment["spec"], deployment["metadata"]
        word = workloads.template_hash(spec["template"])
        own = {workloads.HASH: word}
        template, selector = spec["template"], spec["selector"]
        inner = template.get("metadata") or {}
        labels = {**(inner.get("labels") or {}), **own}
        copied = {n: v for n, v in (metadata.get("annotations") or {}).items() if n not in _NOT_COPIED}
        revision = str(max((_revision(each.object) for each in sets), default=0) + 1)
        body = {
            "metadata": {
                "name": f"{metadata['name']}-{word}",
                "labels": labels,
                "annotations": {**copied, _REVISION: revision},
                "ownerReferences": [workloads.reference(deployment)],
            },
            "spec": {
                "replicas": 0,
                "minReadySeconds": spec.get("minReadySeconds", 0),
                "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **own}},
                "template": {**template, "metadata": {**inner, "labels": labels}},
            },
        }
        return self._objects.create(self._sets, metadata["namespace"], body)

    def _pass_on(self, deployment: Json, new: Stored) -> None:
        """The one setting beside the template that a ReplicaSet works by."""
        seconds = deployment["spec"].get("minReadySeconds", 0)
        if new.object["spec"].get("minReadySeconds", 0) != seconds:
            self._objects.patch(
                self._sets, new.key, lambda old: {**old, "spec": {**old["spec"], "minReadySeconds": seconds}}
            )

    def _mark(self, stored: Stored, new: Stored) -> Stored:
        """The new ReplicaSet has the highest revision, even if it's an old one taken up again; the Deployment shows it."""
        sets = workloads.owned(self._objects.store, stored.object, kinds.REPLICA_SETS)
        highest = max(_revision(each.object) for each in sets)
        revision = _revision(new.object)
        if revision < highest:
            revision = highest + 1
            self._annotate(self._sets, self._objects.get(self._sets, new.key), str(revision))
        return self._annotate(self._kind, stored, str(revision))

    def _annotate(self, kind: Resource, stored: Stored, revision: str) -> Stored:
        """Past the rules for users' writes, for whom a Deployment's annotations count in its generation."""
        old = stored.object
        annotations = {**(old["metadata"].get("annotations") or {}), _REVISION: revision}
        return self._objects.put(kind, stored, {**old, "metadata": {**old["metadata"], "annotations": annotations}})

    def _resize(self, wanted: dict[Key, int]) -> None:
        for key, replicas in wanted.items():
            self._objects.patch(self._sets, key, partial(_resized, replicas))

    def _forget(self, deployment: Json, old: Sequence[Stored]) -> None:
        """Keep as much history as is wanted."""
        idle = [each for each in old if not each.object["spec"]["replicas"] and not each.object["status"]["replicas"]]
        for each in idle[: max(0, len(idle) - int(deployment["spec"]["revisionHistoryLimit"]))]:
            self._objects.delete(self._sets, each.key)


def _resized(replicas: int, replica_set: Json) -> Json:
    return {**replica_set, "spec": {**replica_set["spec"], "replicas": replicas}}


def _template(replica_set: Json) -> Json:
    """The template that a ReplicaSet was made of: its own without the hash."""
    template: Json = replica_set["spec"]["template"]
    metadata = template["metadata"]
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != workloads.HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _revision(replica_set: Json) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))


def _counted(replica_set: Stored) -> bool:
    seen = (replica_set.object.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= replica_set.object["metadata"]["generation"])
