"""Reads and writes with the rules of the API server: identity, versions, generations, subresources, finalizers.

The HTTP side and the controllers both write through here.
"""

import random
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sandbox.apiserver import applying, errors, kinds, managed, preparing, rules
from sandbox.apiserver.errors import ApiFailure, Cause, invalid_value, required
from sandbox.apiserver.kinds import Json, Resource
from sandbox.apiserver.registry import Registry
from sandbox.apiserver.schemas import Findings
from sandbox.apiserver.store import Key, Store, Stored
from sandbox.controlplane.pods import timestamp

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own choice: no vowels, so no words
_OWNED: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
)
FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, through which door. No manager: the cluster itself, which leaves no traces in managedFields."""

    manager: str = ""
    operation: str = "Update"
    subresource: str = ""
    strict: bool = False  # refuse fields that the schema doesn't know
    applied: Json | None = None  # of a server-side apply: what the manager owns from now on


CLUSTER: Final = Writer()


class Objects:
    """The objects of the cluster."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store = store
        self.registry = registry
        self._prepare = preparing.strategies()
        store.listen(kinds.CRDS, lambda event: self._defined(event.type == "DELETED", event.stored.object))

    def get(self, resource: Resource, key: Key) -> Stored:
        stored = self.store.get(resource.key, key)
        if stored is None:
            raise errors.not_found(resource, key[1])
        return stored

    def create(self, resource: Resource, namespace: str, body: Json, writer: Writer = CLUSTER) -> Stored:
        """Raises AlreadyExists, NotFound (the namespace), Forbidden (it's being deleted), Invalid."""
        new = rules.typed(resource, body)
        metadata = {k: v for k, v in (body.get("metadata") or {}).items() if k not in _OWNED and v is not None}
        if metadata.pop("resourceVersion", ""):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        metadata = new["metadata"] = rules.placed(resource, namespace, metadata)
        if not metadata.get("name") and (prefix := metadata.get("generateName")):
            metadata["name"] = prefix + "".join(random.choices(_LETTERS, k=5))
        self._check_name(resource, metadata)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
        if resource.generation:
            metadata["generation"] = 1
        if resource.status:
            new.pop("status", None)
        new = self._prepared(resource, new, None, writer)
        if self.store.get(resource.key, (namespace, metadata["name"])):
            raise errors.already_exists(resource, metadata["name"])
        return self.store.put(resource.key, self._signed(resource, None, new, writer))

    def replace(self, resource: Resource, key: Key, body: Json, writer: Writer = CLUSTER) -> Stored:
        """PUT. Without a resourceVersion the last one wins, except for custom resources, which need it."""
        old = self.get(resource, key)
        if resource.custom and not (body.get("metadata") or {}).get("resourceVersion"):
            fault = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise errors.invalid(resource, key[1], [fault])
        return self._update(resource, old, body, writer)

    def patch(self, resource: Resource, key: Key, change: Callable[[Json], Any], writer: Writer = CLUSTER) -> Stored:
        """`change` makes the new object of the old one, which it leaves alone."""
        old = self.get(resource, key)
        new = change(old.object)
        if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
            raise errors.bad_request("the patched object is no object with metadata")
        return self._update(resource, old, new, writer)

    def apply(self, resource: Resource, key: Key, writer: Writer, *, force: bool) -> Stored:
        """Server-side apply of `writer.applied`; makes the object if there is none. Raises Conflict."""
        applied = writer.applied or {}
        old = self.store.get(resource.key, key)
        if old is None and not writer.subresource:
            named = {**applied, "metadata": {**(applied.get("metadata") or {}), "name": key[1]}}
            return self.create(resource, key[0], named, writer)
        old = old or self.get(resource, key)
        new = applying.merged(
            resource, old.object, applied, manager=writer.manager, subresource=writer.subresource, force=force
        )
        return self._update(resource, old, new, writer)

    def put(self, resource: Resource, old: Stored, new: Json) -> Stored:
        """The cluster's own write of a whole object, e.g. of a controller. Nothing happens if nothing changed."""
        return old if new == old.object else self.store.put(resource.key, new)

    def delete(self, resource: Resource, key: Key, options: Json | None = None) -> Stored:
        """Forget the object, or mark it for those who have to act first (finalizers, a pod's node)."""
        options = options or {}
        stored = self.get(resource, key)
        rules.check_preconditions(resource, stored, options.get("preconditions") or {})
        metadata = stored.object["metadata"]
        finalizers = list(metadata.get("finalizers") or [])
        policy = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else "Background")
        for name, wanted in ((FOREGROUND, policy == "Foreground"), (ORPHAN, policy == "Orphan")):
            if wanted and name not in finalizers and self.store.dependents(metadata["uid"]):
                finalizers.append(name)
        grace = self._grace(resource, stored, options)
        if not finalizers and not grace:
            return self.store.remove(resource.key, key)
        if "deletionTimestamp" in metadata and finalizers == metadata.get("finalizers", []):
            return stored
        marks: Json = {"deletionTimestamp": timestamp(), **metadata, "deletionGracePeriodSeconds": grace}
        if finalizers:
            marks["finalizers"] = finalizers
        if "generation" in metadata and "deletionTimestamp" not in metadata:
            marks["generation"] = metadata["generation"] + 1
        status = (
            {"status": {**stored.object["status"], "phase": "Terminating"}} if resource.key == kinds.NAMESPACES else {}
        )
        return self.store.put(resource.key, {**stored.object, **status, "metadata": marks})

    def _grace(self, resource: Resource, stored: Stored, options: Json) -> int:
        """Seconds that the object lives on; 0: none. A namespace lives until its contents are gone."""
        if resource.key == kinds.NAMESPACES:
            return 0 if options.get("emptied") else 1
        if resource.key != kinds.PODS or not stored.object["spec"].get("nodeName"):
            return 0
        wanted = options.get("gracePeriodSeconds")
        return int(stored.object["spec"].get("terminationGracePeriodSeconds", 30) if wanted is None else wanted)

    def _update(self, resource: Resource, old: Stored, body: Json, writer: Writer) -> Stored:
        new = rules.typed(resource, body)
        known, metadata = old.object["metadata"], dict(new.get("metadata") or {})
        version, uid = metadata.get("resourceVersion"), metadata.get("uid")
        if version and version != known["resourceVersion"]:
            raise errors.conflict(resource, old.key[1])
        if uid and uid != known["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {known['uid']}"
            raise errors.conflict(resource, old.key[1], why)
        if metadata.get("name", old.key[1]) != old.key[1]:
            raise errors.bad_request("the name of the object does not match the name on the URL")
        if metadata.get("namespace", old.key[0]) != old.key[0]:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if writer.subresource == "status":
            new = {**old.object, "status": new.get("status") or {}, "metadata": known}
        else:
            for name in (*_OWNED, "name", "namespace", "resourceVersion"):
                metadata.pop(name, None)
                if name in known:
                    metadata[name] = known[name]
            new["metadata"] = {name: value for name, value in metadata.items() if value is not None}
            if resource.status:
                new.pop("status", None)
                new |= {"status": old.object["status"]} if "status" in old.object else {}
        return self._commit(resource, old, new, writer)

    def _commit(self, resource: Resource, old: Stored, new: Json, writer: Writer) -> Stored:
        new = self._prepared(resource, new, old.object, writer)
        if new == old.object and writer.applied is None:
            return old
        if (
            resource.generation
            and writer.subresource != "status"
            and rules.spec(resource, new) != rules.spec(resource, old.object)
        ):
            new["metadata"] = {**new["metadata"], "generation": new["metadata"].get("generation", 0) + 1}
        new = self._signed(resource, old.object, new, writer)
        if new == old.object:
            return old
        metadata = new["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers") and not rules.lives(resource, metadata):
            return self.store.remove(resource.key, old.key, new)
        return self.store.put(resource.key, new)

    def _prepared(self, resource: Resource, new: Json, old: Json | None, writer: Writer) -> Json:
        """Defaults, pruning and validation. Raises Invalid."""
        faults: list[Cause] = []
        if resource.schema is not None:
            found = Findings()
            new = {**resource.schema.walk(new, "", found)}
            faults = found.causes
            if writer.strict and found.unknown:
                texts = ", ".join(f'unknown field "{name}"' for name in found.unknown)
                raise errors.bad_request(f"strict decoding error: {texts}")
        elif prepare := self._prepare.get(resource.key):
            faults = prepare(new, old)
        if faults:
            raise errors.invalid(resource, new["metadata"]["name"], faults)
        return new

    def _signed(self, resource: Resource, old: Json | None, new: Json, writer: Writer) -> Json:
        if not writer.manager:
            return new
        blind = resource.status and writer.subresource != "status"  # the status isn't of whoever wrote the rest
        entries = managed.record(
            rules.without_status(old) if old and blind else old,
            rules.without_status(new) if blind else new,
            manager=writer.manager,
            operation=writer.operation,
            subresource=writer.subresource,
            now=timestamp(),
            applied=writer.applied,
        )
        metadata = {name: value for name, value in new["metadata"].items() if name != "managedFields"}
        return {**new, "metadata": {**metadata, **({"managedFields": entries} if entries else {})}}

    def _check_name(self, resource: Resource, metadata: Json) -> None:
        name = metadata.get("name", "")
        if not name:
            raise errors.invalid(resource, "", [required("metadata.name", "name or generateName is required")])
        if len(name) > 253 or not _NAME.fullmatch(name):
            text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
            raise errors.invalid(resource, name, [invalid_value("metadata.name", name, text)])
        if resource.namespaced:
            home = self.store.get(kinds.NAMESPACES, ("", metadata["namespace"]))
            if home is None:
                raise ApiFailure(404, "NotFound", f'namespaces "{metadata["namespace"]}" not found')
            if "deletionTimestamp" in home.object["metadata"]:
                why = (
                    f"unable to create new content in namespace {metadata['namespace']} because it is being terminated"
                )
                raise errors.forbidden(resource, name, why)

    def _defined(self, gone: bool, crd: Json) -> None:
        if not gone:
            self.registry.define(crd)
            return
        self.registry.withdraw(crd)
        for stored in self.store.scan(crd["metadata"]["name"]):
            self.store.remove(crd["metadata"]["name"], stored.key)
