"""A cluster in memory with what the router relies on: versions, conflicts, merge patches, an isolated status.

It is both the API and, since nothing lags here, the caches. `crash_after` makes the n-th write the process's last.
"""

import copy
import itertools
from collections.abc import Iterable
from typing import Any

from shared.errors import Conflict
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind


class Crash(BaseException):
    """The process dies here; no handler catches it."""


class FakeCluster:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.writes: list[tuple[str, str, str]] = []
        self._versions = itertools.count(1)
        self.crash_after: int | None = None
        self.crash_before: int | None = None

    # --- the API ---------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        return copy.deepcopy(self.objects.get((kind.kind, namespace, name)))

    async def create(self, kind: Kind, body: Json) -> Json:
        key = (kind.kind, json.namespace(body), json.name(body))
        if key in self.objects:
            raise Conflict(f"{key} exists")
        self._about_to("create", key)
        made = copy.deepcopy(body)
        made["metadata"].update(uid=f"uid-{key[0]}-{key[2]}", generation=1, creationTimestamp="2026-01-01T00:00:00Z")
        self._store(key, made)
        self._written("create", key)
        return copy.deepcopy(made)

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        key = (kind.kind, namespace, name)
        have = self.objects[key]
        asked = json.text(patch, "metadata", "resourceVersion")
        if asked and asked != json.version(have):
            raise Conflict(f"{key} is at {json.version(have)}, not {asked}")
        self._about_to("patch", key)
        body = {k: v for k, v in patch.items() if (k == "status") == (subresource == "status") or k == "metadata"}
        made = merged(have, body)
        if made.get("spec") != have.get("spec"):
            made["metadata"]["generation"] = json.number(have, "metadata", "generation") + 1
        self._store(key, made)
        self._written("patch", key)
        return copy.deepcopy(made)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
        key = (kind.kind, namespace, name)
        self._about_to("delete", key)
        self.objects.pop(key, None)
        self._written("delete", key)

    def _store(self, key: tuple[str, str, str], obj: Json) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[key] = obj

    def _about_to(self, verb: str, key: tuple[str, str, str]) -> None:
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
            "uid": f"uid-{key[0]}-{key[2]}", "creationTimestamp": "2026-01-01T00:00:00Z", **made["metadata"],
            "generation": generation,
        }  # fmt: skip
        if have and "status" in have:
            made.setdefault("status", have["status"])
        self._store(key, made)

    def edit(self, kind: str, name: str, change: Json, namespace: str = "test") -> None:
        """Somebody patches this object's spec or metadata."""
        key = (kind, namespace, name)
        have = self.objects[key]
        made = merged(have, change)
        if made.get("spec") != have.get("spec"):
            made["metadata"]["generation"] = json.number(have, "metadata", "generation") + 1
        self._store(key, made)

    def settle(self, unready: Iterable[str] = ()) -> None:
        """The deployment controller catches up: everything is ready except `unready`."""
        for key, obj in list(self.objects.items()):
            if key[0] != "Deployment":
                continue
            replicas = json.number(obj, "spec", "replicas", default=1)
            available = 0 if key[2] in set(unready) else replicas
            status = {
                "observedGeneration": json.number(obj, "metadata", "generation"), "replicas": replicas,
                "updatedReplicas": replicas, "availableReplicas": available, "readyReplicas": available,
            }  # fmt: skip
            if obj.get("status") != status:
                self._store(key, {**obj, "status": status, "metadata": dict(obj["metadata"])})

    def of(self, kind: str, name: str, namespace: str = "test") -> Json:
        return self.objects[kind, namespace, name]

    def cache(self, kind: Kind) -> "FakeCache":
        return FakeCache(self, kind)


class FakeCache:
    """The cluster seen through a watch that never lags."""

    def __init__(self, cluster: FakeCluster, kind: Kind) -> None:
        self._cluster, self._kind = cluster, kind

    def get(self, namespace: str, name: str) -> Json | None:
        return self._cluster.objects.get((self._kind.kind, namespace, name))

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
    kinds.APISIX_ROUTE, kinds.CONFIG_MAP, kinds.SECRET,
)  # fmt: skip
