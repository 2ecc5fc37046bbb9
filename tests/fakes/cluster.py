"""A cluster in memory with what the router relies on: versions, conflicts, merge patches, an isolated status.

It is both the API and, since nothing lags here, the caches. `crash_after` makes the n-th write the process's last.
"""

import copy
import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from services.router.index import Index
from shared.errors import Conflict, RetryLater
from shared.kube import json, kinds
from shared.kube.errors import AlreadyExists, Gone
from shared.kube.json import Json
from shared.kube.kinds import Kind

_SIZE: Json = {"f:spec": {"f:replicas": {}}}


class Crash(BaseException):
    """The process dies here; no handler catches it."""


class FakeCluster:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.writes: list[tuple[str, str, str]] = []
        self._versions = itertools.count(1)
        self._made: Counter[tuple[str, str, str]] = Counter()
        self.crash_after: int | None = None
        self.crash_before: int | None = None
        self.refusals: dict[tuple[str, str], Exception] = {}
        """What the API answers to a verb on a kind instead of doing it."""
        self.reads: list[tuple[str, str]] = []
        self.unreadable = False
        self.time = "2026-01-01T00:00:00Z"
        """Stamp of managedFields."""
        self.prunes = False
        """The Canaries' definition is Flagger's: it drops our fields from whatever is written."""
        self.index = Index()

    # --- the API ---------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        if self.unreadable:
            raise RetryLater("the API server is away")
        self.reads.append((kind.kind, name))
        return copy.deepcopy(self.objects.get((kind.kind, namespace, name)))

    async def create(self, kind: Kind, body: Json) -> Json:
        key = (kind.kind, json.namespace(body), json.name(body))
        if key in self.objects:
            raise AlreadyExists(f"{key} exists")
        self._about_to("create", key)
        made = copy.deepcopy(body)
        made.pop("status", None)
        made["metadata"].update(uid=self._uid(key), generation=1, creationTimestamp="2026-01-01T00:00:00Z")
        self._store(key, made)
        self._written("create", key)
        return copy.deepcopy(made)

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        key = (kind.kind, namespace, name)
        have = self.objects.get(key)
        if have is None:
            raise Gone(f"{key} isn't there")
        asked = json.text(patch, "metadata", "resourceVersion")
        if asked and asked != json.version(have):
            raise Conflict(f"{key} is at {json.version(have)}, not {asked}")
        self._about_to("patch", key)
        self._change(key, patch, subresource, "serinus-router")
        self._written("patch", key)
        return copy.deepcopy(self.objects.get(key, have))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
        key = (kind.kind, namespace, name)
        have = self.objects.get(key)
        if have is None or (uid and uid != json.uid(have)):
            return
        self._about_to("delete", key)
        self._delete(key)
        self._written("delete", key)

    def _delete(self, key: tuple[str, str, str]) -> None:
        """At once, or when the last finalizer goes."""
        if self.objects[key]["metadata"].get("finalizers"):
            self._change(key, {"metadata": {"deletionTimestamp": self.time}}, "", "kubectl")
        else:
            self._remove(key)

    def _remove(self, key: tuple[str, str, str]) -> None:
        self._noted(key, None)
        del self.objects[key]

    def _uid(self, key: tuple[str, str, str]) -> str:
        """Another one for every object, and for the first of a name one that tests can spell."""
        self._made[key] += 1
        return f"uid-{key[0]}-{key[2]}" + (f"-{self._made[key]}" if self._made[key] > 1 else "")

    def _change(self, key: tuple[str, str, str], patch: Json, subresource: str, manager: str) -> None:
        """A merge patch: the status through its own door only, a generation for every change of the rest but metadata,
        and nothing at all if nothing changes."""
        have = self.objects[key]
        if subresource == "status":
            made = merged(have, {"status": patch.get("status") or {}})
        else:
            made = merged(have, {part: change for part, change in patch.items() if part != "status"})
        metadata = {**have["metadata"], **made["metadata"]} if subresource else dict(made["metadata"])
        made["metadata"] = {**metadata, "resourceVersion": json.version(have)}
        if self.prunes and key[0] == "Canary":
            made["status"] = {part: value for part, value in made["status"].items() if part != "serinus"}
        if made == have:
            return
        if any(made.get(part) != have.get(part) for part in {*made, *have} - {"metadata", "status"}):
            made["metadata"]["generation"] = json.number(have, "metadata", "generation") + 1
        sized = "replicas" in json.mapping(patch, "spec")
        made["metadata"]["managedFields"] = self._entries(have, manager, subresource, sized)
        self._store(key, made)
        if made["metadata"].get("deletionTimestamp") and not made["metadata"].get("finalizers"):
            self._remove(key)

    def _entries(self, have: Json, manager: str, subresource: str, sized: bool) -> list[Json]:
        """Who wrote when, and of all fields who owns a workload's size."""
        entry: Json = {"manager": manager, "operation": "Update", "time": self.time, "fieldsV1": {}}
        if subresource:
            entry["subresource"] = subresource
        others = []
        for each in json.items(have, "metadata", "managedFields"):
            if (json.text(each, "manager"), json.text(each, "subresource")) == (manager, subresource):
                entry["fieldsV1"] = json.mapping(each, "fieldsV1")
            else:
                others.append({**each, "fieldsV1": {}} if sized else each)
        return [*others, {**entry, "fieldsV1": _SIZE} if sized else entry]

    def disown(self, kind: str, name: str, manager: str) -> None:
        """What the manager applies doesn't name the number of replicas any more."""
        have = self.objects[kind, "test", name]
        entries = [each for each in json.items(have, "metadata", "managedFields") if each["manager"] != manager]
        self._store((kind, "test", name), {**have, "metadata": {**have["metadata"], "managedFields": entries}})

    def _store(self, key: tuple[str, str, str], obj: Json) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self._noted(key, obj)
        self.objects[key] = obj

    def _noted(self, key: tuple[str, str, str], new: Json | None) -> None:
        if kind := next((each for each in ALL_KINDS if each.kind == key[0]), None):
            self.index.changed(kind, self.objects.get(key), new)

    def _about_to(self, verb: str, key: tuple[str, str, str]) -> None:
        if refusal := self.refusals.get((verb, key[0])):
            raise refusal
        if self.crash_before is not None and len(self.writes) == self.crash_before:
            self.crash_before = None
            raise Crash(f"before {verb} {key}")

    def _written(self, verb: str, key: tuple[str, str, str]) -> None:
        self.writes.append((verb, key[0], key[2]))
        if self.crash_after is not None and len(self.writes) == self.crash_after:
            self.crash_after = None
            raise Crash(f"after {verb} {key}")

    # --- the test's hand -------------------------------------------------------------------------------------

    def put(self, obj: Json) -> None:
        """Somebody applies this object."""
        made = copy.deepcopy(obj)
        key = (obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])
        have = self.objects.get(key)
        generation = json.number(have, "metadata", "generation") + 1
        made["metadata"] = {
            "uid": json.uid(have) or self._uid(key), "creationTimestamp": "2026-01-01T00:00:00Z", **made["metadata"],
            "generation": generation,
        }  # fmt: skip
        if have and "status" in have:
            made.setdefault("status", have["status"])
        self._store(key, made)

    def hold(self, obj: Json) -> None:
        """This object was there before, exactly so, but for its version."""
        made = copy.deepcopy(obj)
        self._store((obj["kind"], json.namespace(obj), json.name(obj)), made)

    def edit(self, kind: str, name: str, change: Json, namespace: str = "test", manager: str = "kubectl") -> None:
        """Somebody patches this object's spec or metadata."""
        self._change((kind, namespace, name), change, "", manager)

    def write_status(self, kind: str, name: str, status: Json, manager: str) -> None:
        """Somebody else patches this object's status."""
        self._change((kind, "test", name), {"status": status}, "status", manager)

    def replace_status(self, kind: str, name: str, status: Json, manager: str) -> None:
        """Somebody puts a whole status of a type of their own: what that type doesn't have is gone, and its owner."""
        have = self.objects[kind, "test", name]
        entries = [each for each in json.items(have, "metadata", "managedFields") if "subresource" not in each]
        entries.append({"manager": manager, "operation": "Update", "time": self.time, "subresource": "status"})
        self._store(
            (kind, "test", name), {**have, "status": status, "metadata": {**have["metadata"], "managedFields": entries}}
        )

    def remove(self, kind: str, name: str, namespace: str = "test") -> Json:
        """Somebody deletes this object; as it was."""
        key = (kind, namespace, name)
        have = self.objects[key]
        self._delete(key)
        return have

    def settle(self, unready: Iterable[str] = (), broken: Iterable[str] = ()) -> None:
        """The deployment controller catches up: everything is ready except `unready`, and `broken` has exceeded its
        progress deadline."""
        for key, obj in list(self.objects.items()):
            if key[0] != "Deployment":
                continue
            replicas = json.number(obj, "spec", "replicas", default=1)
            available = 0 if key[2] in {*unready, *broken} else replicas
            status: Json = {
                "observedGeneration": json.number(obj, "metadata", "generation"), "replicas": replicas,
                "updatedReplicas": replicas, "availableReplicas": available, "readyReplicas": available,
            }  # fmt: skip
            if not available and replicas:
                status["conditions"] = self._conditions(obj, key[2] in set(broken))
            if obj.get("status") != status:
                self._store(key, {**obj, "status": status, "metadata": dict(obj["metadata"])})

    def _conditions(self, deployment: Json, exceeded: bool) -> list[Json]:
        """As the controller reports it: unavailable since it first was, whatever the template."""
        known = json.items(deployment, "status", "conditions")
        since = next((each["lastUpdateTime"] for each in known if each["type"] == "Available"), self.time)
        reason = "ProgressDeadlineExceeded" if exceeded else "ReplicaSetUpdated"
        return [
            {"type": "Progressing", "status": str(not exceeded), "reason": reason},
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "lastUpdateTime": since},
        ]

    def of(self, kind: str, name: str, namespace: str = "test") -> Json:
        return self.objects[kind, namespace, name]

    def cache(self, kind: Kind) -> "FakeCache":
        return FakeCache(self, kind)


