"""Objects as the API server would send them."""

import copy
from typing import Any

from services.watcher import memory
from shared.kube import kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind

FOLLOWED = memory.follow(config_tracking=True)


def obj(kind: Kind, name: str, version: int = 1, *, uid: str = "", namespace: str = "test", **fields: Any) -> Json:
    metadata = {
        "namespace": namespace,
        "name": name,
        "uid": uid or f"{kind.kind}-{name}",
        "resourceVersion": str(version),
    }
    metadata |= fields.pop("metadata", {})
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **copy.deepcopy(fields)}


def kept(kind: Kind, name: str, version: int = 1, **fields: Any) -> Json:
    """The same as the watcher remembers it."""
    return FOLLOWED[kind].keep(obj(kind, name, version, **fields))


SPEC: Json = {
    "provider": "apisix",
    "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
    "autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "hpa"},
    "routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "route"},
    "service": {"name": "web", "port": 80},
    "analysis": {
        "metrics": [{"name": "mine", "templateRef": {"name": "latency"}},
                    {"name": "theirs", "templateRef": {"name": "errors", "namespace": "shared"}}, {"name": "request-success-rate"}],
        "alerts": [{"name": "chat", "providerRef": {"name": "slack", "namespace": "alerts"}}],
    },
}  # fmt: skip


def canary(version: int = 1, name: str = "podinfo", **changes: Any) -> Json:
    """`spec` fields given replace those of the sample."""
    spec = SPEC | changes.pop("spec", {})
    return obj(kinds.CANARY, name, version, uid=changes.pop("uid", f"uid-{name}"), spec=spec, **changes)


def deployment(version: int = 1, name: str = "podinfo", *, config: str = "settings", **fields: Any) -> Json:
    template = {
        "spec": {"containers": [{"envFrom": [{"configMapRef": {"name": config}}, {"secretRef": {"name": "keys"}}]}]}
    }
    metadata = {"generation": fields.pop("generation", 1)}
    return kept(
        kinds.DEPLOYMENT, name, version, metadata=metadata, spec={"replicas": 1, "template": template}, **fields
    )
