"""Whoever names only owners that are gone goes too; deletions in the foreground wait for the dependents."""

from collections.abc import Iterable
from typing import Any

from sandbox.apiserver.kinds import Json
from sandbox.apiserver.objects import FOREGROUND, ORPHAN, Objects
from sandbox.apiserver.store import Event, Key, Stored


class Garbage:
    """Keys are a resource's key and the uid of an owner of that kind."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def touched(self, kind: str, event: Event) -> Iterable[Key]:
        metadata = event.stored.object["metadata"]
        owners = metadata.get("ownerReferences") or []
        if event.type == "DELETED":
            # The owners may have waited for this one in the foreground.
            return [("", uid) for uid in (metadata["uid"], *(each["uid"] for each in owners))]
        if "deletionTimestamp" in metadata and metadata.get("finalizers"):
            return [("", metadata["uid"])]
        return [("", each["uid"]) for each in owners if not self._objects.store.exists(each["uid"])]

    def reconcile(self, key: Key) -> None:
        uid = key[1]
        owner = self._objects.store.find(uid)
        if owner is None:
            self._delete_orphans(uid)
            return
        kind, stored = owner
        finalizers = stored.object["metadata"].get("finalizers") or []
        if "deletionTimestamp" not in stored.object["metadata"]:
            return
        if ORPHAN in finalizers:
            for each_kind, each in self._objects.store.dependents(uid):
                self._edit(each_kind, each, "ownerReferences", lambda found: [o for o in found if o["uid"] != uid])
            self._edit(kind, stored, "finalizers", lambda found: [each for each in found if each != ORPHAN])
        elif FOREGROUND in finalizers:
            for each_kind, each in self._objects.store.dependents(uid):
                self._leave(each_kind, each, uid)
            if not self._objects.store.dependents(uid):
                self._edit(kind, stored, "finalizers", lambda found: [each for each in found if each != FOREGROUND])

    def _delete_orphans(self, uid: str) -> None:
        for kind, stored in self._objects.store.dependents(uid):
            self._leave(kind, stored, uid)

    def _leave(self, kind: str, stored: Stored, uid: str) -> None:
        """Without this owner: another one that stays keeps it."""
        owners = stored.object["metadata"].get("ownerReferences") or []
        if any(each["uid"] != uid and self._stays(each["uid"]) for each in owners):
            self._edit(kind, stored, "ownerReferences", lambda found: [each for each in found if each["uid"] != uid])
        elif "deletionTimestamp" not in stored.object["metadata"]:
            self._delete(kind, stored)

    def _stays(self, uid: str) -> bool:
        """There, and not waiting for its dependents to go."""
        found = self._objects.store.find(uid)
        if found is None:
            return False
        metadata = found[1].object["metadata"]
        return not ("deletionTimestamp" in metadata and FOREGROUND in (metadata.get("finalizers") or []))

    def _delete(self, kind: str, stored: Stored) -> None:
        if resource := self._objects.registry.keyed(kind):
            self._objects.delete(resource, stored.key)

    def _edit(self, kind: str, stored: Stored, name: str, change: Any) -> None:
        def edited(obj: Json) -> Json:
            return {**obj, "metadata": {**obj["metadata"], name: change(obj["metadata"].get(name) or []) or None}}

        if resource := self._objects.registry.keyed(kind):
            self._objects.patch(resource, stored.key, edited)