class FakeCache:
    """The cluster seen through a watch that never lags. What it was filled with before stays until its next version."""

    def __init__(self, cluster: FakeCluster, kind: Kind, filled: Iterable[Json] = ()) -> None:
        self._cluster, self._kind = cluster, kind
        self._filled = {(json.namespace(obj), json.name(obj)): obj for obj in filled}

    def get(self, namespace: str, name: str) -> Json | None:
        found = self._cluster.objects.get((self._kind.kind, namespace, name))
        filled = self._filled.get((namespace, name))
        return filled if filled and json.version(filled) == json.version(found) else found

    def all(self) -> Iterable[Json]:
        return [obj for key, obj in self._cluster.objects.items() if key[0] == self._kind.kind]

    def by_namespace(self, namespace: str) -> Iterable[Json]:
        return [obj for key, obj in self._cluster.objects.items() if key[:2] == (self._kind.kind, namespace)]

    def absorb(self, obj: Json) -> None:
        """Nothing lags, so an answer is never news."""

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """As `absorb`."""

    async def current(self, namespace: str, name: str, resource_version: str, timeout: float) -> Json | None:
        return self.get(namespace, name)


class LateCache(FakeCache):
    """Canaries as they were, until the API server is written to once more, or is asked."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__(cluster, kinds.CANARY)
        self._written = cluster.writes
        self._stands: dict[tuple[str, str], Json] = {}
        self._since = 0

    def lag(self) -> None:
        """From now on."""
        self._stands = {(json.namespace(each), json.name(each)): copy.deepcopy(each) for each in self.all()}
        self._since = -1

    def shows_until_the_next_write(self) -> None:
        """The watch will have caught up by then."""
        self._since = len(self._written)

    def get(self, namespace: str, name: str) -> Json | None:
        if self._since not in (-1, len(self._written)):
            self._stands = {}
        return self._stands.get((namespace, name)) or super().get(namespace, name)

    def absorb(self, obj: Json) -> None:
        self._stands.pop((json.namespace(obj), json.name(obj)), None)


def merged(have: Json, patch: Json) -> Json:
    """RFC 7386."""
    made: dict[str, Any] = dict(have)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            inner = made.get(key)
            made[key] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            made[key] = copy.deepcopy(value)
    return made


ALL_KINDS = (
    kinds.CANARY, kinds.METRIC_TEMPLATE, kinds.DEPLOYMENT, kinds.SERVICE, kinds.ENDPOINT_SLICE, kinds.AUTOSCALER,
    kinds.APISIX_ROUTE, kinds.APISIX_UPSTREAM, kinds.CONFIG_MAP, kinds.SECRET,
)  # fmt: skip
