"""The rights of each service's account as a table, written by hand: `k8s/rbac` must come to the same. And how to ask a server."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Final

from sandbox.controlplane.api import Api

RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"

_READ: Final = "get list watch"
_WRITE: Final = "get list watch create patch"

RIGHTS: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("watcher", "base"): {
        "canaries.flagger.app": _READ,
        "metrictemplates.flagger.app": _READ,
        "alertproviders.flagger.app": _READ,
        "deployments.apps": _READ,
        "horizontalpodautoscalers.autoscaling": _READ,
        "services": _READ,
        "endpointslices.discovery.k8s.io": _READ,
        "apisixroutes.apisix.apache.org": _READ,
        "apisixupstreams.apisix.apache.org": _READ,
    },
    ("watcher", "configs"): {"configmaps": _READ, "secrets": _READ},
    ("router", "base"): {
        "canaries.flagger.app": f"{_READ} patch",
        "canaries/status.flagger.app": "patch",
        "canaries/finalizers.flagger.app": "update",
        "metrictemplates.flagger.app": _READ,
        "deployments.apps": _WRITE,
        "horizontalpodautoscalers.autoscaling": _WRITE,
        "services": _WRITE,
        "endpointslices.discovery.k8s.io": _READ,
        "apisixroutes.apisix.apache.org": f"{_WRITE} delete",
        "apisixupstreams.apisix.apache.org": f"{_WRITE} delete",
        "events": "create patch",
    },
    ("router", "crds"): {
        "customresourcedefinitions.apiextensions.k8s.io": _READ,
        "ingressclasses.networking.k8s.io": _READ,
    },
    ("router", "configs"): {"configmaps": _WRITE, "secrets": _WRITE},
    ("analyzer", "secrets"): {"secrets": "get"},
    ("notifier", "base"): {"alertproviders.flagger.app": "get", "events": "create patch"},
    ("notifier", "secrets"): {"secrets": "get"},
}
"""(service, part) → resource → verbs. `base` is what `cluster` and `namespace` have in common."""

_RESOURCES: Final = (
    *sorted({resource for part in RIGHTS.values() for resource in part}),
    "metrictemplates/status.flagger.app",
    "alertproviders/status.flagger.app",
    "deployments/scale.apps",
    "deployments/status.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "pods",
    "pods/exec",
    "nodes",
    "namespaces",
    "serviceaccounts",
    "serviceaccounts/token",
    "persistentvolumeclaims",
    "roles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "leases.coordination.k8s.io",
    "networkpolicies.networking.k8s.io",
)
_VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")

EVERYTHING: Final = tuple((verb, resource) for resource in _RESOURCES for verb in _VERBS)
"""What the table's completeness is asked over."""


async def may(admin: Api, user: str, namespace: str, verb: str, resource: str) -> bool:
    """Does the server let this user do so? "" is all namespaces."""
    whole, _, group = resource.partition(".")
    name, _, subresource = whole.partition("/")
    attributes = {"verb": verb, "group": group, "resource": name, "subresource": subresource, "namespace": namespace}
    groups = ["system:serviceaccounts", "system:authenticated"]
    spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
    review = await admin.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
    return bool(review["status"]["allowed"])


async def known(admin: Api, namespace: str) -> list[str]:
    """Wait until the server goes by every role and binding that was made so far; answers the paths of what it takes.

    It learns of its own roles and bindings by watches, each kind in order: once a last one of a kind grants something, all
    before it do.
    """
    made = []
    for prefix, scope in (("Cluster", ""), ("", f"/namespaces/{namespace}")):
        name = f"witness-{uuid.uuid4().hex[:8]}"
        rules = [{"apiGroups": ["witness.test"], "resources": ["things"], "verbs": ["get"]}]
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": f"{prefix}Role", "name": name}
        for kind, content in (("Role", {"rules": rules}), ("RoleBinding", {"roleRef": role, "subjects": [subject]})):
            path = f"{RBAC}{scope}/{prefix}{kind}s".lower()
            await admin.create(path, {"metadata": {"name": name}, **content})
            made.append(f"{path}/{name}")
        async with asyncio.timeout(90):
            while not await may(admin, name, namespace, "get", "things.witness.test"):
                await asyncio.sleep(0.02)
    return made
