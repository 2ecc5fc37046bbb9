"""The rights of each service's account as a table, written by hand: `k8s/rbac` must come to the same."""

from collections.abc import Mapping
from typing import Final

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
