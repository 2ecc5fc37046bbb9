"""An installation that has rights in certain namespaces only: Roles, no ClusterRoles.

An administrator has applied the definitions and the right to read them, made the namespaces, and bound the Roles there.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from sandbox import installed
from sandbox.controlplane.api import Json
from sandbox.controlplane.server import ControlPlane
from sandbox.stage import Stage
from tests.e2e.overlays import K8S, copied

CANNOT: Final = {
    "deleted-namespace": "Roles go with their namespace, and with them the right to take the finalizer off its Canaries",
}
"""Plays that make no sense without rights over the cluster, and why."""

_ROLES: Final = ("namespace", "namespace-configs", "namespace-secrets")
_PATHS: Final = {
    kind: f"/apis/rbac.authorization.k8s.io/v1/namespaces/{{}}/{kind.lower()}s" for kind in ("Role", "RoleBinding")
}


class Furnished:
    """A control plane whose namespaces are made by somebody who may, before those who play in them come."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return "" if args[:2] == ("create", "ns") else await self._plane.kubectl(*args, stdin=stdin)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plane, name)


def by_an_administrator(watched: Iterable[str], *further: str) -> installed.Credentials:
    """Passwords as usual, and the Roles in the watched namespaces; `further` ones are made, and nobody has rights there."""
    namespaces = tuple(watched)

    async def credentials(plane: ControlPlane, stage: Stage) -> Path:
        await installed.passwords(plane, stage)
        await plane.kubectl("apply", "-k", str(K8S / "rbac/crds"))
        roles = [
            each
            for part in _ROLES
            for each in yaml.safe_load_all(await plane.kubectl("kustomize", str(K8S / "rbac" / part)))
        ]
        await asyncio.gather(*(_furnished(stage, each, roles) for each in namespaces))
        await asyncio.gather(*(_furnished(stage, each, []) for each in further))
        settings = {"SERINUS_WATCH_NAMESPACE": ",".join(namespaces)}
        return copied(stage.directory / "namespaced", "namespaced", "test", settings, "serinus-nats")

    return credentials


async def _furnished(stage: Stage, namespace: str, roles: list[Json]) -> None:
    """A namespace, in which the accounts of the installation have these Roles."""
    await stage.api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    for role in roles:
        document = {**role, "metadata": {**role["metadata"], "namespace": namespace}}
        if "subjects" in document:
            document["subjects"] = [{**each, "namespace": installed.NAMESPACE} for each in document["subjects"]]
        await stage.api.create(_PATHS[document["kind"]].format(namespace), document)
